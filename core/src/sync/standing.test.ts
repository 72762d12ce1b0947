import { describe, expect, it } from 'vitest'
import type { RepairHead } from '../wire/index.js'
import { Standings } from './standing.js'

const [rob, ada, bob, eve] = [1, 2, 3, 4].map((byte) => new Uint8Array(16).fill(byte)) as [
  Uint8Array,
  Uint8Array,
  Uint8Array,
  Uint8Array
]
const head = (seq: bigint, member = rob, branch = 0): RepairHead => ({
  member,
  seq,
  hash: new Uint8Array(32).fill(Number(seq % 200n) + branch)
})
const cut = head(3n)
const onChain = () => true
const own = { ownCounts: true, isOnChain: onChain }
const restarted = (before: Standings): Standings => {
  const { standings, names } = before.takeChanges()
  return new Standings(
    standings.flatMap(({ record }) => record ?? []),
    names.flatMap(({ record }) => record ?? [])
  )
}

describe('SYNC-021: what counts of a member that lost the right to write', () => {
  it('is everything while it has the right, and everything it seals once it has it again', () => {
    const standings = new Standings()
    expect(standings.judge(rob, 5n, 100n)).toBe('counts')
    standings.silence(5n, ada, cut, 3n, own)
    expect([standings.judge(rob, 5n, 3n), standings.judge(rob, 5n, 4n)]).toEqual(['counts', 'beyond'])
    expect(standings.judge(rob, 6n, 4n)).toBe('counts')
  })

  it('is what this device has, and what its chain is found to lead to of what the Cut or a message names', () => {
    const standings = new Standings()
    standings.silence(5n, ada, head(5n), 4n, own)
    expect(standings.name(bob, head(7n), 4n, onChain)).toBe(true)
    expect([3n, 4n, 5n, 7n, 8n].map((seq) => standings.judge(rob, 5n, seq))).toEqual([
      'counts',
      'counts',
      'open',
      'open',
      'beyond'
    ])
    expect([standings.isNamed(head(5n)), standings.isNamed(head(7n)), standings.isNamed(head(6n))]).toEqual([
      true,
      true,
      false
    ])
    // The number is right and the message is another.
    expect(standings.isNamed(head(7n, rob, 9))).toBe(false)
    standings.count(head(5n))
    expect([5n, 6n].map((seq) => standings.judge(rob, 5n, seq))).toEqual(['counts', 'open'])
    standings.count(head(7n))
    expect([standings.judge(rob, 5n, 7n), standings.judge(rob, 5n, 8n), standings.limitOf(rob)]).toEqual([
      'counts',
      'beyond',
      7n
    ])
  })

  it('is never what the member says itself, before or after', () => {
    for (const strict of [false, true]) {
      const standings = new Standings()
      standings.strict = strict
      expect(standings.name(rob, head(10n ** 9n), 3n, onChain)).toBe(false)
      standings.silence(5n, ada, cut, 3n, { ...own, ownCounts: !strict })
      expect(standings.name(rob, head(10n ** 9n), 3n, onChain)).toBe(false)
      expect(standings.judge(rob, 5n, 4n)).toBe('beyond')
    }
  })

  it('is not lost by what another names that does not exist', () => {
    const standings = new Standings()
    standings.silence(5n, ada, cut, 3n, own)
    standings.name(bob, head(6n), 3n, onChain)
    for (let i = 0n; i < 100n; i++) standings.name(eve, head(10n ** 9n + i), 3n, onChain)
    expect(standings.isNamed(head(6n))).toBe(true)
    expect(standings.takeChanges().names).toHaveLength(2)
  })

  it('includes what was named before the commit came, also after a restart', () => {
    const before = new Standings()
    expect(before.name(bob, head(7n), 2n, onChain)).toBe(false)
    const standings = restarted(before)
    standings.silence(5n, ada, cut, 2n, own)
    expect([standings.limitOf(rob), standings.isNamed(head(7n)), standings.isNamed(cut)]).toEqual([7n, true, true])
    const again = restarted(standings)
    expect(again.judge(rob, 5n, 3n)).toBe('open')
    expect(again.judge(rob, 5n, 2n)).toBe('counts')
  })

  it('does not remember what is named and here already, unless that counts for nothing by itself', () => {
    const standings = new Standings()
    standings.name(bob, head(7n), 7n, onChain)
    expect(standings.takeChanges()).toEqual({ standings: [], names: [] })
    standings.name(bob, head(8n), 7n, onChain)
    standings.reached('01'.repeat(16), head(8n))
    expect(standings.takeChanges()).toEqual({
      standings: [{ member: rob, record: undefined }],
      names: [{ member: rob, by: bob, record: undefined }]
    })
    standings.strict = true
    standings.name(bob, head(7n), 7n, onChain)
    expect(standings.countedOf(rob)).toBe(7n)
    standings.name(bob, head(9n), 7n, onChain)
    standings.reached('01'.repeat(16), head(9n))
    expect(standings.countedOf(rob)).toBe(9n)
    // Of another chain than the one that came by.
    standings.name(bob, head(10n, rob, 7), 9n, onChain)
    standings.reached('01'.repeat(16), head(10n))
    standings.name(bob, head(10n, rob, 8), 10n, () => false)
    expect(standings.countedOf(rob)).toBe(9n)
  })
})

describe('SYNC-023: what is passed over', () => {
  it('is missed from where it began once it counts, and keeps the head from being named meanwhile', () => {
    const standings = new Standings()
    standings.silence(5n, ada, cut, 3n, own)
    standings.passOver(head(3n))
    standings.passOver(head(4n))
    expect([standings.mayName(rob), standings.takeMissed(rob, 3n)]).toEqual([false, undefined])
    expect(standings.name(bob, head(5n), 5n, onChain)).toBe(true)
    expect(standings.passedOver(rob)).toEqual(head(3n))
    expect(standings.takeMissed(rob, 5n)).toEqual(head(3n))
    expect([standings.mayName(rob), standings.takeMissed(rob, 5n)]).toEqual([true, undefined])
  })
})

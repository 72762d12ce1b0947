import { describe, expect, it } from 'vitest'
import type { RepairHead } from '../wire/index.js'
import { Standings } from './standing.js'

const rob = new Uint8Array(16).fill(1)
const head = (seq: bigint, member = rob): RepairHead => ({ member, seq, hash: new Uint8Array(32).fill(Number(seq)) })
const cut = head(3n)

describe('SYNC-021: what counts of a member that lost the right to write', () => {
  it('is everything while it has the right, and everything it seals once it has it again', () => {
    const standings = new Standings()
    expect(standings.judge(rob, 5n, 100n)).toBe('counts')
    standings.silence(5n, cut, undefined)
    expect([standings.judge(rob, 5n, 3n), standings.judge(rob, 5n, 4n)]).toEqual(['counts', 'beyond'])
    expect(standings.judge(rob, 6n, 4n)).toBe('counts')
  })

  it('is what the Cut, this device or a message names, whichever is most, and never less than before', () => {
    const standings = new Standings()
    standings.silence(5n, cut, { member: rob, seq: 4n, hash: new Uint8Array(32) })
    expect(standings.limitOf(rob)).toBe(4n)
    expect(standings.name(head(6n), 4n)).toBe(true)
    expect(standings.name(head(5n), 4n)).toBe(false)
    expect(standings.limitOf(rob)).toBe(6n)
    standings.silence(9n, head(1n), undefined)
    expect(standings.limitOf(rob)).toBe(6n)
  })

  it('counts what was named before the commit came, also after a restart', () => {
    const before = new Standings()
    expect(before.name(head(7n), 2n)).toBe(false)
    const [change] = before.takeChanges()
    const standings = new Standings(change?.record === undefined ? [] : [change.record])
    standings.silence(5n, cut, undefined)
    expect(standings.limitOf(rob)).toBe(7n)
  })

  it('does not remember what is named and here already, unless it has to by itself count for nothing', () => {
    const standings = new Standings()
    standings.name(head(7n), 7n)
    expect(standings.takeChanges()).toEqual([])
    standings.name(head(8n), 7n)
    standings.reached('01'.repeat(16), 8n)
    expect(standings.takeChanges()).toEqual([{ member: rob, record: undefined }])
    standings.strict = true
    standings.name(head(7n), 7n)
    standings.reached('01'.repeat(16), 8n)
    expect(standings.named(rob)?.seq).toBe(7n)
  })
})

describe('SYNC-023: what is passed over', () => {
  it('is missed from where it began once it counts, and keeps the head from being named meanwhile', () => {
    const standings = new Standings()
    standings.silence(5n, cut, undefined)
    standings.passOver(head(3n))
    standings.passOver(head(4n))
    expect([standings.mayName(rob), standings.takeMissed(rob)]).toEqual([false, undefined])
    standings.name(head(5n), 5n)
    expect(standings.takeMissed(rob)).toEqual(head(3n))
    expect([standings.mayName(rob), standings.takeMissed(rob)]).toEqual([true, undefined])
  })
})

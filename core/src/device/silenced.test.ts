import { describe, expect, it } from 'vitest'
import { type ParsedEnvelope, Standings, StateVector } from '../sync/index.js'
import { Chains } from './chains.js'
import type { Repair } from './repair.js'
import type { Room } from './room.js'
import { Silenced } from './silenced.js'

const rob = new Uint8Array(16).fill(1)
const ada = new Uint8Array(16).fill(2)
const head = { member: rob, seq: 5n, hash: new Uint8Array(32).fill(5) }

/** What a device finds that was restarted right after a commit took Rob's right to write. */
function restarted(toldSeq: bigint, silenced: boolean): Silenced {
  const standings = new Standings()
  if (silenced)
    standings.silence(3n, ada, { member: rob, seq: 2n, hash: new Uint8Array(32) }, head.seq, {
      ownCounts: true,
      isOnChain: () => true
    })
  const room = { vector: new StateVector([head]) } as unknown as Room
  const repair = { isForked: () => false } as unknown as Repair
  const chains = new Chains(room, repair, [{ head, toldSeq, opened: true }])
  return new Silenced(room, chains, repair, standings)
}

describe('SYNC-022: after a restart', () => {
  it('a device still owes the others what it had applied of a silenced member and not told', () => {
    expect(restarted(4n, true).owesVouching).toBe(true)
  })

  it('it owes nothing that was told, and nothing of who may write', () => {
    expect([restarted(5n, true).owesVouching, restarted(4n, false).owesVouching]).toEqual([false, false])
  })
})

describe('SYNC-021: what is held of a silenced member', () => {
  const hashOf = (seq: number) => new Uint8Array(32).fill(seq)

  function message(seq: number, hash = hashOf(seq)): ParsedEnvelope {
    const header = { member: rob, seq: BigInt(seq), epoch: 3n, previous: hashOf(seq - 1) }
    return { header, hash, bytes: new Uint8Array(100) } as unknown as ParsedEnvelope
  }

  /** A device that has Rob's message 5, while the Cut names his message 7. */
  function cutAhead(): Silenced {
    const standings = new Standings()
    const cut = { member: rob, seq: 7n, hash: hashOf(7) }
    standings.silence(3n, ada, cut, head.seq, { ownCounts: true, isOnChain: () => true })
    const room = { vector: new StateVector([head]), group: { epoch: 4n } } as unknown as Room
    const repair = { isForked: () => false, isBehind: () => {} } as unknown as Repair
    const chains = new Chains(room, repair, [{ head, toldSeq: 5n, opened: true }])
    return new Silenced(room, chains, repair, standings)
  }

  it('counts as soon as its chain leads to the head that was named, and stays held until it is released', () => {
    const silenced = cutAhead()
    expect([6, 7, 8].map((seq) => silenced.judge(message(seq)))).toEqual(['open', 'open', 'beyond'])
    silenced.hold(message(7))
    expect(silenced.follow(rob)).toEqual({ counting: [], beyond: [] })
    silenced.hold(message(6))
    expect(silenced.takeUnsettled()).toEqual([rob])
    expect(silenced.takeUnsettled()).toEqual([])
    const { counting, beyond } = silenced.follow(rob)
    expect([counting.map(({ header }) => header.seq), beyond]).toEqual([[6n, 7n], []])
    expect(silenced.judge(message(7))).toBe('counts')
    expect(silenced.heldCount).toBe(2)
    for (const envelope of counting) silenced.release(envelope)
    expect(silenced.heldCount).toBe(0)
  })

  it('does not count when its chain leads to another message of that number', () => {
    const silenced = cutAhead()
    silenced.hold(message(6))
    silenced.hold(message(7, hashOf(70)))
    const { counting, beyond } = silenced.follow(rob)
    expect([counting, beyond.map(({ header }) => header.seq)]).toEqual([[], [6n, 7n]])
    expect(silenced.judge(message(6))).toBe('open')
  })
})

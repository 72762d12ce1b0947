import { describe, expect, it } from 'vitest'
import { Standings, StateVector } from '../sync/index.js'
import { Incoming } from './incoming.js'
import type { Repair } from './repair.js'
import type { Room } from './room.js'

const rob = new Uint8Array(16).fill(1)
const ada = new Uint8Array(16).fill(2)
const head = { member: rob, seq: 5n, hash: new Uint8Array(32).fill(5) }

/** What a device finds that was restarted right after a commit took Rob's right to write. */
function restarted(toldSeq: bigint, silenced: boolean): Incoming {
  const standings = new Standings()
  if (silenced)
    standings.silence(3n, ada, { member: rob, seq: 2n, hash: new Uint8Array(32) }, head.seq, {
      ownCounts: true,
      isOnChain: () => true
    })
  const room = { vector: new StateVector([head]) } as unknown as Room
  const repair = { isForked: () => false } as unknown as Repair
  const applied = [{ head, toldSeq, opened: true }]
  const hooks = { blame: () => {}, control: () => {} }
  return new Incoming(room, { applied, standings, mayBeLate: false }, repair, hooks)
}

describe('SYNC-022: after a restart', () => {
  it('a device still owes the others what it had applied of a silenced member and not told', () => {
    expect(restarted(4n, true).owesVouching).toBe(true)
  })

  it('it owes nothing that was told, and nothing of who may write', () => {
    expect([restarted(5n, true).owesVouching, restarted(4n, false).owesVouching]).toEqual([false, false])
  })
})

import { describe, expect, it } from 'vitest'
import { Standings, StateVector } from '../sync/index.js'
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

/** The switchboard's bounds, without sockets. */
import { describe, expect, it } from 'vitest'
import { newCounters } from './counters.js'
import { FRAME, keyOf, type Status } from './protocol/index.js'
import { type Party, PEERS_MAX, STANDBY_MAX, Switchboard } from './switchboard.js'

function party(
  number: number
): Party & { readonly got: Uint8Array[]; readonly told: (Status | 'crowded-out')[]; hasRoom: boolean } {
  const endpointId = new Uint8Array(32)
  new DataView(endpointId.buffer).setUint32(0, number)
  return {
    endpointId,
    key: keyOf(endpointId),
    got: [],
    told: [],
    hasRoom: true,
    send(frame) {
      if (this.hasRoom) this.got.push(frame)
      return this.hasRoom
    },
    tell(status) {
      this.told.push(status)
    },
    crowdedOut() {
      this.told.push('crowded-out')
    }
  }
}

const datagramTo = ({ endpointId }: Party) => Buffer.from([FRAME.clientToRelayDatagram, ...endpointId, 0, 1])

describe('an endpoint that goes', () => {
  it(`tells the last ${PEERS_MAX} it has sent to, whoever else it tried`, () => {
    const counters = newCounters()
    const board = new Switchboard(counters)
    const source = party(0)
    const peers = Array.from({ length: PEERS_MAX + 10 }, (_, index) => party(1 + index))
    for (const one of [source, ...peers]) board.register(one)
    for (let stranger = 1_000_000; stranger < 1_005_000; stranger++) board.forward(source, datagramTo(party(stranger)))
    for (const peer of peers) board.forward(source, datagramTo(peer))
    expect(counters).toMatchObject({ framesUnroutable: 5000, framesForwarded: peers.length })
    board.unregister(source)
    const hasHeard = peers.map(({ got }) => got.length === 2 && got[1]?.[0] === FRAME.endpointGone)
    expect(hasHeard.slice(0, 10)).toEqual(new Array(10).fill(false))
    expect(hasHeard.slice(10)).toEqual(new Array(PEERS_MAX).fill(true))
  })

  it('tells nobody it could not reach', () => {
    const counters = newCounters()
    const board = new Switchboard(counters)
    const [source, full] = [party(0), party(1)]
    for (const one of [source, full]) board.register(one)
    full.hasRoom = false
    board.forward(source, datagramTo(full))
    full.hasRoom = true
    board.unregister(source)
    expect([full.got, counters.framesForwarded]).toEqual([[], 0])
  })

  it('is gone once, however often it is said', () => {
    const board = new Switchboard(newCounters())
    const one = party(1)
    board.register(one)
    board.unregister(one)
    board.unregister(one)
    board.unregister(party(2))
    expect(board.size).toBe(0)
  })
})

describe('connections of one endpoint', () => {
  it('come back newest first, and the oldest is crowded out', () => {
    const board = new Switchboard(newCounters())
    const all = Array.from({ length: STANDBY_MAX + 2 }, () => party(7))
    for (const one of all) board.register(one)
    expect(all[0]?.told).toEqual(['same-endpoint-connected', 'crowded-out'])
    for (const one of all.slice(1).reverse()) board.unregister(one)
    for (const one of all.slice(1, -1)) expect(one.told).toEqual(['same-endpoint-connected', 'healthy'])
    expect(all.at(-1)?.told).toEqual([])
    expect(board.size).toBe(0)
  })
})

/** The wire format, against iroh's own layout and against any bytes at all. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  clientFrameKind,
  destinationOf,
  FRAME,
  keyOf,
  readdress,
  restarting,
  type Status,
  serverDeniesAuth,
  signedMessage,
  status
} from './index.js'

const id = (byte: number) => new Uint8Array(32).fill(byte)
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

describe('a frame from a client', () => {
  it.each([
    ['a datagram', [FRAME.clientToRelayDatagram, ...id(1), 0], 'datagrams'],
    ['a batch', [FRAME.clientToRelayBatch, ...id(1), 0, 4, 0], 'datagrams'],
    ['a ping', [FRAME.ping, 1, 2, 3, 4, 5, 6, 7, 8], 'ping'],
    ['a pong', [FRAME.pong, 1, 2, 3, 4, 5, 6, 7, 8], 'pong']
  ])('is taken: %s', (_, bytes, kind) => {
    expect(clientFrameKind(Uint8Array.from(bytes))).toBe(kind)
  })

  it.each([
    ['nothing', []],
    ['a datagram without the ECN byte', [FRAME.clientToRelayDatagram, ...id(1)]],
    ['a batch without the segment size', [FRAME.clientToRelayBatch, ...id(1), 0, 4]],
    ['a short ping', [FRAME.ping, 1, 2, 3, 4, 5, 6, 7]],
    ['a long pong', [FRAME.pong, 1, 2, 3, 4, 5, 6, 7, 8, 9]],
    ['what only the relay sends', [FRAME.relayToClientDatagram, ...id(1), 0]],
    ['a second proof', [FRAME.clientAuth, ...id(1)]],
    ['a type in two bytes', [0x40, FRAME.ping, 1, 2, 3, 4, 5, 6, 7, 8]],
    ['a type nobody knows', [63]]
  ])('is refused: %s', (_, bytes) => {
    expect(() => clientFrameKind(Uint8Array.from(bytes))).toThrow(expect.objectContaining({ code: 'MALFORMED' }))
  })

  it('of any bytes is one of the kinds or MALFORMED', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        try {
          expect(['datagrams', 'ping', 'pong']).toContain(clientFrameKind(bytes))
        } catch (error) {
          expect(error).toMatchObject({ code: 'MALFORMED' })
        }
      })
    )
  })
})

describe('forwarding', () => {
  it.each([
    [FRAME.clientToRelayDatagram, FRAME.relayToClientDatagram],
    [FRAME.clientToRelayBatch, FRAME.relayToClientBatch]
  ])('turns type %i into %i and the destination into the source, and nothing else', (from, to) => {
    const frame = Buffer.from([from, ...id(7), 2, 0, 9, 1, 2, 3])
    expect(destinationOf(frame)).toBe(keyOf(id(7)))
    readdress(frame, id(9))
    expect([...frame]).toEqual([to, ...id(9), 2, 0, 9, 1, 2, 3])
  })
})

describe('what the relay says', () => {
  it('is laid out as iroh reads it', () => {
    expect(hex(restarting(1000, 5000))).toBe('0c000003e800001388')
    expect(hex(serverDeniesAuth('no'))).toBe('03026e6f')
    expect(hex(status('same-endpoint-connected', 2))).toBe('0d01')
    expect(hex(status('healthy', 2))).toBe('0d00')
  })

  it('says a status in words to clients of version 1', () => {
    for (const name of ['healthy', 'same-endpoint-connected', 'rate-limited'] satisfies Status[]) {
      const frame = status(name, 1)
      expect(frame[0]).toBe(FRAME.health)
      expect(new TextDecoder().decode(frame.subarray(1))).toMatch(/connect/)
    }
  })

  it('keeps a refusal’s length in one byte', () => {
    const frame = serverDeniesAuth('ö'.repeat(500))
    expect([...frame]).toEqual([FRAME.serverDeniesAuth, 63, ...new Array(63).fill(63)])
  })
})

describe('the message a client signs', () => {
  it('is what iroh’s own clients sign', () => {
    expect(hex(signedMessage(new Uint8Array(16)))).toBe(
      '8105e7bd9963194e6d6d80225a3f1b071da3b6e65edcd12531e16233f33de9d6'
    )
  })
})

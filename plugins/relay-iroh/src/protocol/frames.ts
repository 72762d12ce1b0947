/**
 * The frames of the iroh relay protocol, versions 1 and 2, as one binary WebSocket message each: a type (a QUIC varint, RFC
 * 9000 §16, one byte for every type there is) and a body. Reading checks every length and throws MALFORMED; the rest of
 * the package sees only what was checked.
 */
import { HeddleError } from '@heddle/core'

export const ENDPOINT_ID_BYTES = 32
export const PING_BYTES = 8
export const CHALLENGE_BYTES = 16

/** Most bytes after a frame's type (iroh's MAX_PACKET_SIZE). */
export const FRAME_BODY_BYTES_MAX = 64 * 1024
export const FRAME_BYTES_MAX = 1 + FRAME_BODY_BYTES_MAX

/** What follows the destination: the ECN byte; in a batch also the size of its segments. */
const DATAGRAM_BYTES_MIN = 1 + ENDPOINT_ID_BYTES + 1
const BATCH_BYTES_MIN = DATAGRAM_BYTES_MIN + 2

export const FRAME = {
  serverChallenge: 0,
  clientAuth: 1,
  serverConfirmsAuth: 2,
  serverDeniesAuth: 3,
  clientToRelayDatagram: 4,
  clientToRelayBatch: 5,
  relayToClientDatagram: 6,
  relayToClientBatch: 7,
  endpointGone: 8,
  ping: 9,
  pong: 10,
  /** Version 1 only. */
  health: 11,
  restarting: 12,
  /** From version 2 on. */
  status: 13
} as const

export type ProtocolVersion = 1 | 2
/** How Sec-WebSocket-Protocol names the versions, best first. */
export const SUBPROTOCOLS: readonly { readonly name: string; readonly version: ProtocolVersion }[] = [
  { name: 'iroh-relay-v2', version: 2 },
  { name: 'iroh-relay-v1', version: 1 }
]

/** An endpoint id as a key of maps: its 32 bytes as Latin-1 characters. */
export type EndpointKey = string

export type ClientFrameKind = 'datagrams' | 'ping' | 'pong'

/** What an authenticated client's frame is; its lengths are right afterwards. Throws MALFORMED. */
export function clientFrameKind(frame: Uint8Array): ClientFrameKind {
  switch (frame[0]) {
    case FRAME.clientToRelayDatagram:
      if (frame.length < DATAGRAM_BYTES_MIN) throw malformed(`a datagram frame of ${frame.length} bytes`)
      return 'datagrams'
    case FRAME.clientToRelayBatch:
      if (frame.length < BATCH_BYTES_MIN) throw malformed(`a batch frame of ${frame.length} bytes`)
      return 'datagrams'
    case FRAME.ping:
    case FRAME.pong:
      if (frame.length !== 1 + PING_BYTES) throw malformed(`a ping or pong of ${frame.length} bytes`)
      return frame[0] === FRAME.ping ? 'ping' : 'pong'
    default:
      throw malformed(frame.length === 0 ? 'an empty frame' : `a frame of type ${frame[0]}`)
  }
}

/** Whom a datagram or batch frame is for. */
export function destinationOf(frame: Buffer): EndpointKey {
  return frame.toString('latin1', 1, 1 + ENDPOINT_ID_BYTES)
}

/** Turns a frame from `source` into the one its destination gets, in place: both have the same layout. */
export function readdress(frame: Buffer, source: Uint8Array): void {
  frame[0] = frame[0] === FRAME.clientToRelayBatch ? FRAME.relayToClientBatch : FRAME.relayToClientDatagram
  frame.set(source, 1)
}

/** Turns a ping into its answer, in place. */
export function answerPing(frame: Uint8Array): void {
  frame[0] = FRAME.pong
}

export function keyOf(endpointId: Uint8Array): EndpointKey {
  return Buffer.from(endpointId.buffer, endpointId.byteOffset, endpointId.byteLength).toString('latin1')
}

export function serverChallenge(challenge: Uint8Array): Uint8Array {
  return frameOf(FRAME.serverChallenge, challenge)
}

export function serverConfirmsAuth(): Uint8Array {
  return frameOf(FRAME.serverConfirmsAuth, new Uint8Array(0))
}

/** `reason` is cut to 63 bytes of ASCII, whose length is a varint of one byte. */
export function serverDeniesAuth(reason: string): Uint8Array {
  const text = new TextEncoder().encode(reason.replaceAll(/[^ -~]/g, '?').slice(0, 63))
  return frameOf(FRAME.serverDeniesAuth, Uint8Array.of(text.length, ...text))
}

export function ping(payload: Uint8Array): Uint8Array {
  return frameOf(FRAME.ping, payload)
}

export function pongAnswers(frame: Uint8Array, payload: Uint8Array): boolean {
  return payload.every((byte, index) => byte === frame[1 + index])
}

export function endpointGone(endpointId: Uint8Array): Uint8Array {
  return frameOf(FRAME.endpointGone, endpointId)
}

/** When to come back, and how long to keep trying, milliseconds. */
export function restarting(reconnectInMs: number, tryForMs: number): Uint8Array {
  const frame = new Uint8Array(9)
  const view = new DataView(frame.buffer)
  view.setUint8(0, FRAME.restarting)
  view.setUint32(1, reconnectInMs)
  view.setUint32(5, tryForMs)
  return frame
}

export type Status = 'healthy' | 'same-endpoint-connected' | 'rate-limited'
const STATUS = {
  healthy: [0, 'The connection is healthy and has recovered from previous problems'],
  'same-endpoint-connected': [
    1,
    'Another endpoint connected with the same endpoint id. No more messages will be received.'
  ],
  'rate-limited': [2, 'The connection is rate-limited']
} as const satisfies Record<Status, readonly [number, string]>

/** What tells a client how its connection is, in its own version of the protocol. */
export function status(name: Status, version: ProtocolVersion): Uint8Array {
  const [code, text] = STATUS[name]
  return version === 1
    ? frameOf(FRAME.health, new TextEncoder().encode(text))
    : frameOf(FRAME.status, Uint8Array.of(code))
}

export function malformed(what: string): HeddleError {
  return new HeddleError('MALFORMED', `the client broke the iroh relay protocol: it sent ${what}`)
}

function frameOf(type: number, body: Uint8Array): Uint8Array {
  const frame = new Uint8Array(1 + body.length)
  frame[0] = type
  frame.set(body, 1)
  return frame
}

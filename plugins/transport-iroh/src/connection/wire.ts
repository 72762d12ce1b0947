/**
 * What goes over a connection. Each lane is one bidirectional QUIC stream that lives as long as what it carries: a control
 * lane, which the dialling side opens first, and a data lane for each stream either side opens. The opener's first byte says
 * which it is (`LANE`); then each direction is a sequence of frames, a length (4 bytes, big endian) and so many bytes.
 * The length FINISH ends it. A direction that ends in another way was reset: QUIC's own end says nothing, since iroh ends a
 * stream by itself when its handle is let go.
 *
 * On the control lane the frames are messages, the first byte of each its kind:
 *
 * | kind    | then                                   | meaning                                                       |
 * |---------|----------------------------------------|---------------------------------------------------------------|
 * | 0 HELLO | version 1 byte, largest frame 4 bytes  | the first message of each side, and only that                 |
 * | 1 PING  |                                        | asks for a PONG                                               |
 * | 2 PONG  |                                        |                                                               |
 * | 3 RESET | flags 1 byte, stream 4 bytes           | the sender gives up a stream, or one direction of it          |
 * | 4 BYE   | streams opened 4 bytes                 | the sender closes; what it wrote before still comes           |
 *
 * Streams are counted from 1 for each side in the order it opened them, which is the order QUIC hands them out in. RESET
 * travels here because a blocked QUIC stream cannot be reset, nor stopped while it is read: both sides read such a stream
 * to its end and throw away what comes.
 */
import { HeddleError } from '@heddle/core'

export const VERSION = 1
export const LANE = { control: 0, data: 1 } as const
/** A length that is none: no more frames. */
export const FINISH = 0xffff_ffff
export const HEADER_BYTES = 4
/** What a frame costs of a bound besides its bytes: empty frames are not free. */
export const FRAME_COST_BYTES = 64
export const CONTROL_FRAME_BYTES_MAX = 16

/** Flags of RESET. */
export const RESET = {
  /** The number counts the streams its sender opened; otherwise those its receiver opened. */
  ownStream: 1,
  /** What its sender wrote is void. */
  noMoreWrites: 2,
  /** Its sender reads no more. */
  noMoreReads: 4
} as const

export type ControlMessage =
  | { readonly kind: 'hello'; readonly version: number; readonly frameBytesMax: number }
  | { readonly kind: 'ping' | 'pong' }
  | { readonly kind: 'reset'; readonly flags: number; readonly stream: number }
  | { readonly kind: 'bye'; readonly streams: number }

const KIND = { hello: 0, ping: 1, pong: 2, reset: 3, bye: 4 } as const

export function encodeControl(message: ControlMessage): Uint8Array {
  const kind = KIND[message.kind]
  switch (message.kind) {
    case 'hello':
      return Uint8Array.of(kind, message.version, ...u32(message.frameBytesMax))
    case 'ping':
    case 'pong':
      return Uint8Array.of(kind)
    case 'reset':
      return Uint8Array.of(kind, message.flags, ...u32(message.stream))
    case 'bye':
      return Uint8Array.of(kind, ...u32(message.streams))
  }
}

/** Throws MALFORMED. A later version may have a longer HELLO. */
export function decodeControl(bytes: Uint8Array): ControlMessage {
  const [kind, second = 0] = bytes
  if (kind === KIND.hello && bytes.length >= 6)
    return { kind: 'hello', version: second, frameBytesMax: readU32(bytes, 2) }
  if (kind === KIND.ping && bytes.length === 1) return { kind: 'ping' }
  if (kind === KIND.pong && bytes.length === 1) return { kind: 'pong' }
  if (kind === KIND.reset && bytes.length === 6 && second < 8 && second >= RESET.noMoreWrites) {
    return { kind: 'reset', flags: second, stream: readU32(bytes, 2) }
  }
  if (kind === KIND.bye && bytes.length === 5) return { kind: 'bye', streams: readU32(bytes, 1) }
  throw malformed(`a control message of kind ${kind} and ${bytes.length} bytes`)
}

export function u32(value: number): readonly [number, number, number, number] {
  return [value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff]
}

export function readU32(bytes: Uint8Array, at: number): number {
  const [a = 0, b = 0, c = 0, d = 0] = bytes.subarray(at, at + 4)
  return ((a << 24) | (b << 16) | (c << 8) | d) >>> 0
}

/** Codes with which a connection is closed; the reason is the name. */
export const CLOSE = { normal: 0, malformed: 1, frameTooLarge: 2, silent: 3, busy: 4, refused: 5 } as const
export type CloseName = keyof typeof CLOSE

export function malformed(why: string): HeddleError {
  return new HeddleError('MALFORMED', `the peer broke the iroh transport's protocol: ${why}`)
}

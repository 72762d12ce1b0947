/**
 * The multiplexer's wire format. A WebSocket message is a sequence of entries: stream id as a varint, one byte of kind, and
 * what the kind says. Stream 0 is the connection itself; the dialling side opens odd streams, the listening side even ones.
 *
 * | kind      | stream | then                    | meaning                                                             |
 * |-----------|--------|-------------------------|---------------------------------------------------------------------|
 * | 0 OPEN    | new    |                         | ids rise; only so many streams as the other side has granted         |
 * | 1 PART    | any    | varint length, bytes    | a part of a frame, more follows; at least PART_BYTES_MIN             |
 * | 2 LAST    | any    | varint length, bytes    | the last or only part of a frame                                     |
 * | 3 FINISH  | any    |                         | no more frames from this side                                        |
 * | 4 RESET   | any    |                         | this side has given the stream up, both directions                   |
 * | 5 WINDOW  | any    | varint bytes            | so many more bytes may be sent on the stream                         |
 * | 6 PING    | 0      |                         | asks for a PONG                                                      |
 * | 7 PONG    | 0      |                         |                                                                      |
 * | 8 STREAMS | 0      | varint count            | so many more streams may be opened                                   |
 *
 * A part costs its length of the stream's window, the last part FRAME_COST_BYTES more: empty frames are not free.
 */
export const KIND = {
  open: 0,
  part: 1,
  last: 2,
  finish: 3,
  reset: 4,
  window: 5,
  ping: 6,
  pong: 7,
  streams: 8
} as const

/** What a frame costs of the window besides its bytes. */
export const FRAME_COST_BYTES = 64
/** Largest part: what other streams wait for at most before it is their turn. */
export const PART_BYTES_MAX = 64 * 1024
/** Smallest part that is not the last one, so that a frame cannot be sent in a million pieces. */
export const PART_BYTES_MIN = 16 * 1024
/** Ids stop here; the connection has to be dialled anew after a billion streams. */
export const STREAM_ID_MAX = 0x7fff_ffff

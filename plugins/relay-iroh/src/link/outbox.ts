/**
 * What waits to be written to one client, bounded in frames and bytes, for itself and together with all others'. A relay
 * drops what finds no room, as a router would: the QUIC connections above it notice and slow down. Used by the link only.
 */
import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import type { Limits } from '../options.js'

/** Frames handed to the kernel in one go at most. */
const BATCH_FRAMES = 64
/** What each client may still have waiting when all together have too much. */
const FAIR_BYTES = 64 * 1024

/** The bytes waiting for all clients of a relay. */
export interface QueuedTotal {
  bytes: number
}

export class Outbox {
  readonly #ws: WebSocket
  readonly #socket: Duplex
  readonly #limits: Limits
  readonly #total: QueuedTotal
  readonly #now: () => number
  #bytes = 0
  #written = 0
  #flushed = 0
  #calledBack = 0
  #corked = 0
  #isBackedUp = false
  #movedAtMs: number

  constructor(ws: WebSocket, socket: Duplex, limits: Limits, total: QueuedTotal, now: () => number) {
    this.#ws = ws
    this.#socket = socket
    this.#limits = limits
    this.#total = total
    this.#now = now
    this.#movedAtMs = now()
  }

  /** When anything last left for the network, or came after nothing had waited; milliseconds since the epoch. */
  get movedAtMs(): number {
    return this.#movedAtMs
  }

  /** False when there is no room. The frame must not be changed any more. */
  push(frame: Uint8Array): boolean {
    if (!this.#hasRoom(frame.length)) return false
    if (this.#corked === 0) {
      // What one turn of the event loop brings for a client leaves in one system call.
      this.#isBackedUp = this.#socket.writableLength > 0
      this.#socket.cork()
      process.nextTick(this.#uncork)
    }
    if (this.#written === this.#flushed) this.#movedAtMs = this.#now()
    this.#corked += 1
    this.#written += 1
    this.#ws.send(this.#isBackedUp ? ownCopy(frame) : frame, SEND_OPTIONS, this.#onWritten)
    if (this.#corked >= BATCH_FRAMES) this.#flush()
    this.#count()
    return true
  }

  /** Room for a control frame of the WebSocket protocol, which is written around the outbox. */
  get hasRoomForControl(): boolean {
    return this.#ws.bufferedAmount < FAIR_BYTES
  }

  /** The connection is over: what waited counts no more. */
  discard(): void {
    this.#total.bytes -= this.#bytes
    this.#bytes = 0
    this.#flushed = this.#written
  }

  #hasRoom(bytes: number): boolean {
    const { queueFramesMax, queueBytesMax, queueBytesTotalMax } = this.#limits
    if (this.#written - this.#flushed >= queueFramesMax) return false
    const bytesMax = this.#total.bytes > queueBytesTotalMax ? Math.min(FAIR_BYTES, queueBytesMax) : queueBytesMax
    return this.#bytes === 0 || this.#bytes + bytes <= bytesMax
  }

  readonly #uncork = (): void => {
    if (this.#corked > 0) this.#flush()
    this.#count()
  }

  #flush(): void {
    this.#corked = 0
    this.#socket.uncork()
    // The kernel took all of it; the callbacks that say so come later.
    if (this.#socket.writableLength === 0) this.#moved(this.#written)
  }

  readonly #onWritten = (): void => {
    this.#calledBack += 1
    if (this.#calledBack > this.#flushed) this.#moved(this.#calledBack)
    this.#count()
  }

  #moved(flushed: number): void {
    this.#flushed = flushed
    this.#movedAtMs = this.#now()
  }

  #count(): void {
    if (this.#ws.readyState === this.#ws.CLOSED) return
    const bytes = this.#ws.bufferedAmount
    this.#total.bytes += bytes - this.#bytes
    this.#bytes = bytes
  }
}

const SEND_OPTIONS = { binary: true, compress: false } as const

/** A frame is a view of what was read from the sender's socket, and would keep all of that while it waits. */
function ownCopy(frame: Uint8Array): Uint8Array {
  return frame.buffer.byteLength > 2 * frame.length ? new Uint8Array(frame) : frame
}

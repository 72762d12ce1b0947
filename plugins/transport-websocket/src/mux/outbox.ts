/**
 * Gathers what the streams of one connection have to send into WebSocket messages. The first frame after a pause leaves at
 * the end of the current microtask; what follows within the same turn of the event loop leaves together at its end, or as
 * soon as a message is full. Streams take turns, one part each.
 */
import { ByteWriter } from '../bytes.js'
import type { Socket } from '../socket/index.js'

/** A message is sent once it has this many bytes. */
export const BATCH_BYTES = 64 * 1024

/** Something that may have entries to send: a stream, or the connection itself. */
export interface Source {
  /** Writes its next entries, at most one part of a frame; true when it could write more right away. */
  pull(batch: ByteWriter): boolean
}

export class Outbox {
  readonly #socket: Socket
  readonly #afterTurn: (callback: () => void) => void
  readonly #ready = new Set<Source>()
  readonly #batch = new ByteWriter()
  /** A flush is due: at the end of the microtask, or of the turn. */
  #due = false
  #inTurn = false
  #full = false
  #closed = false

  /** `afterTurn` calls back at the end of the event loop's turn, like setImmediate. */
  constructor(socket: Socket, afterTurn: (callback: () => void) => void) {
    this.#socket = socket
    this.#afterTurn = afterTurn
  }

  /** The source is asked for its entries when its turn comes. */
  ready(source: Source): void {
    if (this.#closed) return
    this.#ready.add(source)
    if (!this.#full) this.#schedule()
  }

  /**
   * The batch to write one small frame into without queueing, or undefined when that would overtake others or overfill the
   * socket. Call `wrote` afterwards.
   */
  direct(): ByteWriter | undefined {
    return this.#full || this.#closed || this.#ready.size > 0 ? undefined : this.#batch
  }

  wrote(): void {
    if (this.#batch.length >= BATCH_BYTES) this.#send()
    else this.#schedule()
  }

  /** The socket takes more again. */
  drained(): void {
    this.#full = false
    this.flush()
  }

  /** Sends until nothing is left or the socket is full. */
  flush(): void {
    while (!this.#full && !this.#closed) {
      this.#fill()
      if (this.#batch.length === 0) return
      this.#send()
    }
  }

  /** Sends what is in the batch, even into a full socket, and takes nothing more. */
  close(): void {
    if (this.#closed) return
    if (this.#batch.length > 0) this.#send()
    this.#closed = true
    this.#ready.clear()
  }

  #fill(): void {
    for (const source of this.#ready) {
      if (this.#batch.length >= BATCH_BYTES) return
      this.#ready.delete(source)
      // Added again it stands behind the others.
      if (source.pull(this.#batch)) this.#ready.add(source)
    }
  }

  #send(): void {
    this.#full = !this.#socket.send(this.#batch.take())
  }

  #schedule(): void {
    if (this.#due) return
    this.#due = true
    if (!this.#inTurn) queueMicrotask(() => this.#run())
  }

  #run(): void {
    this.#due = false
    this.#inTurn = true
    this.flush()
    this.#afterTurn(() => {
      this.#inTurn = false
      if (this.#due) this.#run()
    })
  }
}

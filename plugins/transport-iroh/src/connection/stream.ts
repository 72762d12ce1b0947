/**
 * A frame stream: one data lane. `IrohConnection` makes it for each QUIC stream either side opens and tells it what the
 * control lane says about it.
 */
import { AsyncQueue, type FrameStream, HeddleError } from '@heddle/core'
import { isReset, type QuicStream } from '../native/index.js'
import { LaneReader } from './lane-reader.js'
import { aborted, LaneWriter } from './lane-writer.js'
import { FRAME_COST_BYTES, LANE, RESET } from './wire.js'

/** Bytes here that nobody has read, above which this side stops pulling; QUIC's window for the stream comes on top. */
export const READ_AHEAD_BYTES = 256 * 1024
/** The same while the connection ends: more than a peer that keeps to the protocol can still have under way. */
const DRAINED_BYTES_MAX = 4 * 1024 * 1024

export interface StreamInit {
  readonly stream: QuicStream
  /** Counted by the side that opened it. */
  readonly number: number
  readonly isOwn: boolean
  /** What was read of it already, on the side that did not open it. */
  readonly first: Uint8Array | undefined
  /** "stream 3 to iroh://…", for messages. */
  readonly name: string
  readonly sendFrameBytesMax: number
  readonly receiveFrameBytesMax: number
  readonly onReset: (stream: IrohStream, flags: number) => void
  readonly onHeard: () => void
  readonly onBroken: (error: HeddleError) => void
  /** The QUIC stream is over, and nothing of it is left to read. */
  readonly onSpent: (stream: IrohStream) => void
}

export class IrohStream implements FrameStream {
  readonly number: number
  readonly isOwn: boolean
  readonly frames: AsyncQueue<Uint8Array>
  /** Resolves when both directions of the QUIC stream are over. */
  readonly ended: Promise<void>
  readonly #init: StreamInit
  readonly #writer: LaneWriter
  readonly #reader: LaneReader
  #reading: 'open' | 'finished' | 'failed' = 'open'
  #unreadBytes = 0
  #isEnded = false
  #isSpent = false
  #isDisposed = false
  #error: HeddleError | undefined

  constructor(init: StreamInit) {
    this.#init = init
    this.number = init.number
    this.isOwn = init.isOwn
    this.frames = new AsyncQueue<Uint8Array>({
      onTake: (frame) => this.#taken(frame),
      onWait: () => this.#reader.resume()
    })
    this.#writer = new LaneWriter(init.stream, init.name, (cause) => this.#error ?? this.#lost(cause))
    if (init.isOwn) this.#writer.preamble(LANE.data)
    let readerEnded = () => {}
    const reading = new Promise<void>((resolve) => {
      readerEnded = resolve
    })
    this.#reader = new LaneReader(
      init.stream,
      init.name,
      {
        frameBytesMax: init.receiveFrameBytesMax,
        wantsMore: (partialBytes, isLast) =>
          this.frames.waiting || this.#unreadBytes + partialBytes < (isLast ? DRAINED_BYTES_MAX : READ_AHEAD_BYTES),
        frame: (bytes) => this.#receive(bytes),
        finished: () => this.#endReading('finished', undefined),
        ended: (cause) => {
          // Whoever resets a direction has given up the whole stream; its RESET may still be under way on the control lane.
          if (isReset(cause) && this.#error === undefined) this.receiveReset(RESET.noMoreWrites | RESET.noMoreReads)
          this.#endReading('failed', this.#error ?? this.#lost(cause))
          readerEnded()
        },
        broke: init.onBroken,
        heard: init.onHeard
      },
      init.first
    )
    this.ended = Promise.all([reading, this.#writer.ended]).then(() => {
      this.#isEnded = true
      this.#settle()
    })
  }

  write(frame: Uint8Array, signal?: AbortSignal): Promise<void> {
    const limit = this.#init.sendFrameBytesMax
    if (frame.length > limit) {
      const message = `a frame of ${frame.length} bytes does not go on ${this.#init.name}: the limit is ${limit} bytes; split it`
      const info = { frameBytes: frame.length, frameBytesMax: limit }
      return Promise.reject(new HeddleError('FRAME_TOO_LARGE', message, { info }))
    }
    if (signal?.aborted) return Promise.reject(aborted(`writing to ${this.#init.name}`, signal))
    if (!this.#writer.isOpen || this.#error !== undefined) return Promise.reject(this.#notWritable())
    return this.#writer.write(frame, signal)
  }

  finish(): Promise<void> {
    return this.#error !== undefined && !this.#writer.isFinishing
      ? Promise.reject(this.#notWritable())
      : this.#writer.finish()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isDisposed) return
    this.#isDisposed = true
    const error = new HeddleError('TRANSPORT_CLOSED', `${this.#init.name} was disposed of by this side`)
    const stopsWriting = !this.#writer.isFinishing
    const flags = (stopsWriting ? RESET.noMoreWrites : 0) | (this.#reading === 'open' ? RESET.noMoreReads : 0)
    if (this.#error === undefined && flags !== 0) this.#init.onReset(this, flags)
    this.#error ??= error
    if (stopsWriting) this.#writer.abandon(error)
    this.#stopReading(error)
    this.frames.clear()
    this.#unreadBytes = 0
    this.#settle()
  }

  /** The other side gave it up, or one direction of it. */
  receiveReset(flags: number): void {
    const error = new HeddleError('TRANSPORT_CLOSED', `${this.#init.name} was reset by the other side`)
    // The other side's writes are this side's reads.
    if ((flags & RESET.noMoreWrites) !== 0) this.#stopReading(error)
    if ((flags & RESET.noMoreReads) !== 0) this.#writer.abandon(error)
  }

  /** Nothing more of it will be sent. */
  get written(): Promise<void> {
    return this.#writer.ended
  }

  /** The connection closes on this side: what was written still goes out, what comes is thrown away. */
  close(error: HeddleError): void {
    this.#error ??= error
    this.#writer.endAfterQueued(error)
    this.#endReading('failed', error)
    this.#reader.discard()
  }

  /** The connection ends from the other side, or is lost: what has arrived is still there to be read. */
  drain(error: HeddleError): void {
    this.#error ??= error
    this.#writer.abandon(error)
    this.#reader.drain()
  }

  #stopReading(error: HeddleError): void {
    this.#dropUnread()
    this.#endReading('failed', error)
    this.#reader.discard()
  }

  /** What a finished sender had written stays there to be read. */
  #dropUnread(): void {
    if (this.#reading !== 'open') return
    this.frames.clear()
    this.#unreadBytes = 0
  }

  #receive(frame: Uint8Array): void {
    this.#unreadBytes += frame.length + FRAME_COST_BYTES
    this.frames.push(frame)
  }

  #taken(frame: Uint8Array): void {
    this.#unreadBytes -= frame.length + FRAME_COST_BYTES
    this.#reader.resume()
    if (this.#isEnded) this.#settle()
  }

  #endReading(how: 'finished' | 'failed', error: HeddleError | undefined): void {
    if (this.#reading !== 'open') return
    this.#reading = how
    this.frames.close(error)
  }

  #settle(): void {
    if (!this.#isEnded || this.#isSpent || this.frames.size > 0) return
    this.#isSpent = true
    this.#init.onSpent(this)
  }

  #notWritable(): HeddleError {
    return this.#error ?? new HeddleError('TRANSPORT_CLOSED', `${this.#init.name} takes no frame any more`)
  }

  #lost(cause: unknown): HeddleError {
    const message = `${this.#init.name} was reset by the other side, or its connection is gone`
    return new HeddleError('TRANSPORT_CLOSED', message, { cause })
  }
}

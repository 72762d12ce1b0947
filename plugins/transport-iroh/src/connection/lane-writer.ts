/**
 * One direction of a lane, outwards: frames in order, gathered into writes of at most 16 KiB, one write at a time. The first
 * frame after a pause leaves at the end of the current microtask; what comes while a write is under way leaves together.
 */
import { HeddleError } from '@heddle/core'
import type { QuicStream } from '../native/index.js'
import { FINISH, HEADER_BYTES, u32 } from './wire.js'

/** Larger writes stall everything else: the binding converts them byte by byte on this thread. */
export const WRITE_BYTES_MAX = 16 * 1024
/** Queued bytes above which `write` waits. */
export const HIGH_WATER_BYTES = 256 * 1024
/** Frames up to here are copied into one chunk with their header, larger ones are lent until they have been sent. */
const COPIED_BYTES_MAX = 64 * 1024

interface Chunk {
  readonly bytes: Uint8Array
  /** Bytes already sent. */
  at: number
  /** Of a write that still waits. */
  readonly isWaiting?: true
  /** The waiting write whose last byte is in this chunk. */
  readonly write?: PendingWrite
}
interface PendingWrite {
  readonly head: Chunk
  body: Chunk | undefined
  readonly sent: () => void
  readonly failed: (error: HeddleError) => void
}

const WRITTEN = Promise.resolve()

export class LaneWriter {
  /** Resolves when the QUIC stream's half is ended; never rejects. */
  readonly ended: Promise<void>
  readonly #stream: QuicStream
  readonly #name: string
  readonly #errorOf: (cause: unknown) => HeddleError
  #queue: Chunk[] = []
  #head = 0
  #queuedBytes = 0
  #waiting = 0
  #running = false
  #state: 'open' | 'finishing' | 'ending' | 'resetting' | 'ended' = 'open'
  #finish: { readonly promise: Promise<void>; resolve(): void; reject(error: HeddleError): void } | undefined
  #error: HeddleError | undefined
  #resolveEnded: () => void = () => {}

  /** `errorOf` says what a failed write means; its result is thrown from then on. */
  constructor(stream: QuicStream, name: string, errorOf: (cause: unknown) => HeddleError) {
    this.#stream = stream
    this.#name = name
    this.#errorOf = errorOf
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve
    })
  }

  get queuedBytes(): number {
    return this.#queuedBytes
  }

  get isOpen(): boolean {
    return this.#state === 'open'
  }

  /** Whether everything written will still be sent. */
  get isFinishing(): boolean {
    return this.#finish !== undefined && this.#error === undefined
  }

  /** The lane's first byte. */
  preamble(byte: number): void {
    this.#push({ bytes: Uint8Array.of(byte), at: 0 })
  }

  /** Resolves when the frame is copied or sent. The caller has checked that the lane is open. */
  write(frame: Uint8Array, signal?: AbortSignal): Promise<void> {
    const bytes = HEADER_BYTES + frame.length
    if (this.#waiting === 0 && frame.length <= COPIED_BYTES_MAX && this.#queuedBytes + bytes <= HIGH_WATER_BYTES) {
      const chunk = new Uint8Array(bytes)
      chunk.set(u32(frame.length))
      chunk.set(frame, HEADER_BYTES)
      this.#push({ bytes: chunk, at: 0 })
      return WRITTEN
    }
    return new Promise((resolve, reject) => {
      const stop = () => {
        this.#waiting -= 1
        signal?.removeEventListener('abort', onAbort)
      }
      const head: Chunk = { bytes: Uint8Array.from(u32(frame.length)), at: 0, isWaiting: true }
      const write: PendingWrite = {
        head,
        body: undefined,
        sent: () => {
          stop()
          resolve()
        },
        failed: (error) => {
          stop()
          reject(error)
        }
      }
      const onAbort = () => {
        this.#abandonWrite(write)
        write.failed(aborted(`writing to ${this.#name}`, signal))
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#waiting += 1
      write.body = { bytes: frame, at: 0, isWaiting: true, write }
      this.#push(head)
      this.#push(write.body)
    })
  }

  /** Sends what is queued, then FINISH and the end. May be called again. */
  finish(): Promise<void> {
    if (this.#finish !== undefined) return this.#finish.promise
    if (this.#error !== undefined) return Promise.reject(this.#error)
    let resolve = () => {}
    let reject: (error: HeddleError) => void = () => {}
    const promise = new Promise<void>((done, failed) => {
      resolve = done
      reject = failed
    })
    promise.catch(() => {
      // Whoever called finish() hears of it; here it must not count as unhandled.
    })
    this.#finish = { promise, resolve, reject }
    this.#state = 'finishing'
    this.#push({ bytes: Uint8Array.from(u32(FINISH)), at: 0 })
    return promise
  }

  /** Sends what `write` resolved for, then the end without FINISH; what waits fails with `error`. */
  endAfterQueued(error: HeddleError): void {
    if (this.#state !== 'open') return
    this.#error = error
    this.#state = 'ending'
    const waiting = this.#queue.findIndex((chunk, index) => index >= this.#head && chunk.isWaiting === true)
    if (waiting !== -1) this.#drop(error, waiting)
    this.#start()
  }

  /** Drops what is queued and resets the QUIC stream's half once its last write is over. */
  abandon(error: HeddleError): void {
    if (this.#state === 'resetting' || this.#state === 'ended') return
    this.#error ??= error
    this.#state = 'resetting'
    this.#drop(error, this.#head)
    this.#finish?.reject(error)
    this.#start()
  }

  #push(chunk: Chunk): void {
    this.#queue.push(chunk)
    this.#queuedBytes += chunk.bytes.length
    this.#start()
  }

  #start(): void {
    if (this.#running || this.#state === 'ended') return
    this.#running = true
    queueMicrotask(() => void this.#run())
  }

  async #run(): Promise<void> {
    try {
      while (this.#head < this.#queue.length) {
        const [parts, length] = this.#take()
        const writing = length > 0 ? this.#stream.write(parts, length) : WRITTEN
        // The binding has its own copy now.
        this.#settleTaken()
        await writing
      }
      if (this.#state === 'finishing' || this.#state === 'ending') await this.#stream.finish()
      if (this.#state === 'resetting') await this.#stream.reset()
      if (this.#state === 'open') return
      this.#state = 'ended'
      if (this.#error === undefined) this.#finish?.resolve()
      this.#resolveEnded()
    } catch (cause) {
      this.#fail(cause)
    } finally {
      this.#running = false
    }
  }

  #fail(cause: unknown): void {
    this.#error ??= this.#errorOf(cause)
    this.#state = 'ended'
    this.#drop(this.#error, this.#head)
    this.#finish?.reject(this.#error)
    this.#resolveEnded()
  }

  /** The next bytes, as views; what they belong to stays at the head of the queue until `#settleTaken`. */
  #take(): readonly [parts: Uint8Array[], length: number] {
    const parts: Uint8Array[] = []
    let length = 0
    for (let index = this.#head; index < this.#queue.length && length < WRITE_BYTES_MAX; index++) {
      const chunk = this.#queue[index] as Chunk
      const part = chunk.bytes.subarray(chunk.at, chunk.at + WRITE_BYTES_MAX - length)
      parts.push(part)
      length += part.length
      chunk.at += part.length
    }
    this.#queuedBytes -= length
    return [parts, length]
  }

  #settleTaken(): void {
    for (let chunk = this.#queue[this.#head]; chunk !== undefined; chunk = this.#queue[this.#head]) {
      if (chunk.at < chunk.bytes.length) break
      this.#head += 1
      chunk.write?.sent()
    }
    // Dropping the sent half now and then keeps a long queue linear.
    if (this.#head === this.#queue.length || (this.#head > 64 && this.#head * 2 > this.#queue.length)) {
      this.#queue = this.#queue.slice(this.#head)
      this.#head = 0
    }
  }

  /** An aborted write that has begun must still be completed, from a copy, since its bytes were only lent. */
  #abandonWrite({ head, body }: PendingWrite): void {
    const at = this.#queue.indexOf(head, this.#head)
    if (at !== -1 && head.at === 0 && body !== undefined) {
      this.#queue.splice(at, 2)
      this.#queuedBytes -= head.bytes.length + body.bytes.length
      return
    }
    const bodyAt = body === undefined ? -1 : this.#queue.indexOf(body, this.#head)
    if (body === undefined || bodyAt === -1) return
    this.#queue[bodyAt] = { bytes: new Uint8Array(body.bytes.subarray(body.at)), at: 0 }
  }

  #drop(error: HeddleError, from: number): void {
    for (const chunk of this.#queue.splice(from)) {
      this.#queuedBytes -= chunk.bytes.length - chunk.at
      chunk.write?.failed(error)
    }
  }
}

/** The error of a wait the caller ended. */
export function aborted(what: string, signal: AbortSignal | undefined): HeddleError {
  return new HeddleError('ABORTED', `${what} was aborted by the caller`, { cause: signal?.reason })
}

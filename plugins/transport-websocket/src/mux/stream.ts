/**
 * One stream of a connection: frames out under the credit the peer gives, frames in under the credit this side gives as its
 * reader reads. `MuxConnection` makes it and hands it what arrives; the outbox asks it for what to send.
 */
import { AsyncQueue, type FrameStream, HeddleError } from '@heddle/core'
import { type ByteWriter, malformed } from '../bytes.js'
import { FRAME_COST_BYTES, KIND, PART_BYTES_MAX, PART_BYTES_MIN } from './entries.js'
import type { Outbox, Source } from './outbox.js'

export interface StreamInit {
  readonly id: number
  /** "stream 3 to 127.0.0.1:8080", for messages. */
  readonly name: string
  readonly outbox: Outbox
  /** Bytes the peer may have under way. */
  readonly receiveWindowBytes: number
  /** Bytes this side may have under way at first. */
  readonly sendWindowBytes: number
  /** Largest frame both sides take. */
  readonly sendFrameBytesMax: number
  readonly receiveFrameBytesMax: number
  /** Opened by this side: the first entry says so. */
  readonly opensItself: boolean
  /** Both directions have ended: no entry for this stream is expected any more. */
  readonly onClosed: (stream: MuxStream, wasAnnounced: boolean) => void
  /** Closed, and nothing of it is left to read: it takes no memory any more. */
  readonly onSpent: (stream: MuxStream) => void
}

/** More credit than this is nonsense. */
const CREDIT_MAX = 0x7fff_ffff
const WRITTEN = Promise.resolve()

interface PendingWrite {
  frame: Uint8Array
  /** Bytes already sent. */
  at: number
  readonly sent: () => void
  readonly failed: (error: HeddleError) => void
}

export class MuxStream implements FrameStream, Source {
  readonly id: number
  readonly frames: AsyncQueue<Uint8Array>
  readonly #init: StreamInit

  #sending: 'open' | 'finishing' | 'finished' | 'failed' = 'open'
  #announced: boolean
  #resetDue = false
  #sendCredit: number
  readonly #pending: PendingWrite[] = []
  #finish: Deferred | undefined

  #receiving: 'open' | 'finished' | 'failed' = 'open'
  #receiveCredit: number
  /** Of the frame that is arriving in parts. */
  #parts: Uint8Array[] = []
  #partBytes = 0
  /** Credit given back for those parts already, since a reader waits for them. */
  #partGrantedBytes = 0
  /** Read and not yet told to the peer. */
  #consumedBytes = 0
  #windowDue = false
  #closed = false
  #spent = false
  #error: HeddleError | undefined

  constructor(init: StreamInit) {
    this.id = init.id
    this.#init = init
    this.#announced = !init.opensItself
    this.#sendCredit = init.sendWindowBytes
    this.#receiveCredit = init.receiveWindowBytes
    this.frames = new AsyncQueue<Uint8Array>({
      onTake: (frame) => this.#taken(frame),
      onWait: () => this.#grantParts()
    })
    if (init.opensItself) init.outbox.ready(this)
  }

  write(frame: Uint8Array, signal?: AbortSignal): Promise<void> {
    const refusal = this.#whyNotWritable(frame, signal)
    if (refusal !== undefined) return Promise.reject(refusal)
    if (this.#writeDirectly(frame)) return WRITTEN
    return new Promise((resolve, reject) => {
      const stop = () => signal?.removeEventListener('abort', onAbort)
      const write: PendingWrite = {
        frame,
        at: 0,
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
        stop()
        this.#abandon(write)
        reject(aborted(`writing to ${this.#init.name}`, signal))
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#pending.push(write)
      this.#init.outbox.ready(this)
    })
  }

  finish(): Promise<void> {
    if (this.#finish !== undefined) return this.#finish.promise
    if (this.#sending !== 'open') return Promise.reject(this.#notWritable())
    this.#sending = 'finishing'
    this.#finish = deferred()
    this.#init.outbox.ready(this)
    return this.#finish.promise
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.frames.clear()
    if (!this.#closed) {
      this.#resetDue = true
      this.#init.outbox.ready(this)
    }
    this.end(new HeddleError('TRANSPORT_CLOSED', `${this.#init.name} was disposed of by this side`))
  }

  /** Entries for the peer; see `Source`. */
  pull(batch: ByteWriter): boolean {
    if (this.#resetDue) {
      this.#resetDue = false
      // A stream the peer never heard of needs no end.
      if (this.#announced) batch.varint(this.id).u8(KIND.reset)
      return false
    }
    this.#announce(batch)
    if (this.#windowDue) {
      this.#windowDue = false
      batch.varint(this.id).u8(KIND.window).varint(this.#consumedBytes)
      this.#receiveCredit += this.#consumedBytes
      this.#consumedBytes = 0
    }
    const write = this.#pending[0]
    if (write !== undefined) return this.#sendPart(batch, write)
    if (this.#sending === 'finishing') {
      batch.varint(this.id).u8(KIND.finish)
      this.#sending = 'finished'
      this.#finish?.resolve()
      this.#settle()
    }
    return false
  }

  /** A part of a frame arrived, a view of its message. Throws MALFORMED and FRAME_TOO_LARGE, which end the connection. */
  receivePart(bytes: Uint8Array, isLast: boolean): void {
    if (this.#receiving === 'finished') throw malformed(`a frame on ${this.#init.name} after its end`)
    if (!isLast && bytes.length < PART_BYTES_MIN) throw malformed(`a part of ${bytes.length} bytes`)
    const cost = bytes.length + (isLast ? FRAME_COST_BYTES : 0)
    if (cost > this.#receiveCredit) throw malformed(`more bytes on ${this.#init.name} than its window has room for`)
    const frameBytes = this.#partBytes + bytes.length
    if (frameBytes > this.#init.receiveFrameBytesMax) {
      const limit = this.#init.receiveFrameBytesMax
      throw new HeddleError(
        'FRAME_TOO_LARGE',
        `the peer sent a frame on ${this.#init.name} of more than ${limit} bytes`,
        {
          info: { frameBytesMax: limit }
        }
      )
    }
    this.#receiveCredit -= cost
    // This side gave the stream up and the peer does not know yet.
    if (this.#receiving === 'failed') return
    if (!isLast) {
      this.#parts.push(keep(bytes))
      this.#partBytes = frameBytes
      if (this.frames.waiting) this.#grantParts()
      return
    }
    const frame = this.#parts.length === 0 ? new Uint8Array(bytes) : joined([...this.#parts, bytes], frameBytes)
    this.#parts = []
    this.#partBytes = 0
    this.frames.push(frame)
  }

  receiveFinish(): void {
    if (this.#receiving === 'finished') throw malformed(`a second end of ${this.#init.name}`)
    if (this.#partBytes > 0) throw malformed(`the end of ${this.#init.name} in the middle of a frame`)
    if (this.#receiving === 'failed') return
    this.#receiving = 'finished'
    this.frames.close()
    this.#settle()
  }

  receiveReset(): void {
    // What a finished sender had written stays there to be read.
    if (this.#receiving === 'open') this.frames.clear()
    this.#resetDue = false
    this.end(new HeddleError('TRANSPORT_CLOSED', `${this.#init.name} was reset by the other side`))
  }

  /** Throws MALFORMED. */
  receiveWindow(bytes: number): void {
    this.#sendCredit += bytes
    if (this.#sendCredit > CREDIT_MAX) throw malformed(`a window of ${this.#sendCredit} bytes on ${this.#init.name}`)
    if (this.#pending.length > 0) this.#init.outbox.ready(this)
  }

  /** Both directions end; frames that came are still there to be read. */
  end(error: HeddleError): void {
    this.#error ??= error
    this.#parts = []
    this.#partBytes = 0
    if (this.#sending === 'open' || this.#sending === 'finishing') {
      this.#sending = 'failed'
      for (const write of this.#pending.splice(0)) write.failed(error)
      this.#finish?.reject(error)
    }
    if (this.#receiving === 'open') {
      this.#receiving = 'failed'
      this.frames.close(error)
    }
    this.#settle()
  }

  #announce(batch: ByteWriter): void {
    if (this.#announced) return
    this.#announced = true
    batch.varint(this.id).u8(KIND.open)
  }

  /** The short way of a frame that fits: no queue, no promise of its own. */
  #writeDirectly(frame: Uint8Array): boolean {
    const cost = frame.length + FRAME_COST_BYTES
    if (this.#pending.length > 0 || cost > this.#sendCredit || frame.length > PART_BYTES_MAX) return false
    const batch = this.#init.outbox.direct()
    if (batch === undefined) return false
    this.#announce(batch)
    batch.varint(this.id).u8(KIND.last).varint(frame.length).bytes(frame)
    this.#sendCredit -= cost
    this.#init.outbox.wrote()
    return true
  }

  /** Sends one part of the first waiting frame, if there is credit; true when the next one could go too. */
  #sendPart(batch: ByteWriter, write: PendingWrite): boolean {
    const left = write.frame.length - write.at
    const isLast = left <= PART_BYTES_MAX && left + FRAME_COST_BYTES <= this.#sendCredit
    const length = isLast ? left : Math.min(left - 1, PART_BYTES_MAX, this.#sendCredit)
    if (!isLast && length < PART_BYTES_MIN) return false
    batch
      .varint(this.id)
      .u8(isLast ? KIND.last : KIND.part)
      .varint(length)
      .bytes(write.frame.subarray(write.at, write.at + length))
    write.at += length
    this.#sendCredit -= length + (isLast ? FRAME_COST_BYTES : 0)
    if (isLast) {
      this.#pending.shift()
      write.sent()
    }
    return this.#pending.length > 0 || this.#sending === 'finishing'
  }

  /** An aborted write that has begun must still be completed, from a copy, since its bytes were only lent. */
  #abandon(write: PendingWrite): void {
    if (write.at === 0) {
      this.#pending.splice(this.#pending.indexOf(write), 1)
      return
    }
    write.frame = new Uint8Array(write.frame.subarray(write.at))
    write.at = 0
  }

  #taken(frame: Uint8Array): void {
    this.#give(frame.length + FRAME_COST_BYTES - this.#partGrantedBytes)
    this.#partGrantedBytes = 0
    if (this.#closed && this.frames.size === 0) this.#becomeSpent()
  }

  /** A frame may be larger than the window: while its reader waits for it, its parts do not count. */
  #grantParts(): void {
    const bytes = this.#partBytes - this.#partGrantedBytes
    if (bytes <= 0) return
    this.#partGrantedBytes += bytes
    this.#give(bytes)
  }

  #give(bytes: number): void {
    this.#consumedBytes += bytes
    if (this.#receiving !== 'open' || this.#consumedBytes < this.#init.receiveWindowBytes / 2) return
    this.#windowDue = true
    this.#init.outbox.ready(this)
  }

  #settle(): void {
    if (this.#closed) {
      if (this.frames.size === 0) this.#becomeSpent()
      return
    }
    if (this.#receiving === 'open' || this.#sending === 'open' || this.#sending === 'finishing') return
    this.#closed = true
    this.#init.onClosed(this, this.#announced)
    if (this.frames.size === 0) this.#becomeSpent()
  }

  #becomeSpent(): void {
    if (this.#spent) return
    this.#spent = true
    this.#init.onSpent(this)
  }

  #whyNotWritable(frame: Uint8Array, signal: AbortSignal | undefined): HeddleError | undefined {
    const limit = this.#init.sendFrameBytesMax
    if (frame.length > limit) {
      return new HeddleError(
        'FRAME_TOO_LARGE',
        `a frame of ${frame.length} bytes does not go on ${this.#init.name}: the limit is ${limit} bytes; split it`,
        { info: { frameBytes: frame.length, frameBytesMax: limit } }
      )
    }
    if (signal?.aborted) return aborted(`writing to ${this.#init.name}`, signal)
    return this.#sending === 'open' ? undefined : this.#notWritable()
  }

  #notWritable(): HeddleError {
    return this.#error ?? new HeddleError('TRANSPORT_CLOSED', `${this.#init.name} takes no frame after finish()`)
  }
}

export function aborted(what: string, signal: AbortSignal | undefined): HeddleError {
  return new HeddleError('ABORTED', `${what} was aborted by the caller`, { cause: signal?.reason })
}

/** A part to keep: the view when it is most of its buffer, otherwise a copy that does not hold a larger buffer. */
function keep(bytes: Uint8Array): Uint8Array {
  return bytes.length * 2 > bytes.buffer.byteLength ? bytes : new Uint8Array(bytes)
}

function joined(parts: readonly Uint8Array[], length: number): Uint8Array {
  const whole = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

interface Deferred {
  readonly promise: Promise<void>
  readonly resolve: () => void
  readonly reject: (error: HeddleError) => void
}

function deferred(): Deferred {
  let resolve: () => void = () => {}
  let reject: (error: HeddleError) => void = () => {}
  const promise = new Promise<void>((done, failed) => {
    resolve = done
    reject = failed
  })
  return { promise, resolve, reject }
}

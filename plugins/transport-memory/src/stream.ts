/**
 * One end of a stream: an ordered pipe of frames each way with a bounded number of bytes between writer and reader. Made in
 * pairs by `MemoryConnection.open`.
 */
import { AsyncQueue, type FrameStream, HeddleError } from '@heddle/core'
import type { Wire } from './wire.js'

/** Bytes a stream carries between its writer and its reader before `write` waits. */
export const STREAM_WINDOW_BYTES = 256 * 1024
/** What a frame costs besides its bytes, or a peer could park any number of empty ones. */
const FRAME_COST_BYTES = 64

interface PendingWrite {
  readonly frame: Uint8Array
  readonly sent: () => void
  readonly failed: (error: HeddleError) => void
}

export interface StreamLink {
  /** To the other end; what is posted arrives in order. */
  readonly out: Wire
  readonly frameBytesMax: number
  /** "stream 3 of mem://server-1", for messages. */
  readonly name: string
  /** Called once per frame sent; true breaks the connection instead (simulated fault). */
  readonly fault: () => boolean
  /** The stream needs its connection no more. */
  readonly onDone: () => void
}

export class MemoryStream implements FrameStream {
  /** The other end; the connection sets it before anything is delivered. */
  peer: MemoryStream | undefined
  readonly frames: AsyncQueue<Uint8Array>
  readonly #link: StreamLink
  #underWayBytes = 0
  #pending: PendingWrite[] = []
  #writing: 'open' | 'finishing' | 'finished' | HeddleError = 'open'
  #finish: Deferred | undefined

  constructor(link: StreamLink) {
    this.#link = link
    this.frames = new AsyncQueue<Uint8Array>({ onTake: (frame) => this.#giveCredit(frame) })
  }

  write(frame: Uint8Array, signal?: AbortSignal): Promise<void> {
    if (frame.length > this.#link.frameBytesMax) {
      return Promise.reject(
        new HeddleError(
          'FRAME_TOO_LARGE',
          `a frame of ${frame.length} bytes does not go on ${this.#link.name}: the limit is ${this.#link.frameBytesMax} bytes; split it`,
          { info: { frameBytes: frame.length, frameBytesMax: this.#link.frameBytesMax } }
        )
      )
    }
    if (signal?.aborted) return Promise.reject(aborted(`writing to ${this.#link.name}`, signal))
    if (this.#writing !== 'open') return Promise.reject(this.#notWritable())
    if (this.#pending.length === 0 && this.#underWayBytes < STREAM_WINDOW_BYTES) {
      this.#send(frame)
      return Promise.resolve()
    }
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#pending = this.#pending.filter((other) => other !== write)
        reject(aborted(`writing to ${this.#link.name}`, signal))
      }
      const write: PendingWrite = {
        frame,
        sent: () => {
          signal?.removeEventListener('abort', onAbort)
          resolve()
        },
        failed: (error) => {
          signal?.removeEventListener('abort', onAbort)
          reject(error)
        }
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#pending.push(write)
    })
  }

  finish(): Promise<void> {
    if (this.#finish !== undefined) return this.#finish.promise
    if (this.#writing !== 'open') return Promise.reject(this.#notWritable())
    this.#writing = 'finishing'
    const finish = deferred()
    this.#finish = finish
    this.#pump()
    return finish.promise
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#done()) this.#link.out.post(() => this.peer?.receiveReset())
    this.frames.clear()
    this.end(new HeddleError('TRANSPORT_CLOSED', `${this.#link.name} was disposed of by this side`))
    this.#link.onDone()
  }

  receiveFrame(frame: Uint8Array): void {
    this.frames.push(frame)
  }

  receiveFinish(): void {
    this.frames.close()
    if (this.#done()) this.#link.onDone()
  }

  receiveReset(): void {
    if (!this.frames.closed) this.frames.clear()
    this.end(new HeddleError('TRANSPORT_CLOSED', `${this.#link.name} was reset by the other side`))
    this.#link.onDone()
  }

  receiveCredit(bytes: number): void {
    this.#underWayBytes -= bytes
    this.#pump()
  }

  /** Nothing more goes or comes; frames that came are still there to be read. */
  end(error: HeddleError): void {
    if (this.#writing === 'open' || this.#writing === 'finishing') {
      this.#writing = error
      for (const write of this.#pending.splice(0)) write.failed(error)
      this.#finish?.reject(error)
    }
    this.frames.close(error)
  }

  #done(): boolean {
    return this.frames.closed && this.#writing !== 'open' && this.#writing !== 'finishing'
  }

  #notWritable(): HeddleError {
    return typeof this.#writing === 'string'
      ? new HeddleError('TRANSPORT_CLOSED', `${this.#link.name} takes no frame after finish()`)
      : this.#writing
  }

  #send(frame: Uint8Array): void {
    if (this.#link.fault()) return
    const copy = new Uint8Array(frame)
    this.#underWayBytes += copy.length + FRAME_COST_BYTES
    this.#link.out.post(() => this.peer?.receiveFrame(copy))
  }

  #pump(): void {
    while (this.#underWayBytes < STREAM_WINDOW_BYTES) {
      const write = this.#pending.shift()
      if (write === undefined) break
      this.#send(write.frame)
      write.sent()
    }
    if (this.#writing !== 'finishing' || this.#pending.length > 0) return
    this.#writing = 'finished'
    this.#link.out.post(() => this.peer?.receiveFinish())
    this.#finish?.resolve()
    if (this.#done()) this.#link.onDone()
  }

  #giveCredit(frame: Uint8Array): void {
    this.#link.out.post(() => this.peer?.receiveCredit(frame.length + FRAME_COST_BYTES))
  }
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

/** The error of a wait the caller ended. */
export function aborted(what: string, signal: AbortSignal | undefined): HeddleError {
  return new HeddleError('ABORTED', `${what} was aborted by the caller`, { cause: signal?.reason })
}

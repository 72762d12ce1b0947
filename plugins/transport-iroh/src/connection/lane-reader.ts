/**
 * One direction of a lane, inwards: pulls bytes as long as its sink wants more and cuts them into frames. Not pulling is
 * what holds the peer back, by QUIC's own window for each stream.
 */
import { HeddleError } from '@heddle/core'
import type { QuicStream } from '../native/index.js'
import { FINISH, HEADER_BYTES, malformed, readU32 } from './wire.js'

/** Where a lane's frames go. */
export interface LaneSink {
  readonly frameBytesMax: number
  /** Whether to pull, with this many bytes here of a frame that is not whole; `isLast`: the connection ends. */
  wantsMore(partialBytes: number, isLast: boolean): boolean
  /** A whole frame with a buffer of its own. Throws MALFORMED. */
  frame(bytes: Uint8Array): void
  /** FINISH came. */
  finished(): void
  /** Nothing comes any more. Without FINISH before, the peer reset the lane or the connection is gone. */
  ended(cause: unknown): void
  /** The peer sent what it must not. */
  broke(error: HeddleError): void
  /** Anything came. */
  heard(): void
}

export class LaneReader {
  readonly #stream: QuicStream
  readonly #name: string
  readonly #sink: LaneSink
  #mode: 'reading' | 'draining' | 'discarding' = 'reading'
  #isFinished = false
  #wake: (() => void) | undefined
  /** Of a header, or of a frame, that is not whole yet; longer than what is in it. */
  #partial = new Uint8Array(0)
  #partialBytes = 0
  /** Length of the frame that is arriving, once its header is here. */
  #frameBytes: number | undefined

  /** `first` is what was read of the lane already. */
  constructor(stream: QuicStream, name: string, sink: LaneSink, first: Uint8Array = new Uint8Array(0)) {
    this.#stream = stream
    this.#name = name
    this.#sink = sink
    void this.#run(first)
  }

  /** Asks the sink again whether it wants more. */
  resume(): void {
    if (this.#pulls()) this.#wake?.()
  }

  /** Tells the sink from now on that the connection ends. */
  drain(): void {
    if (this.#mode === 'reading') this.#mode = 'draining'
    this.resume()
  }

  /** Reads on and throws away, so that the peer's half can end. */
  discard(): void {
    this.#mode = 'discarding'
    this.#partial = new Uint8Array(0)
    this.#partialBytes = 0
    this.#wake?.()
  }

  async #run(first: Uint8Array): Promise<void> {
    // The sink is not ready within its own constructor.
    await Promise.resolve()
    let cause: unknown
    try {
      this.#receive(first)
      for (;;) {
        while (!this.#pulls()) await this.#pause()
        const bytes = await this.#stream.read()
        if (bytes === undefined) break
        this.#sink.heard()
        this.#receive(bytes)
      }
    } catch (error) {
      cause = error
    }
    if (HeddleError.is(cause)) this.#sink.broke(cause)
    this.#sink.ended(cause)
  }

  #pulls(): boolean {
    return this.#mode === 'discarding' || this.#sink.wantsMore(this.#partialBytes, this.#mode === 'draining')
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = () => {
        this.#wake = undefined
        resolve()
      }
    })
  }

  /** Throws MALFORMED, FRAME_TOO_LARGE. */
  #receive(bytes: Uint8Array): void {
    let rest = bytes
    while (rest.length > 0 && this.#mode !== 'discarding') {
      if (this.#isFinished) throw malformed(`bytes on ${this.#name} after its end`)
      const unitBytes = this.#frameBytes ?? HEADER_BYTES
      const part = rest.subarray(0, unitBytes - this.#partialBytes)
      rest = rest.subarray(part.length)
      const unit = part.length === unitBytes ? part : this.#collect(part, unitBytes)
      if (unit === undefined) return
      if (this.#frameBytes === undefined) this.#header(readU32(unit, 0))
      else {
        this.#frameBytes = undefined
        this.#sink.frame(unit === part ? new Uint8Array(part) : unit)
      }
    }
  }

  /** Adds a part of a header or frame; gives the whole, with a buffer of its own, once it is there. */
  #collect(part: Uint8Array, unitBytes: number): Uint8Array | undefined {
    const bytes = this.#partialBytes + part.length
    if (bytes > this.#partial.length) {
      // Grown as it comes: a header alone must not make this side take memory.
      const grown = new Uint8Array(Math.min(unitBytes, Math.max(bytes, this.#partial.length * 2)))
      grown.set(this.#partial.subarray(0, this.#partialBytes))
      this.#partial = grown
    }
    this.#partial.set(part, this.#partialBytes)
    this.#partialBytes = bytes
    if (bytes < unitBytes) return undefined
    const whole = this.#partial
    this.#partial = new Uint8Array(0)
    this.#partialBytes = 0
    return whole
  }

  #header(length: number): void {
    if (length === FINISH) {
      this.#isFinished = true
      this.#sink.finished()
      return
    }
    const limit = this.#sink.frameBytesMax
    if (length > limit) {
      throw new HeddleError(
        'FRAME_TOO_LARGE',
        `the peer sent a frame of ${length} bytes on ${this.#name}: the limit is ${limit}`,
        {
          info: { frameBytes: length, frameBytesMax: limit }
        }
      )
    }
    if (length === 0) this.#sink.frame(new Uint8Array(0))
    else this.#frameBytes = length
  }
}

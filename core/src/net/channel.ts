/**
 * One stream of a connection as typed frames: encoding, limits, keep-alive and the one way to end (SPEC NET). The two
 * sides, `dial.ts` for a device and `accept.ts` for a server, are built on it.
 */
import { HeddleError } from '../errors.js'
import type { Connection, Context, FrameStream } from '../plugin/index.js'
import { type Direction, ERRORS, FRAMES, Frame, WireError } from '../wire/index.js'
import { problemOf } from './problem.js'

/** Protocol name that both ends of a connection prove. */
export const alpn = 'heddle/1'
/** Versions this implementation speaks. */
export const protocolVersions: readonly number[] = [1]
export type Body = NonNullable<Frame['body']>
export type BodyCase = Body['$case']
export type BodyOf<C extends BodyCase> = Extract<Body, { readonly $case: C }>

export interface ReceivedFrame {
  /** 0 for news. */
  readonly request: bigint
  readonly body: Body
  /** Length of the whole frame. The byte arrays in `body` may be views of it. */
  readonly bytes: number
}

/** How long a peer is given to read a last Problem and to close before the connection is dropped. */
const farewellMs = 1_000
/** A side that hears nothing for this long takes the connection for dead; the device asks for a sign in between. */
const silenceMsMax = 60_000
const keepAliveMs = 20_000

export class FrameChannel {
  /** The other side's Ed25519 public key, proven by the transport. */
  readonly peer: Uint8Array
  /** Resolves with the reason when the channel ends, for whatever reason. Never rejects. */
  readonly closed: Promise<HeddleError>
  readonly #connection: Connection
  readonly #stream: FrameStream
  readonly #frames: AsyncIterator<Uint8Array>
  readonly #context: Context
  readonly #direction: Direction
  #end: HeddleError | undefined
  #resolveClosed: (reason: HeddleError) => void = () => {}
  #heardAtMs: number
  #keepAlive: Disposable | undefined

  /** `direction` is that of the frames this side takes. */
  constructor(connection: Connection, stream: FrameStream, context: Context, direction: Exclude<Direction, 'both'>) {
    this.peer = connection.peer
    this.#connection = connection
    this.#stream = stream
    this.#frames = stream.frames[Symbol.asyncIterator]()
    this.#context = context
    this.#direction = direction
    this.#heardAtMs = context.clock.now()
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve
    })
    connection.closed.then(({ by, cause }) => {
      const message = by === 'remote' ? 'the peer closed the connection' : 'the connection was lost'
      this.#finish(new HeddleError('TRANSPORT_CLOSED', message, { cause }))
    })
  }

  /** Why it ended, or undefined while it is open. */
  get end(): HeddleError | undefined {
    return this.#end
  }

  /** Sends a frame; resolves when the stream takes more (back-pressure). Throws TRANSPORT_CLOSED, FRAME_TOO_LARGE. */
  async send(request: bigint, body: Body, signal?: AbortSignal): Promise<void> {
    await this.sendEncoded(Frame.encode({ request, body }), signal)
  }

  /** Sends the bytes of an encoded Frame, which several channels may share. */
  async sendEncoded(frame: Uint8Array, signal?: AbortSignal): Promise<void> {
    if (this.#end !== undefined) throw this.#end
    await this.#stream.write(frame, signal)
  }

  /**
   * The next frame, or undefined when the channel has ended. Bytes that do not decode end it with MALFORMED. Not to be
   * called again before it has settled.
   */
  async receive(): Promise<ReceivedFrame | undefined> {
    if (this.#end !== undefined) return undefined
    try {
      const next = await this.#frames.next()
      if (this.#end !== undefined) return undefined
      if (next.done === true) throw new HeddleError('TRANSPORT_CLOSED', 'the peer ended the stream')
      this.#heardAtMs = this.#context.clock.now()
      return this.#decoded(next.value)
    } catch (cause) {
      const reason = HeddleError.is(cause) ? cause : new HeddleError('TRANSPORT_CLOSED', 'reading failed', { cause })
      await this.close(reason)
      return undefined
    }
  }

  /** Watches for silence until the channel ends. With `ping`, this side asks for a sign of life in good time. */
  keepAlive(ping: (() => void) | undefined): void {
    this.#keepAlive = this.#context.clock.setTimer(keepAliveMs, () => {
      if (this.#end !== undefined) return
      const silentMs = this.#context.clock.now() - this.#heardAtMs
      if (silentMs >= silenceMsMax) {
        this.close(new HeddleError('TRANSPORT_CLOSED', `nothing came from the peer for ${silentMs} ms`))
        return
      }
      if (silentMs >= keepAliveMs) ping?.()
      this.keepAlive(ping)
    })
  }

  /**
   * Ends the channel and its connection. The peer is told a reason that has a fatal code, unless it was the peer who said
   * so. Safe to call again; the first reason stays.
   */
  async close(reason: HeddleError): Promise<void> {
    if (this.#end !== undefined) return
    if (ERRORS[reason.code].fatal && reason.info.peer !== true) {
      // Written before the end is marked; a peer that does not read must not hold up the closing.
      const farewell = this.send(0n, { $case: 'problem', value: problemOf(reason) })
        .then(() => this.#stream.finish())
        .then(() => this.#connection.closed)
      this.#finish(reason)
      await this.#within(farewellMs, farewell)
    }
    this.#finish(reason)
    await this.#connection[Symbol.asyncDispose]()
  }

  #decoded(bytes: Uint8Array): ReceivedFrame {
    const { request, body } = decodedFrame(bytes)
    if (body === undefined) throw new HeddleError('UNEXPECTED_FRAME', 'a frame of a type this side does not know')
    const { direction } = FRAMES[body.$case]
    if (direction !== 'both' && direction !== this.#direction)
      throw new HeddleError('UNEXPECTED_FRAME', `this side does not take ${body.$case}`)
    return { request, body, bytes: bytes.length }
  }

  #finish(reason: HeddleError): void {
    if (this.#end !== undefined) return
    this.#end = reason
    this.#keepAlive?.[Symbol.dispose]()
    this.#resolveClosed(reason)
  }

  /** Waits for the task, whose failure does not matter any more, but not longer than this. */
  async #within(timeoutMs: number, task: Promise<unknown>): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = this.#context.clock.setTimer(timeoutMs, resolve)
      const done = () => {
        timer[Symbol.dispose]()
        resolve()
      }
      task.then(done, done)
    })
  }
}

function decodedFrame(bytes: Uint8Array): Frame {
  try {
    return Frame.decode(bytes)
  } catch (cause) {
    if (!(cause instanceof WireError)) throw cause
    throw new HeddleError('MALFORMED', `a frame does not decode: ${cause.message}`, { cause })
  }
}

/** The error an aborted signal stands for. */
export function abortedError(signal: AbortSignal): HeddleError {
  return HeddleError.is(signal.reason)
    ? signal.reason
    : new HeddleError('ABORTED', 'the caller aborted the operation', { cause: signal.reason })
}

/**
 * The server's end of a connection: waits for Hello, answers it, and hands every further frame to the session (SPEC NET).
 * Called by the server for each connection it accepts.
 */
import { HeddleError } from '../errors.js'
import type { Connection, Context, FrameStream } from '../plugin/index.js'
import { ERRORS, LIMITS } from '../wire/index.js'
import { type Body, FrameChannel, protocolVersions, type ReceivedFrame } from './channel.js'
import { problemOf } from './problem.js'

const helloTimeoutMs = 10_000

export interface AcceptOptions {
  readonly context: Context
  /** Name and version of this implementation, for the device's log. */
  readonly agent: string
}

/** A channel to a device that has said Hello. */
export class ServerChannel {
  /** The device's endpoint id. */
  readonly peer: Uint8Array
  readonly closed: Promise<HeddleError>
  readonly #channel: FrameChannel

  constructor(channel: FrameChannel) {
    this.#channel = channel
    this.peer = channel.peer
    this.closed = channel.closed
  }

  get end(): HeddleError | undefined {
    return this.#channel.end
  }

  /** Answers a request, or with 0 sends news. Resolves when the stream takes more. Throws TRANSPORT_CLOSED. */
  async send(request: bigint, body: Body, signal?: AbortSignal): Promise<void> {
    await this.#channel.send(request, body, signal)
  }

  /** Sends an encoded Frame; several channels may share the bytes. */
  async sendEncoded(frame: Uint8Array, signal?: AbortSignal): Promise<void> {
    await this.#channel.sendEncoded(frame, signal)
  }

  /** Answers a request with a Problem; one with a fatal code ends the connection. */
  async refuse(request: bigint, error: HeddleError): Promise<void> {
    await this.#channel.send(request, { $case: 'problem', value: problemOf(error) })
    if (ERRORS[error.code].fatal) await this.close(error)
  }

  /**
   * Reads until the channel ends; Ping is answered here. While the handler's promise is pending no further frame is read,
   * which holds the device back. An error of the handler ends the channel.
   */
  async run(handle: (frame: ReceivedFrame) => void | Promise<void>): Promise<void> {
    this.#channel.keepAlive(undefined)
    for (let frame = await this.#channel.receive(); frame !== undefined; frame = await this.#channel.receive()) {
      const { request, body } = frame
      try {
        if (body.$case === 'ping') await this.#pong(request, body.value.nonce)
        else await handle(frame)
      } catch (cause) {
        const known = HeddleError.is(cause)
        await this.close(known ? cause : new HeddleError('INTERNAL', 'handling a frame failed', { cause }))
      }
    }
  }

  async close(reason: HeddleError): Promise<void> {
    await this.#channel.close(reason)
  }

  async #pong(request: bigint, nonce: bigint): Promise<void> {
    if (request === 0n) throw new HeddleError('UNEXPECTED_FRAME', 'Ping needs a request number')
    await this.#channel.send(request, { $case: 'pong', value: { nonce } })
  }
}

/**
 * Waits for the device's stream and its Hello, and answers. Owns the connection from then on, also when it throws:
 * UNSUPPORTED_VERSION, UNEXPECTED_FRAME, MALFORMED, TRANSPORT_CLOSED.
 */
export async function acceptChannel(connection: Connection, options: AcceptOptions): Promise<ServerChannel> {
  const { clock } = options.context
  const late = clock.setTimer(helloTimeoutMs, () => connection[Symbol.asyncDispose]())
  try {
    const channel = new FrameChannel(connection, await firstStream(connection), options.context, 'device_to_server')
    await answerHello(channel, options)
    return new ServerChannel(channel)
  } catch (error) {
    await connection[Symbol.asyncDispose]()
    throw error
  } finally {
    late[Symbol.dispose]()
  }
}

async function firstStream(connection: Connection): Promise<FrameStream> {
  const streams = connection.incoming[Symbol.asyncIterator]()
  const first = await streams.next()
  if (first.done === true) throw new HeddleError('TRANSPORT_CLOSED', 'the device closed the connection before Hello')
  refuseFurther(streams)
  return first.value
}

/** One stream carries everything; what else a peer opens is reset at once, so that it costs nothing. */
async function refuseFurther(streams: AsyncIterator<FrameStream>): Promise<void> {
  try {
    for (let next = await streams.next(); next.done !== true; next = await streams.next())
      await next.value[Symbol.asyncDispose]()
  } catch {
    // The connection has ended; its channel reports why.
  }
}

async function answerHello(channel: FrameChannel, { agent, context }: AcceptOptions): Promise<void> {
  const frame = await channel.receive()
  if (frame === undefined) throw channel.end ?? new HeddleError('TRANSPORT_CLOSED', 'the device sent no Hello')
  const { request, body } = frame
  const refuse = async (error: HeddleError) => {
    await channel.send(request, { $case: 'problem', value: problemOf(error) })
    await channel.close(error)
    return error
  }
  if (body.$case !== 'hello')
    throw await refuse(new HeddleError('UNEXPECTED_FRAME', 'the first frame of a connection must be Hello'))
  const version = protocolVersions.find((candidate) => body.value.versions.includes(candidate))
  if (version === undefined)
    throw await refuse(
      new HeddleError(
        'UNSUPPORTED_VERSION',
        `this server speaks version ${protocolVersions.join(', ')}; update the device`
      )
    )
  const frameBytesMax = Math.min(LIMITS.Frame.maxSize, context.limits.frameBytesMax)
  await channel.send(request, { $case: 'helloAck', value: { version, features: [], agent, frameBytesMax } })
}

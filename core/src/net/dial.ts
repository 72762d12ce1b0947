/**
 * The device's end of a connection: Hello, requests that resolve to their answers, and news (SPEC NET). Called by the
 * device for each server.
 */
import { HeddleError } from '../errors.js'
import type { Connection, Context } from '../plugin/index.js'
import { ERRORS } from '../wire/index.js'
import { abortedError, type Body, type BodyCase, type BodyOf, FrameChannel, protocolVersions } from './channel.js'
import { errorOf } from './problem.js'

/** Which frames answer a request; a Problem may answer any, and is thrown. */
export interface Answers {
  readonly create: 'done'
  readonly subscribe: 'subscribed'
  readonly unsubscribe: 'done'
  readonly upload: 'receipts'
  readonly fetch: 'fetched'
  readonly prepare: 'promise' | 'nack' | 'decided'
  readonly accept: 'vote' | 'nack' | 'decided'
  readonly decided: 'done'
  readonly catchUp: 'decided'
  readonly mailboxOpen: 'done'
  readonly mailboxPut: 'done'
  readonly mailboxClose: 'done'
  readonly welcomeRequest: 'welcomeReply'
  readonly ping: 'pong'
}
export type RequestCase = keyof Answers

const answers: { readonly [C in RequestCase]: readonly Answers[C][] } = {
  create: ['done'],
  subscribe: ['subscribed'],
  unsubscribe: ['done'],
  upload: ['receipts'],
  fetch: ['fetched'],
  prepare: ['promise', 'nack', 'decided'],
  accept: ['vote', 'nack', 'decided'],
  decided: ['done'],
  catchUp: ['decided'],
  mailboxOpen: ['done'],
  mailboxPut: ['done'],
  mailboxClose: ['done'],
  welcomeRequest: ['welcomeReply'],
  ping: ['pong']
}

/** What a server sends unasked. */
export type NewsCase = 'problem' | 'deliver' | 'heads' | 'vote' | 'decided' | 'mailboxItems' | 'welcomeReply'
export type News = BodyOf<NewsCase>
const newsCases: ReadonlySet<BodyCase> = new Set<NewsCase>([
  'problem',
  'deliver',
  'heads',
  'vote',
  'decided',
  'mailboxItems',
  'welcomeReply'
])

export interface DialOptions {
  readonly context: Context
  /** Name and version of this implementation, for the server's log. */
  readonly agent: string
  /**
   * Called with the server's news, in order. While a returned promise is pending no further frame is read, answers
   * included: it holds the server back, and must not wait for a request on this channel.
   */
  readonly onNews: (news: News) => void | Promise<void>
  readonly signal?: AbortSignal
}

export interface RequestOptions {
  readonly signal?: AbortSignal
  /** Default 15 s. */
  readonly timeoutMs?: number
}

/** A channel to a server that has answered Hello. Disposing it closes the connection. */
export interface DeviceChannel extends AsyncDisposable {
  /** The server's id. */
  readonly peer: Uint8Array
  readonly version: number
  /** Largest frame the server takes, bytes. */
  readonly frameBytesMax: number
  /**
   * Sends a request and resolves to its answer. Requests are sent in the order of the calls. Throws what the server's
   * Problem says, TRANSPORT_UNREACHABLE when no answer came in time (the request may yet be carried out),
   * TRANSPORT_CLOSED, ABORTED (only the waiting is aborted).
   */
  request<C extends RequestCase>(body: BodyOf<C>, options?: RequestOptions): Promise<BodyOf<Answers[C]>>
  /** Resolves with the reason when the channel ends. Never rejects. */
  readonly closed: Promise<HeddleError>
}

const requestTimeoutMs = 15_000

/**
 * Opens the channel on a fresh connection and owns that from then on, also when it throws: UNSUPPORTED_VERSION,
 * TRANSPORT_UNREACHABLE when the server does not answer, TRANSPORT_CLOSED, ABORTED.
 */
export async function openChannel(connection: Connection, options: DialOptions): Promise<DeviceChannel> {
  try {
    const stream = await connection.open(options.signal)
    const channel = new DialedChannel(
      new FrameChannel(connection, stream, options.context, 'server_to_device'),
      options
    )
    await channel.hello(options.agent, options.signal)
    return channel
  } catch (error) {
    await connection[Symbol.asyncDispose]()
    throw error
  }
}

interface PendingRequest {
  readonly expected: readonly BodyCase[]
  readonly resolve: (body: Body) => void
  readonly reject: (error: HeddleError) => void
}

class DialedChannel implements DeviceChannel {
  readonly closed: Promise<HeddleError>
  readonly peer: Uint8Array
  version = 0
  frameBytesMax = 0
  readonly #channel: FrameChannel
  readonly #options: DialOptions
  readonly #pending = new Map<bigint, PendingRequest>()
  #lastRequest = 0n

  constructor(channel: FrameChannel, options: DialOptions) {
    this.#channel = channel
    this.#options = options
    this.peer = channel.peer
    this.closed = channel.closed.then((reason) => {
      this.#rejectAll(reason)
      return reason
    })
    const stop = () => {
      channel.close(abortedError(options.context.signal))
    }
    options.context.signal.addEventListener('abort', stop, { once: true })
    channel.closed.then(() => options.context.signal.removeEventListener('abort', stop))
    this.#read()
  }

  async hello(agent: string, signal: AbortSignal | undefined): Promise<void> {
    const answer = await this.#ask(
      { $case: 'hello', value: { versions: protocolVersions, features: [], agent } },
      ['helloAck'],
      signal === undefined ? {} : { signal }
    )
    if (answer.$case !== 'helloAck' || !protocolVersions.includes(answer.value.version))
      throw new HeddleError('UNSUPPORTED_VERSION', 'the server chose a protocol version that was not offered')
    this.version = answer.value.version
    this.frameBytesMax = answer.value.frameBytesMax
    this.#channel.keepAlive(() => {
      this.request({ $case: 'ping', value: { nonce: 0n } }).catch(() => {
        // Silence is what keepAlive measures; a failed ping says nothing more.
      })
    })
  }

  async request<C extends RequestCase>(body: BodyOf<C>, options: RequestOptions = {}): Promise<BodyOf<Answers[C]>> {
    const frame: Body = body
    const expected: readonly BodyCase[] = answers[frame.$case as C]
    return (await this.#ask(frame, expected, options)) as BodyOf<Answers[C]>
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#channel.close(new HeddleError('TRANSPORT_CLOSED', 'this side closed the connection'))
  }

  #ask(body: Body, expected: readonly BodyCase[], options: RequestOptions): Promise<Body> {
    const { signal, timeoutMs = requestTimeoutMs } = options
    return new Promise<Body>((resolve, reject) => {
      if (signal?.aborted) return reject(abortedError(signal))
      if (this.#channel.end !== undefined) return reject(this.#channel.end)
      const request = ++this.#lastRequest
      const settle = () => {
        this.#pending.delete(request)
        timer[Symbol.dispose]()
        signal?.removeEventListener('abort', onAbort)
      }
      const fail = (error: HeddleError) => {
        settle()
        reject(error)
      }
      const onAbort = () => fail(abortedError(signal as AbortSignal))
      const timer = this.#options.context.clock.setTimer(timeoutMs, () =>
        fail(new HeddleError('TRANSPORT_UNREACHABLE', `the server did not answer ${body.$case} within ${timeoutMs} ms`))
      )
      signal?.addEventListener('abort', onAbort, { once: true })
      const succeed = (answer: Body) => {
        settle()
        resolve(answer)
      }
      this.#pending.set(request, { expected, resolve: succeed, reject: fail })
      this.#channel.send(request, body, signal).catch((cause: unknown) => {
        if (!this.#pending.has(request)) return
        const message = `the request ${body.$case} could not be sent`
        fail(HeddleError.is(cause) ? cause : new HeddleError('TRANSPORT_CLOSED', message, { cause }))
      })
    })
  }

  async #read(): Promise<void> {
    for (let frame = await this.#channel.receive(); frame !== undefined; frame = await this.#channel.receive()) {
      const { request, body } = frame
      try {
        // Before the number is looked at: it is the server's, and says nothing about a request of this side.
        if (body.$case === 'ping') await this.#channel.send(request, { $case: 'pong', value: body.value })
        else if (request === 0n) await this.#news(body)
        else this.#answer(request, body)
      } catch (cause) {
        const known = HeddleError.is(cause)
        await this.#channel.close(known ? cause : new HeddleError('INTERNAL', 'handling news failed', { cause }))
      }
    }
  }

  async #news(body: Body): Promise<void> {
    if (!isNews(body)) throw new HeddleError('UNEXPECTED_FRAME', `a server does not send ${body.$case} unasked`)
    if (body.$case === 'problem') {
      const error = errorOf(body.value)
      // The server closes after it; its word is a better reason than the loss of the connection.
      if (ERRORS[error.code].fatal) return this.#channel.close(error)
    }
    await this.#options.onNews(body)
  }

  #answer(request: bigint, body: Body): void {
    const pending = this.#pending.get(request)
    // Nobody waits any more: the request was aborted or timed out.
    if (pending === undefined) return
    if (body.$case === 'problem') pending.reject(errorOf(body.value))
    else if (pending.expected.includes(body.$case)) pending.resolve(body)
    else throw new HeddleError('UNEXPECTED_FRAME', `${body.$case} does not answer request ${request}`)
  }

  #rejectAll(reason: HeddleError): void {
    for (const { reject } of [...this.#pending.values()]) reject(reason)
  }
}

function isNews(body: Body): body is News {
  return newsCases.has(body.$case)
}

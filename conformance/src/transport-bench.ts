/**
 * What the transport checks stand on: the subject an integrator describes, two ends of it set up and torn down for one
 * check, and assertions whose messages name the rule that was broken. Imports no test runner.
 */
import {
  type Connection,
  type EndpointIdentity,
  type FrameStream,
  HeddleError,
  type HostLimits,
  type Listener,
  type Manifest,
  type Transport
} from '@heddle/core'
import { CheckFailure, hex } from './check.js'

/** A transport to be checked. The suite starts transports with it and disposes of all of them. */
export interface TransportSubject {
  readonly manifest: Manifest<'transport'>
  /** Starts a transport of its own within `limits`. All transports of one subject can reach each other. */
  create(limits: HostLimits): Promise<Transport>
  /** For a transport that only dials or only listens: starts one that can do the other half with it. */
  createCounterpart?(limits: HostLimits): Promise<Transport>
  /** An address to listen on that is not in use: "ws://127.0.0.1:0", or a new name with each call. */
  freeAddress(): string
  /** A well-formed address at which nothing answers. */
  unreachableAddress(): string
  /** A way to `address` that can be broken as a cable breaks: without a goodbye. */
  detour(address: string): Promise<Detour>
}
export interface Detour extends AsyncDisposable {
  readonly address: string
  /** Connections through it are lost. */
  sever(): Promise<void>
}

export interface SuiteOptions {
  /** How long a check waits for what must come before it calls it missing. Not a measure of speed. */
  readonly patienceMs: number
}

export const ALPN = 'heddle/1'
export const MIB = 1024 * 1024
export const DEFAULT_LIMITS: HostLimits = { frameBytesMax: 16 * MIB }

/** RFC 8032 §7.1, TEST 1 to 3. */
export const SERVER_IDENTITY = identity(
  '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
  'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a'
)
export const CLIENT_IDENTITY = identity(
  '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
  '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c'
)
export const OTHER_IDENTITY = identity(
  'c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7',
  'fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025'
)

export interface DialChoice {
  readonly identity?: EndpointIdentity
  readonly expectPeer?: Uint8Array
  readonly alpn?: string
  readonly signal?: AbortSignal
  readonly address?: string
}
export interface ConnectionPair {
  readonly client: Connection
  readonly server: Connection
}
export interface StreamPair {
  readonly client: FrameStream
  readonly server: FrameStream
}

/** A listening and a dialling transport of the subject for the time of one check. */
export class Bench implements AsyncDisposable {
  readonly subject: TransportSubject
  /** The transport under test; it is also one of the two below. */
  readonly own: Transport
  readonly dialling: Transport
  readonly listening: Transport
  readonly #patienceMs: number
  readonly #opened: AsyncDisposable[] = []
  #listener: Listener | undefined
  #accepted: AsyncIterator<Connection> | undefined

  private constructor(subject: TransportSubject, own: Transport, other: Transport, options: SuiteOptions) {
    this.subject = subject
    this.own = own
    this.dialling = subject.manifest.supports.dial ? own : other
    this.listening = subject.manifest.supports.dial ? other : own
    this.#patienceMs = options.patienceMs
  }

  static async open(subject: TransportSubject, options: SuiteOptions, limits: HostLimits): Promise<Bench> {
    const { listen, dial } = subject.manifest.supports
    const own = await subject.create(limits)
    const other = listen && dial ? await subject.create(limits) : await subject.createCounterpart?.(limits)
    if (other === undefined) throw new Error('a subject that only dials or only listens must have createCounterpart()')
    return new Bench(subject, own, other, options)
  }

  /** The check's listener, started by the first call. */
  async listener(): Promise<Listener> {
    this.#listener ??= await this.listen(this.subject.freeAddress())
    return this.#listener
  }

  async address(): Promise<string> {
    const [address] = (await this.listener()).addresses
    if (address === undefined)
      throw new CheckFailure('a listener names addresses a peer can dial', 'at least one', 'none')
    return address
  }

  async listen(address: string): Promise<Listener> {
    if (this.listening.listen === undefined) throw new Error('the subject names no transport that listens')
    const listener = await this.within(
      this.listening.listen({
        identity: SERVER_IDENTITY,
        alpn: ALPN,
        address,
        signal: new AbortController().signal
      }),
      `listen("${address}")`
    )
    this.#opened.push(listener)
    return listener
  }

  async dial(choice: DialChoice = {}): Promise<Connection> {
    const address = choice.address ?? (await this.address())
    const connection = await this.within(
      this.dialling.dial(address, {
        identity: choice.identity ?? CLIENT_IDENTITY,
        alpn: choice.alpn ?? ALPN,
        signal: choice.signal ?? new AbortController().signal,
        ...(choice.expectPeer === undefined ? {} : { expectPeer: choice.expectPeer })
      }),
      `dial("${address}")`
    )
    this.#opened.push(connection)
    return connection
  }

  /** The next connection the listener hands out. */
  async accept(): Promise<Connection> {
    this.#accepted ??= (await this.listener()).connections[Symbol.asyncIterator]()
    const connection = await this.next(this.#accepted, 'the accepted connection')
    this.#opened.push(connection)
    return connection
  }

  async connect(choice: DialChoice = {}): Promise<ConnectionPair> {
    const client = await this.dial(choice)
    return { client, server: await this.accept() }
  }

  /** A stream `from` opens, at both ends. The first frame makes it visible to the other side. */
  async stream(from: Connection, to: Connection): Promise<StreamPair> {
    const client = await this.within(from.open(), 'open()')
    await this.within(client.write(bytesOf('hello')), 'the first write')
    const server = await this.next(to.incoming[Symbol.asyncIterator](), 'the stream on `incoming`')
    equalBytes(await this.frame(server), bytesOf('hello'), 'the first frame of a stream')
    return { client, server }
  }

  async streams(): Promise<StreamPair & { readonly connection: ConnectionPair }> {
    const connection = await this.connect()
    return { ...(await this.stream(connection.client, connection.server)), connection }
  }

  /** The next frame; fails when the stream ends instead. */
  frame(stream: FrameStream): Promise<Uint8Array> {
    return this.next(stream.frames[Symbol.asyncIterator](), 'the next frame')
  }

  /** Every frame up to the end of the stream. */
  async rest(stream: FrameStream): Promise<Uint8Array[]> {
    const frames: Uint8Array[] = []
    for (const iterator = stream.frames[Symbol.asyncIterator](); ; ) {
      const result = await this.within(iterator.next(), 'the next frame or the end of the stream')
      if (result.done === true) return frames
      frames.push(result.value)
    }
  }

  async next<T>(iterator: AsyncIterator<T>, what: string): Promise<T> {
    const result = await this.within(iterator.next(), what)
    if (result.done === true) throw new CheckFailure(what, 'a value', 'the end of the iteration')
    return result.value
  }

  /** Asserts that an iteration ends, and without an error. */
  async ends(iterable: AsyncIterable<unknown>, what: string): Promise<void> {
    const result = await this.within(iterable[Symbol.asyncIterator]().next(), `the end of ${what}`)
    if (result.done !== true) throw new CheckFailure(`the end of ${what}`, 'the end', 'another value')
  }

  /** Asserts that `promise` rejects with a HeddleError of this code. */
  async fails(promise: PromiseLike<unknown>, code: HeddleError['code'], what: string): Promise<void> {
    let got: unknown = 'no error'
    try {
      await this.within(promise, `the failure of ${what}`)
    } catch (error) {
      if (HeddleError.is(error, code)) return
      got = error
    }
    throw new CheckFailure(`${what} fails`, `HeddleError ${code}`, got)
  }

  /** Waits, but not for ever. */
  async within<T>(promise: PromiseLike<T>, what: string): Promise<T> {
    let timer: ReturnType<typeof setTimeout> | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new CheckFailure(what, `within ${this.#patienceMs} ms`, 'nothing')),
        this.#patienceMs
      )
    })
    try {
      return await Promise.race([promise, late])
    } finally {
      clearTimeout(timer)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const item of this.#opened.reverse()) await this.within(item[Symbol.asyncDispose](), 'a disposal')
    await this.within(this.dialling[Symbol.asyncDispose](), 'the disposal of the dialling transport')
    await this.within(this.listening[Symbol.asyncDispose](), 'the disposal of the listening transport')
  }
}

/** A promise that is awaited later: until then its failure is not an unhandled one. */
export function later<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {})
  return promise
}

export function ensure(condition: boolean, rule: string): void {
  if (!condition) throw new CheckFailure(rule, 'it to be so', 'it is not')
}

export function equalBytes(actual: Uint8Array, expected: Uint8Array, what: string): void {
  const same = actual.length === expected.length && actual.every((byte, index) => byte === expected[index])
  if (!same) throw new CheckFailure(what, summary(expected), summary(actual))
}

export function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

/** Bytes that differ with the seed and from place to place, so that a swapped or shifted part shows. */
export function pattern(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length)
  let state = (seed * 2654435761 + 1) >>> 0
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    bytes[i] = state >>> 24
  }
  return bytes
}

function summary(bytes: Uint8Array): string {
  return `${bytes.length} bytes ${hex(bytes.subarray(0, 16))}${bytes.length > 16 ? '…' : ''}`
}

function identity(secretHex: string, publicHex: string): EndpointIdentity {
  return { secretKey: fromHex(secretHex), publicKey: fromHex(publicHex) }
}

function fromHex(hex: string): Uint8Array {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16))
}

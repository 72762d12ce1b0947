/**
 * A connection: frame streams over one QUIC connection between two proven keys. It opens and accepts lanes, keeps both
 * sides' bounds, notices a peer that has gone silent, and says goodbye so that what was written arrives.
 */
import {
  AsyncQueue,
  type Clock,
  type Connection,
  type ConnectionEnd,
  HeddleError,
  KeepAlive,
  type Log
} from '@heddle/core'
import type { Counters } from '../counters.js'
import { isReset, parseClosed, type QuicConnection, type QuicStream } from '../native/index.js'
import type { ControlLane, Hello } from './control.js'
import { aborted } from './lane-writer.js'
import { IrohStream } from './stream.js'
import { CLOSE, type CloseName, type ControlMessage, LANE, malformed, RESET } from './wire.js'

export interface ConnectionInit {
  readonly quic: QuicConnection
  readonly control: ControlLane
  readonly hello: Hello
  readonly side: 'dialling' | 'listening'
  /** The other end, for messages and the log. */
  readonly remoteName: string
  readonly frameBytesMax: number
  readonly streamsMax: number
  readonly clock: Clock
  readonly log: Log
  readonly counters: Counters
  readonly pingIntervalMs: number
  readonly deadAfterMs: number
  /** How long a goodbye may take. */
  readonly closeTimeoutMs: number
}

interface OpenWaiter {
  readonly opened: (stream: IrohStream) => void
  readonly failed: (error: HeddleError) => void
}

/** A number no connection reaches; the peer's count of streams beyond it is nonsense. */
const STREAM_NUMBER_MAX = 0x7fff_ffff
/** What QUIC lets a peer open before it hears of `streamsMax`. */
const QUIC_STREAMS_MAX = 100

export class IrohConnection implements Connection {
  readonly peer: Uint8Array
  readonly incoming = new AsyncQueue<IrohStream>()
  readonly closed: Promise<ConnectionEnd>
  /** Resolves when nothing of it is left; never rejects. */
  readonly gone: Promise<void>
  readonly #init: ConnectionInit
  readonly #keepAlive: KeepAlive
  readonly #own = new Map<number, IrohStream>()
  readonly #theirs = new Map<number, IrohStream>()
  #ownCount = 0
  #theirCount = 0
  /** RESETs that overtook the streams they are about. */
  readonly #earlyResets = new Map<number, number>()
  readonly #openWaiters: OpenWaiter[] = []
  #isOpening = false
  /** Opened for somebody who no longer waits. */
  #spare: QuicStream | undefined
  /** Waits until the peer may have another stream. */
  #slot: (() => void) | undefined
  #error: HeddleError | undefined
  /** How many streams the peer had opened when it said goodbye. */
  #theirLast: number | undefined
  #progressed: () => void = () => {}
  #resolveClosed: (end: ConnectionEnd) => void = () => {}
  #peerSaidBye: () => void = () => {}
  readonly #peerBye: Promise<void>

  constructor(init: ConnectionInit) {
    this.#init = init
    this.peer = init.quic.peer
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve
    })
    this.#peerBye = new Promise((resolve) => {
      this.#peerSaidBye = resolve
    })
    // The dialling side's control lane is one of its streams.
    init.quic.limitStreams(init.streamsMax + (init.side === 'listening' ? 1 : 0))
    this.#keepAlive = new KeepAlive({
      clock: init.clock,
      pingIntervalMs: init.pingIntervalMs,
      deadAfterMs: init.deadAfterMs,
      ping: () => this.#send({ kind: 'ping' }),
      dead: () => this.#silent()
    })
    this.gone = init.quic.closed().then((text) => this.#quicClosed(text))
    init.control.attach({
      message: (message) => this.#receive(message),
      ended: () => {
        // A goodbye, or the connection is lost and `closed` says so; on its own it breaks the protocol.
        if (this.#error === undefined) void this.#within(this.gone).then(() => this.#controlEnded())
      },
      broke: (error) => this.#peerBroke(error),
      heard: () => this.#keepAlive.heard()
    })
    void this.#acceptStreams()
  }

  async open(signal?: AbortSignal): Promise<IrohStream> {
    const what = `opening a stream to ${this.#init.remoteName}`
    if (signal?.aborted) throw aborted(what, signal)
    if (this.#error !== undefined) throw this.#error
    return new Promise((resolve, reject) => {
      const stop = () => signal?.removeEventListener('abort', onAbort)
      const waiter: OpenWaiter = {
        opened: (stream) => {
          stop()
          resolve(stream)
        },
        failed: (error) => {
          stop()
          reject(error)
        }
      }
      const onAbort = () => {
        this.#openWaiters.splice(this.#openWaiters.indexOf(waiter), 1)
        waiter.failed(aborted(what, signal))
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#openWaiters.push(waiter)
      if (!this.#isOpening) void this.#openStreams()
    })
  }

  /** Says goodbye; waits until the peer has what was written and hung up, at most `closeTimeoutMs`. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#error === undefined) {
      this.#end({ by: 'local' })
      await this.#sayGoodbye()
    }
    await this.gone
  }

  /** One at a time, so that streams are counted in the order QUIC has them. */
  async #openStreams(): Promise<void> {
    this.#isOpening = true
    try {
      while (this.#openWaiters.length > 0) {
        const stream = this.#spare ?? (await this.#init.quic.openStream())
        this.#spare = undefined
        const waiter = this.#openWaiters.shift()
        if (waiter === undefined) this.#spare = stream
        else waiter.opened(this.#addStream(stream, ++this.#ownCount, undefined))
      }
    } catch (cause) {
      const message = `the connection to ${this.#init.remoteName} opens no stream any more`
      this.#failOpening(this.#error ?? new HeddleError('TRANSPORT_CLOSED', message, { cause }))
    } finally {
      this.#isOpening = false
    }
  }

  #failOpening(error: HeddleError): void {
    for (const waiter of this.#openWaiters.splice(0)) waiter.failed(error)
  }

  /** Until the connection ends: QUIC hands streams out in the order they were opened. */
  async #acceptStreams(): Promise<void> {
    try {
      for (;;) {
        if (this.#theirs.size >= this.#init.streamsMax) await this.#freeSlot()
        const stream = await this.#init.quic.acceptStream()
        const first = await firstBytes(stream)
        this.#keepAlive.heard()
        this.#theirCount += 1
        const reset = this.#earlyResets.get(this.#theirCount)
        this.#earlyResets.delete(this.#theirCount)
        if (first === undefined) await stream.reset()
        else this.#accept(stream, first, reset)
        this.#progressed()
      }
    } catch (error) {
      // Otherwise the connection is over, and `gone` says why.
      if (HeddleError.is(error)) this.#peerBroke(error)
    }
  }

  /** `reset`: flags of a RESET that came before it. Throws MALFORMED. */
  #accept(quic: QuicStream, first: Uint8Array, reset: number | undefined): void {
    if (first[0] !== LANE.data) throw malformed(`a lane of kind ${first[0]}`)
    const stream = this.#addStream(quic, this.#theirCount, first.subarray(1))
    if (reset !== undefined) stream.receiveReset(reset)
    if (reset !== undefined && (reset & RESET.noMoreWrites) !== 0) return
    const isTaken = this.incoming.push(stream)
    if (this.#error === undefined) return
    if (isTaken) stream.drain(this.#error)
    else stream.close(this.#error)
  }

  #freeSlot(): Promise<void> {
    return new Promise((resolve) => {
      this.#slot = () => {
        this.#slot = undefined
        resolve()
      }
    })
  }

  #addStream(quic: QuicStream, number: number, first: Uint8Array | undefined): IrohStream {
    const { remoteName, frameBytesMax, hello } = this.#init
    const isOwn = first === undefined
    const streams = isOwn ? this.#own : this.#theirs
    const stream = new IrohStream({
      stream: quic,
      number,
      isOwn,
      first,
      name: `stream ${number} ${isOwn ? 'to' : 'from'} ${remoteName}`,
      sendFrameBytesMax: Math.min(frameBytesMax, hello.frameBytesMax),
      receiveFrameBytesMax: frameBytesMax,
      onReset: (reset, flags) =>
        this.#send({ kind: 'reset', flags: flags | (reset.isOwn ? RESET.ownStream : 0), stream: reset.number }),
      onHeard: () => this.#keepAlive.heard(),
      onBroken: (error) => this.#peerBroke(error),
      onSpent: (spent) => {
        streams.delete(spent.number)
        // Nobody has taken it and nothing is left in it: it never was.
        if (!isOwn) this.incoming.remove(spent)
        this.#slot?.()
      }
    })
    streams.set(number, stream)
    if (this.#error !== undefined && isOwn) stream.close(this.#error)
    return stream
  }

  #send(message: ControlMessage): void {
    if (this.#init.control.send(message)) return
    this.#peerBroke(malformed('it does not read its control lane'))
  }

  /** Throws MALFORMED. */
  #receive(message: ControlMessage): void {
    // What was under way when it ended asks for nothing any more, except that a goodbye is still one.
    if (this.#error !== undefined && message.kind !== 'bye') return
    switch (message.kind) {
      case 'ping':
        this.#send({ kind: 'pong' })
        return
      case 'reset':
        this.#receiveReset(message.flags, message.stream)
        return
      case 'bye':
        this.#receiveBye(message.streams)
    }
  }

  #receiveReset(flags: number, number: number): void {
    const isTheirs = (flags & RESET.ownStream) !== 0
    const stream = (isTheirs ? this.#theirs : this.#own).get(number)
    if (stream !== undefined) {
      stream.receiveReset(flags)
      return
    }
    // One that is over already needs no end.
    if (number > 0 && number <= (isTheirs ? this.#theirCount : this.#ownCount)) return
    const earlyMax = this.#theirCount + Math.max(QUIC_STREAMS_MAX, this.#init.streamsMax)
    if (!isTheirs || number === 0 || number > earlyMax)
      throw malformed(`RESET of stream ${number}, which was never opened`)
    this.#earlyResets.set(number, flags | (this.#earlyResets.get(number) ?? 0))
  }

  #receiveBye(streams: number): void {
    if (streams < this.#theirCount || streams > STREAM_NUMBER_MAX) throw malformed(`a goodbye after ${streams} streams`)
    this.#peerSaidBye()
    if (this.#error !== undefined) return
    this.#theirLast = streams
    this.#end({ by: 'remote' })
    void this.#takeLeave()
  }

  /** This side closes: what was written goes out, and the peer hangs up once it has it. */
  async #sayGoodbye(): Promise<void> {
    const { control, quic } = this.#init
    const error = this.#error as HeddleError
    const streams = [...this.#own.values(), ...this.#theirs.values()]
    for (const stream of streams) stream.close(error)
    this.incoming.close()
    this.#send({ kind: 'bye', streams: this.#ownCount })
    const sent = Promise.all([control.finish(), ...streams.map((stream) => stream.written)])
    await this.#within(Promise.race([this.gone, Promise.all([sent, this.#peerBye])]))
    quic.close(CLOSE.normal, 'normal')
  }

  /** The peer closed: what it wrote before is taken in, and then this side hangs up. */
  async #takeLeave(): Promise<void> {
    const error = this.#error as HeddleError
    for (const stream of [...this.#own.values(), ...this.#theirs.values()]) stream.drain(error)
    await this.#within(Promise.race([this.gone, this.#allTaken()]))
    this.#init.quic.close(CLOSE.normal, 'normal')
    this.#forget(error)
  }

  async #allTaken(): Promise<void> {
    while (this.#theirCount < (this.#theirLast ?? 0)) {
      await new Promise<void>((resolve) => {
        this.#progressed = resolve
      })
    }
    this.incoming.close()
    await Promise.all([...this.#own.values(), ...this.#theirs.values()].map((stream) => stream.ended))
  }

  /** The peer sent what it must not: it is told, and the connection ends on this side. */
  #peerBroke(error: unknown): void {
    if (this.#error !== undefined) return
    const cause = error instanceof HeddleError ? error : new HeddleError('INTERNAL', String(error), { cause: error })
    this.#init.counters.protocolErrors += 1
    this.#init.log('warn', 'iroh.protocol-error', {
      remote: this.#init.remoteName,
      code: cause.code,
      message: cause.message
    })
    this.#end({ by: 'local', cause })
    this.#hangUp(cause.code === 'FRAME_TOO_LARGE' ? 'frameTooLarge' : 'malformed')
  }

  #controlEnded(): void {
    this.#peerBroke(malformed('it ended the control lane'))
  }

  #silent(): void {
    const { remoteName, deadAfterMs, log } = this.#init
    const message = `nothing came from ${remoteName} for ${deadAfterMs} ms, not even an answer to a ping`
    log('info', 'iroh.peer-silent', { remote: remoteName })
    this.#end({ by: 'lost', cause: new HeddleError('TRANSPORT_CLOSED', message) })
    this.#hangUp('silent')
  }

  #hangUp(name: CloseName): void {
    this.#init.quic.close(CLOSE[name], name)
    this.#forget(this.#error as HeddleError)
  }

  /** QUIC's own end of the connection. */
  #quicClosed(text: string): void {
    if (this.#error === undefined) {
      const { by, reason } = parseClosed(text)
      this.#end({ by, cause: new HeddleError('TRANSPORT_CLOSED', `iroh says: ${reason}`) })
    }
    this.#forget(this.#error as HeddleError)
  }

  /** QUIC is gone: streams end after what is here of them. */
  #forget(error: HeddleError): void {
    this.incoming.close()
    for (const stream of [...this.#own.values(), ...this.#theirs.values()]) stream.drain(error)
    this.#slot?.()
  }

  /** Ends it for its users; only the first call counts. */
  #end(end: ConnectionEnd): void {
    if (this.#error !== undefined) return
    const how = { local: 'closed by this side', remote: 'closed by the other side', lost: 'lost' }[end.by]
    const why = end.cause instanceof Error ? `: ${end.cause.message}` : ''
    this.#error = new HeddleError('TRANSPORT_CLOSED', `the connection to ${this.#init.remoteName} was ${how}${why}`, {
      cause: end.cause,
      info: { by: end.by }
    })
    this.#keepAlive[Symbol.dispose]()
    this.#failOpening(this.#error)
    this.#resolveClosed(end)
  }

  /** Waits, but not longer than a goodbye may take. */
  async #within(promise: Promise<unknown>): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = this.#init.clock.setTimer(this.#init.closeTimeoutMs, resolve)
      void promise.then(() => {
        timer[Symbol.dispose]()
        resolve()
      })
    })
  }
}

/** The first bytes of a lane; undefined when it was reset before any came. */
async function firstBytes(stream: QuicStream): Promise<Uint8Array | undefined> {
  try {
    return await stream.read()
  } catch (error) {
    if (isReset(error)) return undefined
    throw error
  }
}

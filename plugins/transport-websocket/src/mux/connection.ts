/**
 * A connection: many streams over one authenticated WebSocket. It reads the entries that arrive, keeps both sides' limits,
 * and ends when either side says so, when the peer breaks the protocol, or when it falls silent.
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
import { ByteReader, type ByteWriter, malformed } from '../bytes.js'
import type { Counters } from '../counters.js'
import type { Settings } from '../handshake/index.js'
import { CLOSE, closeError, type Socket, type SocketEnd } from '../socket/index.js'
import { KIND, STREAM_ID_MAX } from './entries.js'
import { Outbox } from './outbox.js'
import { aborted, MuxStream } from './stream.js'

export interface ConnectionInit {
  readonly socket: Socket
  readonly side: 'dialling' | 'listening'
  /** The other side's key, proven; the connection keeps it. */
  readonly peer: Uint8Array
  /** The other end's address, for messages and the log. */
  readonly remoteName: string
  readonly local: Settings
  readonly remote: Settings
  readonly clock: Clock
  readonly log: Log
  readonly counters: Counters
  readonly pingIntervalMs: number
  readonly deadAfterMs: number
  /** How long a goodbye may take. */
  readonly closeTimeoutMs: number
  readonly afterTurn: (callback: () => void) => void
}

export class MuxConnection implements Connection {
  readonly peer: Uint8Array
  readonly incoming = new AsyncQueue<MuxStream>()
  readonly closed: Promise<ConnectionEnd>
  readonly #init: ConnectionInit
  readonly #outbox: Outbox
  readonly #keepAlive: KeepAlive
  readonly #streams = new Map<number, MuxStream>()
  #nextLocalId: number
  /** Ids below it have been opened by the peer. */
  #nextRemoteId: number
  /** Streams this side may still open, and who waits to. */
  #openSlots: number
  readonly #openWaiters: (() => void)[] = []
  /** Streams the peer may still open, and those given back and not yet told. */
  #remoteSlots: number
  #returnedSlots = 0
  #pingDue = false
  #pongDue = false
  #error: HeddleError | undefined
  #resolveClosed: (end: ConnectionEnd) => void = () => {}
  /** The WebSocket itself is gone. */
  #socketClosed: () => void = () => {}
  readonly #socketGone: Promise<void>

  constructor(init: ConnectionInit) {
    this.#init = init
    this.peer = init.peer
    this.#outbox = new Outbox(init.socket, init.afterTurn)
    this.#nextLocalId = init.side === 'dialling' ? 1 : 2
    this.#nextRemoteId = init.side === 'dialling' ? 2 : 1
    this.#openSlots = init.remote.streamsMax
    this.#remoteSlots = init.local.streamsMax
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve
    })
    this.#socketGone = new Promise((resolve) => {
      this.#socketClosed = resolve
    })
    this.#keepAlive = new KeepAlive({
      clock: init.clock,
      pingIntervalMs: init.pingIntervalMs,
      deadAfterMs: init.deadAfterMs,
      ping: () => {
        this.#pingDue = true
        this.#outbox.ready(this)
      },
      dead: () => this.#silent()
    })
    init.socket.attach({
      message: (bytes) => this.#receive(bytes),
      drained: () => this.#outbox.drained(),
      closed: (end) => this.#lost(end)
    })
  }

  async open(signal?: AbortSignal): Promise<MuxStream> {
    const what = `opening a stream to ${this.#init.remoteName}`
    if (signal?.aborted) throw aborted(what, signal)
    while (this.#error === undefined && this.#openSlots === 0) await this.#slot(what, signal)
    if (this.#error !== undefined) throw this.#error
    const id = this.#nextLocalId
    if (id > STREAM_ID_MAX) {
      throw new HeddleError(
        'TRANSPORT_CLOSED',
        `the connection to ${this.#init.remoteName} has used up its streams; dial again`
      )
    }
    this.#nextLocalId += 2
    this.#openSlots -= 1
    return this.#addStream(id, true)
  }

  /** Says goodbye; waits until the WebSocket is gone, at most `closeTimeoutMs`. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#outbox.flush()
    this.#end({ by: 'local' }, CLOSE.normal, 'closed')
    await this.#socketGone
  }

  /** Entries of the connection itself; see `Source`. */
  pull(batch: ByteWriter): boolean {
    if (this.#pingDue) batch.varint(0).u8(KIND.ping)
    if (this.#pongDue) batch.varint(0).u8(KIND.pong)
    if (this.#returnedSlots > 0) batch.varint(0).u8(KIND.streams).varint(this.#returnedSlots)
    this.#remoteSlots += this.#returnedSlots
    this.#returnedSlots = 0
    this.#pingDue = false
    this.#pongDue = false
    return false
  }

  #receive(bytes: Uint8Array): void {
    if (this.#error !== undefined) return
    this.#keepAlive.heard()
    try {
      const reader = new ByteReader(bytes)
      while (reader.left > 0 && this.#error === undefined) this.#receiveEntry(reader)
    } catch (error) {
      this.#peerBroke(error)
    }
  }

  #receiveEntry(reader: ByteReader): void {
    const id = reader.varint()
    const kind = reader.u8()
    if (id === 0) {
      this.#receiveOwnEntry(kind, reader)
      return
    }
    if (kind === KIND.open) {
      this.#accept(id)
      return
    }
    const stream = this.#streams.get(id)
    if (stream === undefined && !this.#isPast(id)) throw malformed(`an entry for stream ${id}, which is not open`)
    // Entries for a stream that has ended here may still be under way; they are read over.
    switch (kind) {
      case KIND.part:
      case KIND.last: {
        const bytes = reader.bytes(reader.varint())
        stream?.receivePart(bytes, kind === KIND.last)
        return
      }
      case KIND.finish:
        stream?.receiveFinish()
        return
      case KIND.reset:
        stream?.receiveReset()
        return
      case KIND.window: {
        const bytes = reader.varint()
        stream?.receiveWindow(bytes)
        return
      }
      default:
        throw malformed(`an entry of kind ${kind} for stream ${id}`)
    }
  }

  #receiveOwnEntry(kind: number, reader: ByteReader): void {
    switch (kind) {
      case KIND.ping:
        this.#pongDue = true
        this.#outbox.ready(this)
        return
      case KIND.pong:
        return
      case KIND.streams: {
        this.#openSlots += reader.varint()
        if (this.#openSlots > STREAM_ID_MAX) throw malformed(`${this.#openSlots} streams granted`)
        for (const waiter of this.#openWaiters.splice(0)) waiter()
        return
      }
      default:
        throw malformed(`an entry of kind ${kind} for the connection`)
    }
  }

  #accept(id: number): void {
    if (id < this.#nextRemoteId || id % 2 !== this.#nextRemoteId % 2 || id > STREAM_ID_MAX) {
      throw malformed(`stream ${id} opened out of turn`)
    }
    if (this.#remoteSlots === 0) throw malformed(`more open streams than the ${this.#init.local.streamsMax} allowed`)
    this.#nextRemoteId = id + 2
    this.#remoteSlots -= 1
    this.incoming.push(this.#addStream(id, false))
  }

  #isPast(id: number): boolean {
    return id < (id % 2 === this.#nextLocalId % 2 ? this.#nextLocalId : this.#nextRemoteId)
  }

  #addStream(id: number, isOwn: boolean): MuxStream {
    const { local, remote, remoteName } = this.#init
    const stream = new MuxStream({
      id,
      name: `stream ${id} to ${remoteName}`,
      outbox: this.#outbox,
      receiveWindowBytes: local.windowBytes,
      sendWindowBytes: remote.windowBytes,
      sendFrameBytesMax: Math.min(local.frameBytesMax, remote.frameBytesMax),
      receiveFrameBytesMax: local.frameBytesMax,
      opensItself: isOwn,
      onClosed: (closed, wasAnnounced) => {
        this.#streams.delete(closed.id)
        if (!wasAnnounced) this.#openSlots += 1
      },
      onSpent: (spent) => {
        if (isOwn || this.#error !== undefined) return
        // Nobody has taken it and nothing is left in it: it never was.
        this.incoming.remove(spent)
        this.#returnedSlots += 1
        this.#outbox.ready(this)
      }
    })
    this.#streams.set(id, stream)
    return stream
  }

  #slot(what: string, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#openWaiters.splice(this.#openWaiters.indexOf(waiter), 1)
        reject(aborted(what, signal))
      }
      const waiter = () => {
        signal?.removeEventListener('abort', onAbort)
        resolve()
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#openWaiters.push(waiter)
    })
  }

  /** The peer sent what it must not: it is told, and the connection ends on this side. */
  #peerBroke(error: unknown): void {
    const cause = error instanceof HeddleError ? error : new HeddleError('INTERNAL', String(error), { cause: error })
    this.#init.counters.protocolErrors += 1
    this.#init.log('warn', 'websocket.protocol-error', {
      remote: this.#init.remoteName,
      code: cause.code,
      message: cause.message
    })
    const code = cause.code === 'FRAME_TOO_LARGE' ? CLOSE.frameTooLarge : CLOSE.malformed
    this.#end({ by: 'local', cause }, code, cause.code)
  }

  #silent(): void {
    const cause = new HeddleError(
      'TRANSPORT_CLOSED',
      `nothing came from ${this.#init.remoteName} for ${this.#init.deadAfterMs} ms, not even an answer to a ping`
    )
    this.#init.log('info', 'websocket.peer-silent', { remote: this.#init.remoteName })
    this.#end({ by: 'lost', cause }, CLOSE.timeout, 'silent')
    this.#init.socket.terminate()
  }

  /** The WebSocket is gone. */
  #lost(end: SocketEnd): void {
    this.#socketClosed()
    if (this.#error !== undefined) return
    if (HeddleError.is(end.cause, 'MALFORMED')) this.#peerBroke(end.cause)
    else if (end.code === CLOSE.lost) this.#end(withCause('lost', end.cause))
    else this.#end(withCause('remote', closeError(end)))
  }

  /** Ends everything on this side; only the first call counts. */
  #end(end: ConnectionEnd, closeCode?: number, reason?: string): void {
    if (this.#error !== undefined) return
    const how = { local: 'closed by this side', remote: 'closed by the other side', lost: 'lost' }[end.by]
    const why = end.cause instanceof Error ? `: ${end.cause.message}` : ''
    const error = new HeddleError('TRANSPORT_CLOSED', `the connection to ${this.#init.remoteName} was ${how}${why}`, {
      cause: end.cause,
      info: { by: end.by }
    })
    this.#error = error
    this.#keepAlive[Symbol.dispose]()
    this.#outbox.close()
    for (const stream of [...this.#streams.values()]) stream.end(error)
    this.#streams.clear()
    this.incoming.close()
    for (const waiter of this.#openWaiters.splice(0)) waiter()
    if (closeCode !== undefined) this.#hangUp(closeCode, reason ?? '')
    this.#resolveClosed(end)
  }

  #hangUp(code: number, reason: string): void {
    this.#init.socket.close(code, reason)
    const timer = this.#init.clock.setTimer(this.#init.closeTimeoutMs, () => this.#init.socket.terminate())
    void this.#socketGone.then(() => timer[Symbol.dispose]())
  }
}

function withCause(by: ConnectionEnd['by'], cause: unknown): ConnectionEnd {
  return cause === undefined ? { by } : { by, cause }
}

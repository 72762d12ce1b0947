/**
 * A client's WebSocket as the relay holds it: writing is bounded and drops, reading is metered and pauses, closing ends in
 * time. It knows nothing of the relay protocol but the size of a frame.
 */
import type { Duplex } from 'node:stream'
import { type Context, HeddleError } from '@heddle/core'
import type { WebSocket } from 'ws'
import type { Counters } from '../counters.js'
import type { Limits } from '../options.js'
import { malformed } from '../protocol/index.js'
import { TokenBucket } from './bucket.js'
import { Outbox, type QueuedTotal } from './outbox.js'

/** Close codes (RFC 6455 §7.4.1). */
export const CLOSE = { goingAway: 1001, protocolError: 1002, refused: 1008, internal: 1011 } as const

/** What each frame costs the relay at least, in bytes of the client's allowance: tiny ones are not cheap. */
const FRAME_COST_BYTES = 512

/** What all links of a relay share. */
export interface LinkHost {
  readonly context: Context
  readonly limits: Limits
  readonly counters: Counters
  readonly queued: QueuedTotal
}

/** Throwing from `message` ends the connection, with a goodbye that says why. */
export interface LinkHandlers {
  /** A whole binary message; the handler owns it. */
  message(frame: Buffer): void
  /** The client is made to wait for the first time. */
  throttled(): void
}

export class Link {
  /** The network address of the client. */
  readonly remote: string
  /** Resolves once, when nothing more comes or goes. */
  readonly closed: Promise<void>
  readonly #ws: WebSocket
  readonly #host: LinkHost
  readonly #outbox: Outbox
  readonly #bucket: TokenBucket
  #handlers: LinkHandlers | undefined
  #resuming: Disposable | undefined
  #wasThrottled = false
  #isClosing = false

  /** `socket` is the one below `ws`. */
  constructor(ws: WebSocket, socket: Duplex, remote: string, host: LinkHost) {
    const { context, limits, queued } = host
    const now = () => context.clock.now()
    this.remote = remote
    this.#ws = ws
    this.#host = host
    this.#outbox = new Outbox(ws, socket, limits, queued, now)
    this.#bucket = new TokenBucket(limits.bytesPerSecond, limits.burstBytes, now())
    this.closed = new Promise((resolve) => ws.once('close', () => resolve(this.#ended())))
    // Counting what the socket reads, and not messages, covers fragments and control frames.
    socket.on('data', (bytes: Uint8Array) => this.#charge(bytes.length))
    ws.on('message', (data, isBinary) => this.#message(data, isBinary))
    ws.on('ping', (payload) => {
      this.#charge(FRAME_COST_BYTES)
      if (this.#outbox.hasRoomForControl && ws.readyState === ws.OPEN) ws.pong(payload)
    })
    ws.on('pong', () => this.#charge(FRAME_COST_BYTES))
    ws.on('error', (error) => this.#failed(error))
  }

  attach(handlers: LinkHandlers): void {
    this.#handlers = handlers
  }

  /** Drops the frame when there is no room for it. It must not be changed any more. */
  send(frame: Uint8Array): boolean {
    if (this.#isClosing || this.#ws.readyState !== this.#ws.OPEN) return false
    if (this.#outbox.push(frame)) return true
    this.#host.counters.framesDropped += 1
    const { clock } = this.#host.context
    if (clock.now() - this.#outbox.movedAtMs > this.#host.limits.stallTimeoutMs) this.lost('its queue does not move')
    return false
  }

  /** Says goodbye; what is queued still goes before it. Resolves when it is over, at the latest after closeTimeoutMs. */
  async close(code: number, reason: string): Promise<void> {
    if (!this.#isClosing) {
      this.#isClosing = true
      // Paused, it would not read the client's goodbye.
      this.#resume()
      this.#ws.close(code, reason.replaceAll(/[^ -~]/g, '?').slice(0, 120))
      const timer = this.#host.context.clock.setTimer(this.#host.limits.closeTimeoutMs, () => this.#ws.terminate())
      void this.closed.then(() => timer[Symbol.dispose]())
    }
    await this.closed
  }

  /** Gives the client up: it is not there any more, or as good as. */
  lost(why: string): void {
    if (this.#isClosing) return
    this.#isClosing = true
    this.#host.counters.clientsLost += 1
    this.#host.context.log('info', 'iroh-relay.client-lost', { remote: this.remote, why })
    this.#ws.terminate()
  }

  /** Ends the connection over what the client did. */
  refuse(error: HeddleError): void {
    if (this.#isClosing) return
    this.#host.context.log('warn', 'iroh-relay.client-refused', {
      remote: this.remote,
      code: error.code,
      message: error.message
    })
    void this.close(error.code === 'MALFORMED' ? CLOSE.protocolError : CLOSE.refused, error.message)
  }

  #message(data: unknown, isBinary: boolean): void {
    if (this.#isClosing) return
    try {
      // `binaryType` is left at "nodebuffer": data is one Buffer.
      if (!isBinary || !Buffer.isBuffer(data)) throw malformed('a text message')
      if (data.length < FRAME_COST_BYTES) this.#charge(FRAME_COST_BYTES - data.length)
      this.#handlers?.message(data)
    } catch (error) {
      this.#misbehaved(error)
    }
  }

  #misbehaved(error: unknown): void {
    if (HeddleError.is(error)) {
      if (error.code === 'MALFORMED') this.#host.counters.protocolErrors += 1
      this.refuse(error)
    } else {
      this.#host.context.log('error', 'iroh-relay.internal', { remote: this.remote, error })
      void this.close(CLOSE.internal, 'the relay failed')
    }
  }

  #charge(bytes: number): void {
    const nowMs = this.#host.context.clock.now()
    this.#bucket.take(bytes, nowMs)
    if (this.#resuming !== undefined) return
    const waitMs = this.#bucket.waitMs(nowMs)
    if (waitMs === 0) return
    this.#host.counters.clientsThrottled += 1
    this.#ws.pause()
    this.#resumeIn(waitMs)
    if (this.#wasThrottled) return
    this.#wasThrottled = true
    this.#handlers?.throttled()
  }

  #resumeIn(waitMs: number): void {
    const { clock } = this.#host.context
    this.#resuming = clock.setTimer(waitMs, () => {
      // What had been read already was charged meanwhile.
      const restMs = this.#bucket.waitMs(clock.now())
      if (restMs > 0) this.#resumeIn(restMs)
      else this.#resume()
    })
  }

  #resume(): void {
    if (this.#resuming === undefined) return
    this.#resuming[Symbol.dispose]()
    this.#resuming = undefined
    this.#ws.resume()
  }

  /** `ws` names what it refuses of a peer's bytes WS_ERR_…, and says goodbye itself. */
  #failed(error: Error): void {
    const isProtocolError = 'code' in error && typeof error.code === 'string' && error.code.startsWith('WS_ERR_')
    if (isProtocolError) this.#host.counters.protocolErrors += 1
    this.#host.context.log(isProtocolError ? 'warn' : 'debug', 'iroh-relay.socket-error', {
      remote: this.remote,
      message: error.message
    })
    if (isProtocolError) void this.close(CLOSE.protocolError, '')
  }

  #ended(): void {
    this.#isClosing = true
    this.#resuming?.[Symbol.dispose]()
    this.#resuming = undefined
    this.#outbox.discard()
  }
}

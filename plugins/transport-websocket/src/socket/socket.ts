/**
 * What the handshake and the multiplexer see of a WebSocket, the same for Node's `ws` and a browser's own. Messages that
 * come while nobody is attached wait, so that nothing is lost between the handshake and the connection it makes.
 */
import { HeddleError } from '@heddle/core'

export interface Socket {
  /** Who gets what comes; undefined lets it wait. What waited is delivered within the call. */
  attach(handlers: SocketHandlers | undefined): void
  /** Sends one binary message; the bytes are given away. False when the socket is full: `drained` is called later. */
  send(bytes: Uint8Array<ArrayBuffer>): boolean
  /** Says goodbye with a code of `CLOSE`; what was sent before still goes out. */
  close(code: number, reason: string): void
  /** Drops the connection at once. */
  terminate(): void
}

export interface SocketHandlers {
  /** One binary message; the receiver owns it. */
  readonly message: (bytes: Uint8Array) => void
  readonly drained: () => void
  /** Called once; nothing comes after it. */
  readonly closed: (end: SocketEnd) => void
}

export interface SocketEnd {
  /** The close code of RFC 6455 §7.4; 1006 when there was no goodbye. */
  readonly code: number
  readonly reason: string
  /** What this side found wrong with what the peer sent, or the network's error. */
  readonly cause?: unknown
}

/** Close codes. Browsers allow 1000 and 4000 to 4999 only. */
export const CLOSE = {
  normal: 1000,
  lost: 1006,
  goingAway: 4001,
  malformed: 4400,
  unauthenticated: 4401,
  timeout: 4408,
  frameTooLarge: 4413,
  busy: 4503
} as const

/** Most bytes of one WebSocket message; the multiplexer stays below it. */
export const MESSAGE_BYTES_MAX = 256 * 1024
/** A socket is full above this much unsent, and has drained below half of it. */
export const UNSENT_BYTES_HIGH = 256 * 1024
/** Most bytes that may wait for someone to be attached. */
const WAITING_BYTES_MAX = 4 * 1024 * 1024

/** Keeps messages for handlers that are not there yet. Each socket has one. */
export class Inbox {
  readonly #overflow: () => void
  #handlers: SocketHandlers | undefined
  #waiting: Uint8Array[] = []
  #waitingBytes = 0
  #end: SocketEnd | undefined

  /** `overflow` is called when more waits than may. */
  constructor(overflow: () => void) {
    this.#overflow = overflow
  }

  get ended(): boolean {
    return this.#end !== undefined
  }

  attach(handlers: SocketHandlers | undefined): void {
    this.#handlers = handlers
    while (this.#handlers !== undefined && this.#waiting.length > 0) {
      const bytes = this.#waiting.shift() ?? new Uint8Array(0)
      this.#waitingBytes -= bytes.length
      this.#handlers.message(bytes)
    }
    if (this.#end !== undefined && this.#waiting.length === 0) this.#handlers?.closed(this.#end)
  }

  message(bytes: Uint8Array): void {
    if (this.#end !== undefined) return
    if (this.#handlers !== undefined) {
      this.#handlers.message(bytes)
      return
    }
    this.#waitingBytes += bytes.length
    if (this.#waitingBytes > WAITING_BYTES_MAX) {
      this.#overflow()
      return
    }
    this.#waiting.push(bytes)
  }

  drained(): void {
    this.#handlers?.drained()
  }

  end(end: SocketEnd): void {
    if (this.#end !== undefined) return
    this.#end = end
    if (this.#waiting.length === 0) this.#handlers?.closed(end)
  }
}

/** The next message. Throws what `ended` makes of the end when the socket closes first, or the signal's reason. */
export function receive(socket: Socket, signal: AbortSignal, ended: (end: SocketEnd) => Error): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      signal.removeEventListener('abort', onAbort)
      socket.attach(undefined)
    }
    const onAbort = () => {
      stop()
      reject(signal.reason)
    }
    if (signal.aborted) {
      reject(signal.reason)
      return
    }
    signal.addEventListener('abort', onAbort, { once: true })
    socket.attach({
      message: (bytes) => {
        stop()
        resolve(bytes)
      },
      drained: () => {},
      closed: (end) => {
        stop()
        reject(ended(end))
      }
    })
  })
}

/** An error as a goodbye can carry it: at most 123 bytes of text (RFC 6455 §5.5). */
export function closeReason(error: unknown): string {
  const message = error instanceof HeddleError ? error.message : 'an internal failure'
  return message.replaceAll(/[^ -~]/g, '?').slice(0, 120)
}

/** What a close code of the peer says, as an error; undefined for an ordinary goodbye. */
export function closeError(end: SocketEnd): HeddleError | undefined {
  const said = end.reason === '' ? `close code ${end.code}` : `"${end.reason}"`
  const info = { closeCode: end.code }
  switch (end.code) {
    case CLOSE.normal:
    case 1001:
    case 1005:
      return undefined
    case CLOSE.goingAway:
      return new HeddleError('GOING_AWAY', `the peer is shutting down: ${said}`, { info })
    case CLOSE.malformed:
      return new HeddleError('MALFORMED', `the peer found this side's bytes malformed: ${said}`, { info })
    case CLOSE.unauthenticated:
      return new HeddleError('UNAUTHENTICATED', `the peer refused this side's proof: ${said}`, { info })
    case CLOSE.frameTooLarge:
    case 1009:
      return new HeddleError('FRAME_TOO_LARGE', `the peer refused a frame as too large: ${said}`, { info })
    case CLOSE.busy:
      return new HeddleError('OVERLOADED', `the peer has no room for the connection: ${said}`, { info })
    default:
      return new HeddleError('TRANSPORT_CLOSED', `the peer closed the WebSocket with ${said}`, {
        info,
        cause: end.cause
      })
  }
}

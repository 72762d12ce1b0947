/**
 * A browser's side of `Socket`, on its own WebSocket. A browser says nothing about why a connection failed and does not
 * tell when its send buffer drains, so that is polled.
 */
import type { Clock } from '@heddle/core'
import { malformed } from '../bytes.js'
import { CLOSE, Inbox, MESSAGE_BYTES_MAX, type Socket, type SocketHandlers, UNSENT_BYTES_HIGH } from './socket.js'

/** The part of the standard WebSocket that is used. */
export interface WebSocketLike {
  binaryType: string
  readonly bufferedAmount: number
  readonly readyState: number
  send(bytes: Uint8Array<ArrayBuffer>): void
  close(code?: number, reason?: string): void
  addEventListener(type: 'open' | 'error', listener: () => void): void
  addEventListener(type: 'message', listener: (event: { readonly data: unknown }) => void): void
  addEventListener(type: 'close', listener: (event: { readonly code: number; readonly reason: string }) => void): void
}
export type WebSocketConstructor = new (url: string, protocols: string[]) => WebSocketLike

const OPEN = 1
const DRAIN_POLL_MS = 4

/** Connects; rejects with an Error that says why, and leaves no socket behind when `signal` aborts. */
export function connectWeb(
  WebSocket: WebSocketConstructor,
  clock: Clock,
  url: string,
  protocol: string,
  signal: AbortSignal
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const ws = new WebSocket(url, [protocol])
    const socket = new WebSocketSocket(ws, clock)
    const stop = (error: unknown) => {
      signal.removeEventListener('abort', onAbort)
      reject(error)
      ws.close()
    }
    const onAbort = () => stop(signal.reason)
    ws.addEventListener('open', () => {
      signal.removeEventListener('abort', onAbort)
      if (!signal.aborted) resolve(socket)
    })
    ws.addEventListener('error', () => stop(new Error('the browser could not connect (its console may say why)')))
    ws.addEventListener('close', ({ code }) => stop(new Error(`the WebSocket closed while connecting, code ${code}`)))
    signal.addEventListener('abort', onAbort, { once: true })
    if (signal.aborted) onAbort()
  })
}

class WebSocketSocket implements Socket {
  readonly #ws: WebSocketLike
  readonly #clock: Clock
  readonly #inbox: Inbox
  #poll: Disposable | undefined

  constructor(ws: WebSocketLike, clock: Clock) {
    this.#ws = ws
    this.#clock = clock
    this.#inbox = new Inbox(() => this.terminate())
    ws.binaryType = 'arraybuffer'
    ws.addEventListener('message', ({ data }) => {
      // A browser itself takes messages of any size.
      if (data instanceof ArrayBuffer && data.byteLength <= MESSAGE_BYTES_MAX) {
        this.#inbox.message(new Uint8Array(data))
        return
      }
      const what = data instanceof ArrayBuffer ? `a message of ${data.byteLength} bytes` : 'a text message'
      this.close(CLOSE.malformed, `${what} is not part of this protocol`)
      this.#inbox.end({ code: CLOSE.malformed, reason: '', cause: malformed(what) })
    })
    ws.addEventListener('close', ({ code, reason }) => this.#ended(code, reason))
  }

  attach(handlers: SocketHandlers | undefined): void {
    this.#inbox.attach(handlers)
  }

  send(bytes: Uint8Array<ArrayBuffer>): boolean {
    if (this.#ws.readyState !== OPEN) return true
    this.#ws.send(bytes)
    if (this.#ws.bufferedAmount < UNSENT_BYTES_HIGH) return true
    this.#pollDrain()
    return false
  }

  close(code: number, reason: string): void {
    this.#ws.close(code, reason)
  }

  /** A browser cannot drop a connection; it closes, and whoever is attached hears of the end at once. */
  terminate(): void {
    this.#ws.close()
    this.#ended(CLOSE.lost, '')
  }

  #pollDrain(): void {
    this.#poll ??= this.#clock.setTimer(DRAIN_POLL_MS, () => {
      this.#poll = undefined
      if (this.#inbox.ended) return
      if (this.#ws.bufferedAmount > UNSENT_BYTES_HIGH / 2) this.#pollDrain()
      else this.#inbox.drained()
    })
  }

  #ended(code: number, reason: string): void {
    this.#poll?.[Symbol.dispose]()
    this.#inbox.end({ code, reason })
  }
}

/** Node's side of `Socket`, on `ws`: connecting, and wrapping what a server accepted. */
import type { WebSocket } from 'ws'
import { WebSocket as NodeWebSocket } from 'ws'
import { malformed } from '../bytes.js'
import { CLOSE, Inbox, MESSAGE_BYTES_MAX, type Socket, type SocketHandlers, UNSENT_BYTES_HIGH } from './socket.js'

/** Connects; rejects with an Error that says why, and leaves no socket behind when `signal` aborts. */
export function connectNode(url: string, protocol: string, signal: AbortSignal, ca?: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const ws = new NodeWebSocket(url, [protocol], {
      perMessageDeflate: false,
      maxPayload: MESSAGE_BYTES_MAX,
      followRedirects: false,
      ...(ca === undefined ? {} : { ca })
    })
    // The socket wrapper listens from the start: a message may come with the answer to the upgrade.
    const socket = new NodeSocket(ws)
    const stop = (error: unknown) => {
      signal.removeEventListener('abort', onAbort)
      reject(error)
      ws.terminate()
    }
    const onAbort = () => stop(signal.reason)
    ws.once('open', () => {
      signal.removeEventListener('abort', onAbort)
      resolve(socket)
    })
    ws.once('error', (error) => stop(new Error(whyFailed(error), { cause: error })))
    ws.once('unexpected-response', (request, response) => {
      request.destroy()
      stop(new Error(`the server there answers HTTP ${response.statusCode} ${response.statusMessage ?? ''}`.trim()))
    })
    signal.addEventListener('abort', onAbort, { once: true })
    if (signal.aborted) onAbort()
  })
}

export class NodeSocket implements Socket {
  readonly #ws: WebSocket
  readonly #inbox: Inbox
  #full = false

  constructor(ws: WebSocket) {
    this.#ws = ws
    this.#inbox = new Inbox(() => this.terminate())
    let cause: unknown
    ws.on('message', (data, isBinary) => {
      // `binaryType` is left at "nodebuffer": data is one Buffer.
      if (isBinary && data instanceof Uint8Array) {
        this.#inbox.message(data)
      } else {
        cause ??= malformed('a text message')
        this.close(CLOSE.malformed, 'a text message is not part of this protocol')
        this.#inbox.end({ code: CLOSE.malformed, reason: '', cause })
      }
    })
    ws.on('error', (error) => {
      cause ??= isProtocolError(error) ? malformed(error.message) : error
    })
    ws.on('close', (code, reason) => {
      this.#inbox.end({ code, reason: reason.toString('utf8'), cause })
    })
  }

  attach(handlers: SocketHandlers | undefined): void {
    this.#inbox.attach(handlers)
  }

  send(bytes: Uint8Array<ArrayBuffer>): boolean {
    if (this.#ws.readyState !== NodeWebSocket.OPEN) return true
    this.#ws.send(bytes, this.#onSent)
    this.#full ||= this.#ws.bufferedAmount >= UNSENT_BYTES_HIGH
    return !this.#full
  }

  close(code: number, reason: string): void {
    this.#ws.close(code, reason)
  }

  terminate(): void {
    this.#ws.terminate()
  }

  readonly #onSent = (error?: Error): void => {
    // The close event follows and tells who is attached.
    if (error != null || !this.#full || this.#ws.bufferedAmount > UNSENT_BYTES_HIGH / 2) return
    this.#full = false
    this.#inbox.drained()
  }
}

/** `ws` names what it refuses of a peer's bytes WS_ERR_…. */
function isProtocolError(error: Error): boolean {
  return 'code' in error && typeof error.code === 'string' && error.code.startsWith('WS_ERR_')
}

/** Node reports several tried addresses as an AggregateError with an empty message. */
function whyFailed(error: Error): string {
  if (error instanceof AggregateError && error.message === '') {
    return error.errors.map((one: unknown) => (one instanceof Error ? one.message : String(one))).join('; ')
  }
  return error.message
}

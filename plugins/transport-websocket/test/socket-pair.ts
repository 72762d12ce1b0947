/** Two `Socket`s joined in memory, so that tests of the handshake and the multiplexer can see and change every message. */
import { Inbox, type Socket, type SocketHandlers } from '../src/socket/socket.js'

/** Looks at each message on its way; what it returns is delivered, nothing when it returns undefined. */
export type Tap = (bytes: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer> | undefined

export class PairedSocket implements Socket {
  readonly inbox = new Inbox(() => this.terminate())
  readonly #tap: Tap
  other: PairedSocket | undefined
  /** Messages sent on it. */
  sent = 0
  /** While true, `send` reports a full socket. */
  isFull = false
  closedWith: { readonly code: number; readonly reason: string } | undefined

  constructor(tap: Tap) {
    this.#tap = tap
  }

  attach(handlers: SocketHandlers | undefined): void {
    this.inbox.attach(handlers)
  }

  send(bytes: Uint8Array<ArrayBuffer>): boolean {
    this.sent += 1
    const delivered = this.#tap(bytes)
    if (delivered !== undefined) queueMicrotask(() => this.other?.inbox.message(delivered))
    return !this.isFull
  }

  drain(): void {
    this.isFull = false
    this.inbox.drained()
  }

  close(code: number, reason: string): void {
    this.closedWith ??= { code, reason }
    queueMicrotask(() => {
      this.other?.inbox.end({ code, reason })
      this.inbox.end({ code, reason })
    })
  }

  terminate(): void {
    queueMicrotask(() => {
      this.other?.inbox.end({ code: 1006, reason: '' })
      this.inbox.end({ code: 1006, reason: '' })
    })
  }
}

export interface SocketPair {
  readonly client: PairedSocket
  readonly server: PairedSocket
}

/** `toServer` and `toClient` see the messages of that direction. */
export function socketPair(toServer: Tap = (bytes) => bytes, toClient: Tap = (bytes) => bytes): SocketPair {
  const client = new PairedSocket(toServer)
  const server = new PairedSocket(toClient)
  client.other = server
  server.other = client
  return { client, server }
}

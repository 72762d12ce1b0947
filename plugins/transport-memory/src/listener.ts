/** What `listen` hands out: the accepting end of an address of the network. */
import { AsyncQueue, type Listener } from '@heddle/core'
import type { MemoryConnection } from './connection.js'

export interface ListenRequest {
  readonly host: string
  readonly address: string
  readonly alpn: string
  readonly publicKey: Uint8Array
  readonly frameBytesMax: number
  /** Every accepted connection, before it is handed out. */
  readonly onAccept: (connection: MemoryConnection) => void
  readonly onClose: () => void
}

export class MemoryListener implements Listener {
  readonly addresses: readonly string[]
  readonly connections = new AsyncQueue<MemoryConnection>()
  readonly host: string
  readonly alpn: string
  readonly publicKey: Uint8Array
  readonly frameBytesMax: number
  readonly #onAccept: (connection: MemoryConnection) => void
  readonly #onClose: () => void

  constructor(request: ListenRequest) {
    this.addresses = [request.address]
    this.host = request.host
    this.alpn = request.alpn
    this.publicKey = new Uint8Array(request.publicKey)
    this.frameBytesMax = request.frameBytesMax
    this.#onAccept = request.onAccept
    this.#onClose = request.onClose
  }

  accept(connection: MemoryConnection): void {
    this.#onAccept(connection)
    this.connections.push(connection)
  }

  /** Accepted connections live on; those nobody has taken yet are closed. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#onClose()
    const waiting = this.connections.clear()
    this.connections.close()
    for (const connection of waiting) await connection[Symbol.asyncDispose]()
  }
}

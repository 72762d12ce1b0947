/**
 * A cable that a test can cut, between the transport and iroh. A proxy in front of the UDP port would not do: iroh tells
 * both ends of each other's addresses and goes around it within milliseconds. Everything up to the cut is the real thing;
 * from then on calls wait, as they do when no packet comes, until the connection is closed on this side.
 */
import type { Iroh, QuicConnection, QuicStream } from '../src/native/index.js'

export interface Cable {
  /** iroh with the cable in all its connections. */
  readonly iroh: Iroh
  cut(): void
}

export function cableIn(iroh: Iroh): Cable {
  const connections = new Set<CutConnection>()
  const wired = (connection: QuicConnection) => {
    const cuttable = new CutConnection(connection)
    connections.add(cuttable)
    return cuttable
  }
  return {
    cut() {
      for (const connection of connections) connection.cut()
    },
    iroh: {
      publicKey: (secretKey) => iroh.publicKey(secretKey),
      async bind(options) {
        const endpoint = await iroh.bind(options)
        return {
          get sockets() {
            return endpoint.sockets
          },
          relay: () => endpoint.relay(),
          online: () => endpoint.online(),
          setAlpns: (alpns) => endpoint.setAlpns(alpns),
          close: () => endpoint.close(),
          connect: async (target, alpn) => wired(await endpoint.connect(target, alpn)),
          async accept() {
            const incoming = await endpoint.accept()
            return incoming && { ...incoming, accept: async () => wired(await incoming.accept()) }
          }
        }
      }
    }
  }
}

class CutConnection implements QuicConnection {
  readonly peer: Uint8Array
  readonly #connection: QuicConnection
  #isCut = false
  readonly #closedHere: Promise<void>
  #closeHere: () => void = () => {}

  constructor(connection: QuicConnection) {
    this.#connection = connection
    this.peer = connection.peer
    this.#closedHere = new Promise((resolve) => {
      this.#closeHere = resolve
    })
  }

  cut(): void {
    this.#isCut = true
  }

  limitStreams(count: number): void {
    this.#connection.limitStreams(count)
  }

  async openStream(): Promise<QuicStream> {
    return this.#stream(await this.#through(() => this.#connection.openStream()))
  }

  async acceptStream(): Promise<QuicStream> {
    return this.#stream(await this.#through(() => this.#connection.acceptStream()))
  }

  async closed(): Promise<string> {
    const text = await this.#connection.closed()
    if (this.#isCut) await this.#closedHere
    return this.#isCut ? 'closed' : text
  }

  close(code: number, reason: string): void {
    this.#closeHere()
    this.#connection.close(code, reason)
  }

  #stream(stream: QuicStream): QuicStream {
    return {
      write: (parts, length) => this.#through(() => stream.write(parts, length)),
      finish: () => this.#through(() => stream.finish()),
      reset: () => this.#through(() => stream.reset()),
      read: () => this.#through(() => stream.read())
    }
  }

  /** What the call gives, unless the cable was cut before it did. */
  async #through<T>(call: () => Promise<T>): Promise<T> {
    try {
      const result = this.#isCut ? undefined : await call()
      if (!this.#isCut) return result as T
    } catch (error) {
      if (!this.#isCut) throw error
    }
    await this.#closedHere
    throw new Error('LocallyClosed')
  }
}

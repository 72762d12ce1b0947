/**
 * One end of a connection between two processes of the simulation. A `Link` makes both ends and joins them by two wires.
 */
import { AsyncQueue, type Connection, type ConnectionEnd, HeddleError } from '@heddle/core'
import { aborted, MemoryStream } from './stream.js'
import type { Wire } from './wire.js'

export interface MemoryConnectionInit {
  readonly peer: Uint8Array
  readonly out: Wire
  readonly frameBytesMax: number
  /** The listener's address, for messages. */
  readonly address: string
  /** Decides for each frame whether the connection breaks instead of carrying it. */
  readonly fault: () => boolean
}

export class MemoryConnection implements Connection {
  readonly peer: Uint8Array
  readonly incoming = new AsyncQueue<MemoryStream>()
  readonly closed: Promise<ConnectionEnd>
  /** The other end; the link sets it before anything is delivered. */
  remote: MemoryConnection | undefined
  readonly #init: MemoryConnectionInit
  readonly #streams = new Set<MemoryStream>()
  #resolveClosed: (end: ConnectionEnd) => void = () => {}
  #ended: HeddleError | undefined
  #opened = 0

  constructor(init: MemoryConnectionInit) {
    this.#init = init
    this.peer = new Uint8Array(init.peer)
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve
    })
  }

  async open(signal?: AbortSignal): Promise<MemoryStream> {
    if (signal?.aborted) throw aborted(`opening a stream to ${this.#init.address}`, signal)
    if (this.#ended !== undefined) throw this.#ended
    this.#opened += 1
    const name = `stream ${this.#opened} of ${this.#init.address}`
    const local = this.#addStream(name)
    this.#init.out.post(() => {
      if (this.remote === undefined || this.remote.#ended !== undefined) return
      const other = this.remote.#addStream(name)
      other.peer = local
      local.peer = other
      this.remote.incoming.push(other)
    })
    return local
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended !== undefined) return
    this.#init.out.post(() => this.remote?.end('remote'))
    this.end('local')
  }

  /** Ends this side: streams fail, iterations end, `closed` resolves. Only the first call counts. */
  end(by: ConnectionEnd['by'], cause?: unknown): void {
    if (this.#ended !== undefined) return
    this.#ended = closedError(this.#init.address, by, cause)
    for (const stream of this.#streams) stream.end(this.#ended)
    this.#streams.clear()
    this.incoming.close()
    this.#resolveClosed(cause === undefined ? { by } : { by, cause })
  }

  #addStream(name: string): MemoryStream {
    const stream: MemoryStream = new MemoryStream({
      out: this.#init.out,
      frameBytesMax: this.#init.frameBytesMax,
      name,
      fault: this.#init.fault,
      onDone: () => this.#streams.delete(stream)
    })
    this.#streams.add(stream)
    return stream
  }
}

function closedError(address: string, by: ConnectionEnd['by'], cause: unknown): HeddleError {
  const how = { local: 'closed by this side', remote: 'closed by the other side', lost: 'lost' }[by]
  return new HeddleError('TRANSPORT_CLOSED', `the connection through ${address} was ${how}`, {
    cause,
    info: { by }
  })
}

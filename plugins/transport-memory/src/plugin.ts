/**
 * The memory transport as a plugin: connections between transports of one `MemoryNetwork` inside one process. Identities are
 * believed, not proven (`peerAuth: false`), for both ends are the same program. Used by tests and by the full-stack simulation.
 */
import {
  type Connection,
  type Context,
  type DialOptions,
  definePlugin,
  HeddleError,
  type Listener,
  type ListenOptions,
  type PluginFactory,
  schema,
  type Transport
} from '@heddle/core'
import { MemoryNetwork } from './network.js'

export interface MemoryTransportOptions {
  /** Shared by all transports that are to reach each other. */
  readonly network: MemoryNetwork
  /** How `cut` and latencies name this process; the network counts "host-1", "host-2" without it. */
  readonly host?: string
}

/** Nothing limits a frame in memory but the host's own limit. */
const FRAME_BYTES_MAX = 1024 * 1024 * 1024

/** Use it as `memoryTransport({ network, host: 'laptop' })`. */
export const memoryTransport: PluginFactory<'transport', MemoryTransportOptions, MemoryTransportOptions> = definePlugin(
  {
    manifest: {
      kind: 'transport',
      name: '@heddle/transport-memory',
      version: '0.1.0',
      api: '1.0',
      supports: { listen: true, dial: true, peerAuth: false, datagrams: false, frameBytesMax: FRAME_BYTES_MAX },
      runtimes: ['node', 'browser', 'deno', 'bun']
    },
    options: schema(parseOptions),
    create: async (options, context) => new MemoryTransport(options, context)
  }
)

class MemoryTransport implements Transport {
  readonly schemes = ['mem'] as const
  readonly #network: MemoryNetwork
  readonly #host: string
  readonly #context: Context
  readonly #stop = new AbortController()
  readonly #open = new Set<AsyncDisposable>()

  constructor(options: MemoryTransportOptions, context: Context) {
    this.#network = options.network
    this.#host = options.host ?? options.network.nextHost()
    this.#context = context
  }

  async dial(address: string, options: DialOptions): Promise<Connection> {
    this.#checkOpen('dial')
    const connection = await this.#network.dial({
      host: this.#host,
      address: parseAddress(address),
      alpn: options.alpn,
      publicKey: options.identity.publicKey,
      expectPeer: options.expectPeer,
      frameBytesMax: this.#context.limits.frameBytesMax,
      signals: [options.signal, this.#context.signal, this.#stop.signal]
    })
    this.#keep(connection)
    return connection
  }

  async listen(options: ListenOptions): Promise<Listener> {
    this.#checkOpen('listen')
    if (options.signal.aborted) {
      throw new HeddleError('ABORTED', `listening on ${options.address} was aborted by the caller`, {
        cause: options.signal.reason
      })
    }
    const listener: Listener = this.#network.listen({
      host: this.#host,
      address: parseAddress(options.address),
      alpn: options.alpn,
      publicKey: options.identity.publicKey,
      frameBytesMax: this.#context.limits.frameBytesMax,
      onAccept: (connection) => this.#keep(connection),
      onClose: () => this.#open.delete(listener)
    })
    this.#open.add(listener)
    return listener
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#stop.signal.aborted) return
    this.#stop.abort(new HeddleError('DISPOSED', 'the memory transport was disposed of'))
    for (const item of [...this.#open].reverse()) await item[Symbol.asyncDispose]()
    this.#open.clear()
  }

  #keep(connection: Connection): void {
    this.#open.add(connection)
    void connection.closed.then(() => this.#open.delete(connection))
  }

  #checkOpen(what: string): void {
    if (this.#stop.signal.aborted) {
      throw new HeddleError(
        'DISPOSED',
        `the memory transport of ${this.#host} was disposed of; it does not ${what} any more`
      )
    }
  }
}

function parseOptions(value: unknown): MemoryTransportOptions {
  const options = (value ?? {}) as Partial<Record<keyof MemoryTransportOptions, unknown>>
  const unknown = Object.keys(options).find((key) => key !== 'network' && key !== 'host')
  if (unknown !== undefined) throw new Error(`unknown option "${unknown}"; there are "network" and "host"`)
  const { network, host } = options
  if (!(network instanceof MemoryNetwork)) {
    throw new Error('"network" must be a memory network; make one with createMemoryNetwork({ clock })')
  }
  if (host === undefined) return { network }
  if (typeof host !== 'string' || host === '') throw new Error('"host" must be a name, e.g. "laptop"')
  return { network, host }
}

function parseAddress(address: string): string {
  if (!/^mem:\/\/[A-Za-z0-9._:-]{1,128}$/.test(address)) {
    throw new HeddleError('CONFIG_INVALID', `"${address}" is no memory address; write it as mem://name`, {
      info: { address }
    })
  }
  return address
}

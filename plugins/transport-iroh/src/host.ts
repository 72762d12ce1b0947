/** What dialling and listening share in one transport: options, context, counters, and everything that is open. */
import { type Context, HeddleError } from '@heddle/core'
import { toHex } from './bytes.js'
import { type Greeted, IrohConnection } from './connection/index.js'
import { type Counters, newCounters } from './counters.js'
import { type BoundEndpoint, Endpoints } from './endpoint.js'
import type { Iroh } from './native/index.js'
import type { ResolvedOptions } from './options.js'

export class Host {
  readonly options: ResolvedOptions
  readonly context: Context
  readonly counters: Counters = newCounters()
  readonly endpoints: Endpoints
  /** Also what keeps connections from being garbage-collected, which would close them. */
  readonly #open = new Set<AsyncDisposable>()

  constructor(options: ResolvedOptions, context: Context, iroh: Iroh) {
    this.options = options
    this.context = context
    this.endpoints = new Endpoints(iroh, options.relays, context.log)
  }

  /** The connection a handshake led to; the endpoint stays bound as long as it lives. */
  connection(greeted: Greeted, side: 'dialling' | 'listening', endpoint: BoundEndpoint): IrohConnection {
    const { options, context } = this
    const release = endpoint.use()
    const connection = new IrohConnection({
      ...greeted,
      side,
      remoteName: `iroh://${toHex(greeted.quic.peer)}`,
      frameBytesMax: context.limits.frameBytesMax,
      streamsMax: options.streamsMax,
      clock: context.clock,
      log: context.log,
      counters: this.counters,
      pingIntervalMs: options.pingIntervalMs,
      deadAfterMs: options.deadAfterMs,
      closeTimeoutMs: options.closeTimeoutMs
    })
    this.keep(connection)
    void connection.gone.then(() => {
      this.drop(connection)
      void release()
    })
    return connection
  }

  keep(item: AsyncDisposable): void {
    this.#open.add(item)
  }

  drop(item: AsyncDisposable): void {
    this.#open.delete(item)
  }

  /** All at once, since each connection may wait for its peer's goodbye; the endpoints after them. */
  async disposeAll(): Promise<void> {
    const items = [...this.#open]
    this.#open.clear()
    await Promise.all(items.map((item) => item[Symbol.asyncDispose]()))
    await this.endpoints.close()
  }
}

export function disposed(): HeddleError {
  return new HeddleError('DISPOSED', 'the iroh transport was disposed of; start another one')
}

/**
 * Tells of commits of other processes by LISTEN. A notification that is lost with its connection is made up for: whenever
 * a connection begins to listen, everybody is called. `watch` of the storage hangs on it.
 */
import type { Clock, Log } from '@heddle/core'
import pg from 'pg'

/** Pauses between attempts to connect: doubled from the first to the last. */
const RETRY_MS_MIN = 100
const RETRY_MS_MAX = 5000
/** A connection that died without a word is found by asking it something. */
const PING_MS = 15_000

export interface ListenerInit {
  readonly config: pg.ClientConfig
  readonly channel: string
  /** What this process puts into its own notifications. */
  readonly writer: string
  readonly timeoutMs: number
  readonly clock: Clock
  readonly log: Log
}

export class Listener implements AsyncDisposable {
  readonly #init: ListenerInit
  readonly #callbacks = new Set<{ readonly callback: () => void }>()
  #client: pg.Client | undefined
  #timer: Disposable | undefined
  #retryMs = RETRY_MS_MIN
  #isStarted = false
  #isClosed = false

  constructor(init: ListenerInit) {
    this.#init = init
  }

  /** Calls back after a commit of another process, whatever it changed; also when one may have been missed. */
  watch(callback: () => void): Disposable {
    const watcher = { callback }
    this.#callbacks.add(watcher)
    if (!this.#isStarted) {
      this.#isStarted = true
      void this.#connect()
    }
    return { [Symbol.dispose]: () => void this.#callbacks.delete(watcher) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true
    this.#callbacks.clear()
    this.#drop(this.#client)
  }

  async #connect(): Promise<void> {
    const { config, channel, writer, timeoutMs } = this.#init
    const client = new pg.Client({ ...config, query_timeout: timeoutMs })
    this.#client = client
    client.on('error', (error) => this.#lost(client, error))
    client.on('end', () => this.#lost(client, undefined))
    client.on('notification', ({ payload }) => {
      if (payload !== writer) this.#notify()
    })
    try {
      await client.connect()
      await client.query(`LISTEN ${channel}`)
    } catch (error) {
      this.#lost(client, error)
      return
    }
    if (this.#client !== client) return
    this.#retryMs = RETRY_MS_MIN
    this.#notify()
    this.#armPing(client)
  }

  #armPing(client: pg.Client): void {
    this.#timer = this.#init.clock.setTimer(PING_MS, () => {
      client.query('SELECT 1').then(
        () => {
          if (this.#client === client) this.#armPing(client)
        },
        (error: unknown) => this.#lost(client, error)
      )
    })
  }

  /** Connects again after a pause; nothing when this client was given up already. */
  #lost(client: pg.Client, error: unknown): void {
    if (this.#client !== client) return
    this.#drop(client)
    if (this.#isClosed) return
    const { clock, log, channel } = this.#init
    const message = error instanceof Error ? error.message : 'the server closed it'
    log('warn', 'postgres.listener-lost', { channel, message, retryMs: this.#retryMs })
    this.#timer = clock.setTimer(this.#retryMs, () => void this.#connect())
    this.#retryMs = Math.min(2 * this.#retryMs, RETRY_MS_MAX)
  }

  #drop(client: pg.Client | undefined): void {
    this.#timer?.[Symbol.dispose]()
    this.#client = undefined
    // Not waited for: a server that is gone answers nothing, and the socket closes all the same.
    client?.end().catch((error: unknown) => {
      this.#init.log('debug', 'postgres.listener-close-failed', { message: String(error) })
    })
  }

  /** Apart from what noticed it: a callback may use the storage at once, and its errors are its own. */
  #notify(): void {
    for (const { callback } of this.#callbacks) queueMicrotask(callback)
  }
}

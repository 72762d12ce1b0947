/**
 * A server in the demo, as a process of its own: an ordinary server on LMDB. The orchestrator starts it, kills it, and
 * starts it again on the same folder and ports.
 */
import { type ServingServer, serve } from '../server.js'
import { logToParent, serveCalls } from './ipc.js'

let serving: ServingServer | undefined

const calls = {
  /** Returns its tickets, with the real ports. */
  async start({ path, listen }: { path: string; listen: readonly string[] }): Promise<{ tickets: readonly string[] }> {
    serving = await serve({ path, listen, log: logToParent })
    return { tickets: serving.tickets }
  },

  async stored(_: Readonly<Record<never, never>>): Promise<{ envelopes: number }> {
    return { envelopes: serving?.server.stats().counts.envelopeStored ?? 0 }
  },

  /** Stops in order. */
  async stop(_: Readonly<Record<never, never>>): Promise<void> {
    await serving?.[Symbol.asyncDispose]()
    serving = undefined
  }
}

export type ServerCalls = typeof calls

serveCalls(calls)

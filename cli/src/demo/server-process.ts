/**
 * A server in the demo, as a process of its own: an ordinary server on LMDB and WebSocket. The orchestrator starts it,
 * kills it, and starts it again on the same folder and port.
 */
import { HeddleError } from '@heddle/core'
import { type ServingServer, serve } from '../server.js'
import { logToParent, serveCalls } from './ipc.js'

let serving: ServingServer | undefined

const calls = {
  /** Port 0 picks a free one. Returns the ticket with the real one. */
  async start({ path, port }: { path: string; port: number }): Promise<{ ticket: string }> {
    serving = await serve({ path, listen: [`ws://127.0.0.1:${port}`], log: logToParent })
    const [ticket] = serving.tickets
    if (ticket === undefined) throw new HeddleError('INTERNAL', 'the server listens nowhere')
    return { ticket }
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

/** A Heddle server as a process of its own: LMDB in a folder, WebSocket on a free port of the loopback. */
import { type ServingServer, serve } from 'heddle'
import { serveCalls } from './calls.js'
import { logToStderr } from './log.js'

let serving: ServingServer | undefined

const calls = {
  async start({ path }: { readonly path: string }): Promise<{ readonly ticket: string }> {
    serving = await serve({ path, listen: ['ws://127.0.0.1:0'], log: logToStderr })
    const [ticket] = serving.tickets
    if (ticket === undefined) throw new Error('the server listens nowhere')
    return { ticket }
  }
}

export type ServerCalls = typeof calls

serveCalls(calls, async () => serving?.[Symbol.asyncDispose]())

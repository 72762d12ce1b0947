/**
 * The server of the floor, as a process of its own: passes every message on to all other connections. It encrypts
 * nothing, stores nothing and acknowledges nothing; nothing that syncs through a server does less.
 */
import { WebSocket, WebSocketServer } from 'ws'
import { serveCalls } from './calls.js'

const calls = {
  async start(_: Readonly<Record<never, never>>): Promise<{ readonly url: string }> {
    const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false })
    server.on('connection', (from) => {
      from.on('message', (data) => {
        for (const to of server.clients) if (to !== from && to.readyState === WebSocket.OPEN) to.send(data)
      })
    })
    await new Promise((resolve, reject) => {
      server.once('listening', resolve)
      server.once('error', reject)
    })
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('the relay listens nowhere')
    return { url: `ws://127.0.0.1:${address.port}` }
  }
}

export type RelayCalls = typeof calls

serveCalls(calls, async () => undefined)

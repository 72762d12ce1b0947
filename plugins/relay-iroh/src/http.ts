/** What a relay answers to plain HTTP: the probes by which iroh clients measure it, and one for load balancers. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'

export const RELAY_PATH = '/relay'
const CHALLENGE = /^[A-Za-z0-9._-]{1,63}$/

/** Answers and returns true, or returns false and leaves the request alone. */
export function answer(request: IncomingMessage, response: ServerResponse, isDraining: boolean): boolean {
  const path = pathOf(request)
  if (path === RELAY_PATH) {
    response.writeHead(426, { Upgrade: 'websocket' }).end('This is an iroh relay.\n')
    return true
  }
  if (request.method !== 'GET' && request.method !== 'HEAD') return false
  switch (path) {
    case '/ping':
      // Clients in browsers measure from other origins.
      response.writeHead(200, { 'Access-Control-Allow-Origin': '*', 'Content-Length': 0 }).end()
      return true
    case '/generate_204': {
      const challenge = request.headers['x-iroh-challenge']
      const isSound = typeof challenge === 'string' && CHALLENGE.test(challenge)
      // A captive portal would answer 204 too, but not with what was asked.
      response.writeHead(204, isSound ? { 'X-Iroh-Response': `response ${challenge}` } : {}).end()
      return true
    }
    case '/healthz':
      response
        .writeHead(isDraining ? 503 : 200, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' })
        .end(JSON.stringify({ ok: !isDraining }))
      return true
    default:
      return false
  }
}

/** Refuses an upgrade. */
export function refuse(socket: Duplex, status: string): void {
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`, () => socket.destroy())
}

export function pathOf(request: IncomingMessage): string {
  return (request.url ?? '/').split('?', 1)[0] ?? '/'
}

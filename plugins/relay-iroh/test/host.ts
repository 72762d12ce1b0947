/** A relay on an HTTP server of its own, with everything a test wants to look at. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Context, systemContext } from '@heddle/core'
import { everyone, type IrohRelay, irohRelay, type RelayOptions } from '@heddle/relay-iroh'

export interface RelayHost extends AsyncDisposable {
  readonly relay: IrohRelay
  /** "http://127.0.0.1:port" */
  readonly url: string
  readonly log: readonly (readonly [event: string, fields: Readonly<Record<string, unknown>>])[]
}

export interface RelayHostOptions extends Partial<RelayOptions> {
  readonly port?: number
  readonly hostname?: string
}

export async function relayHost(options: RelayHostOptions = {}, parts: Partial<Context> = {}): Promise<RelayHost> {
  const { port = 0, hostname = '127.0.0.1', ...rest } = options
  const log: (readonly [string, Readonly<Record<string, unknown>>])[] = []
  const context = { ...systemContext({ log: (_level, event, fields = {}) => log.push([event, fields]) }), ...parts }
  const relay = irohRelay({ authorize: everyone, ...rest }, context)
  const server = createServer((request, response) => {
    if (!relay.request(request, response)) response.writeHead(404).end()
  })
  server.on('upgrade', (request, socket, head) => {
    if (!relay.upgrade(request, socket, head)) socket.destroy()
  })
  await new Promise<void>((resolve) => server.listen(port, hostname, resolve))
  return {
    relay,
    url: `http://${hostname}:${(server.address() as AddressInfo).port}`,
    log,
    async [Symbol.asyncDispose]() {
      await relay[Symbol.asyncDispose]()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    }
  }
}

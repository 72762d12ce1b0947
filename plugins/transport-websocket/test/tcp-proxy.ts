/** A TCP proxy in front of a listener: a cable that a test can cut. */
import { connect, createServer, type Socket } from 'node:net'
import type { Detour } from '@heddle/conformance'

export interface TcpDetour extends Detour {
  /** Lets nothing through any more and tells nobody. */
  freeze(): void
}

/** A way to `address` ("ws://host:port") through a proxy on this machine. */
export async function tcpDetour(address: string): Promise<TcpDetour> {
  const target = new URL(address)
  const sockets = new Set<Socket>()
  const server = createServer((near) => {
    const far = connect(Number(target.port), target.hostname)
    for (const [from, to] of [[near, far] as const, [far, near] as const]) {
      sockets.add(from)
      from.on('error', () => to.destroy())
      from.on('close', () => {
        sockets.delete(from)
        to.destroy()
      })
      from.pipe(to)
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const bound = server.address()
  if (bound === null || typeof bound === 'string') throw new Error('the proxy has no port')
  const sever = async () => {
    for (const socket of sockets) socket.resetAndDestroy()
  }
  return {
    address: `${target.protocol}//127.0.0.1:${bound.port}`,
    sever,
    freeze() {
      for (const socket of sockets) socket.unpipe().pause()
    },
    async [Symbol.asyncDispose]() {
      await sever()
      await new Promise((resolve) => server.close(resolve))
    }
  }
}

/** The far end of the transports, as a process of its own: sends frames back, or counts them and says when all are there. */
import type { Connection, FrameStream, Transport } from '@heddle/core'
import { serveCalls } from './calls.js'
import { alpn, newIdentity, startTransport, transports } from './transports.js'

const started: Transport[] = []

const calls = {
  /** Listens on every transport; the addresses in their order. */
  async start(_: Readonly<Record<never, never>>): Promise<{ readonly addresses: readonly string[] }> {
    const addresses: string[] = []
    for (const one of transports) {
      const transport = await startTransport(one)
      started.push(transport)
      const { signal } = new AbortController()
      const listener = await transport.listen?.({ identity: newIdentity(), alpn, address: one.listen, signal })
      const address = listener?.addresses[0]
      if (listener === undefined || address === undefined) throw new Error(`${one.name} listens nowhere`)
      addresses.push(address)
      void serve(listener.connections)
    }
    return { addresses }
  }
}

export type EchoCalls = typeof calls

async function serve(connections: AsyncIterable<Connection>): Promise<void> {
  for await (const connection of connections) void serveStreams(connection)
}

async function serveStreams(connection: Connection): Promise<void> {
  for await (const stream of connection.incoming) {
    // It ends with its connection, in whatever state it is.
    serveStream(stream).catch(() => undefined)
  }
}

async function serveStream(stream: FrameStream): Promise<void> {
  let answeredBy: number | undefined
  let count = 0
  for await (const frame of stream.frames) {
    if (answeredBy === undefined) answeredBy = new DataView(frame.buffer).getUint32(0)
    else if (answeredBy === 0) await stream.write(frame)
    else if (++count % answeredBy === 0) await stream.write(new Uint8Array(1))
  }
  await stream.finish()
}

serveCalls(calls, async () => {
  for (const transport of started) await transport[Symbol.asyncDispose]()
})

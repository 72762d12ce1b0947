/** A relay in a process of its own: prints its URL, then answers every line with what it has seen and what it uses. */
import { createInterface } from 'node:readline'
import { relayHost } from '../host.js'

export interface RelayReport {
  readonly counters: Readonly<Record<string, number>>
  readonly load: { readonly endpoints: number; readonly connections: number; readonly queuedBytes: number }
  readonly rssBytes: number
  /** In use on the heap and outside of it, garbage included unless it was asked to collect that first. */
  readonly usedBytes: number
  readonly cpuMs: number
}

export async function main(options: string): Promise<void> {
  const host = await relayHost(JSON.parse(options))
  const print = (value: unknown) => process.stdout.write(`${JSON.stringify(value)}\n`)
  print({ url: host.url })
  for await (const line of createInterface({ input: process.stdin })) {
    if ((JSON.parse(line) as { readonly gc?: boolean }).gc === true) await collectGarbage()
    const { user, system } = process.cpuUsage()
    const memory = process.memoryUsage()
    print({
      counters: host.relay.counters,
      load: host.relay.load,
      rssBytes: memory.rss,
      usedBytes: memory.heapUsed + memory.external,
      cpuMs: (user + system) / 1000
    } satisfies RelayReport)
  }
  await host[Symbol.asyncDispose]()
  process.exit()
}

/** Buffers are given back some time after their owners were found to be garbage. */
async function collectGarbage(): Promise<void> {
  for (let round = 0; round < 3; round++) {
    globalThis.gc?.()
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

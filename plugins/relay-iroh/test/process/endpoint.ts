/**
 * An iroh endpoint in a process of its own, with one relay and nothing else: it prints its id when it is online, takes every
 * connection, and does what each line says.
 */
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'
import type { Connection, Endpoint as IrohEndpoint } from '@number0/iroh'

// Not imported: Vite takes the package's "main" at its word, and there is no such file.
const iroh = createRequire(import.meta.url)('@number0/iroh') as typeof import('@number0/iroh')
const { Endpoint, EndpointAddr, EndpointId, presetMinimal, RelayMap, RelayMode } = iroh

const ALPN = toArray(new TextEncoder().encode('heddle-relay-test'))
/** iroh's binding takes arrays of numbers; larger writes gain nothing. */
const WRITE_BYTES = 16 * 1024
const READ_BYTES = 64 * 1024

export interface Online {
  readonly id: string
  readonly onlineMs: number
}
export type Order =
  | { readonly do: 'send'; readonly to: string; readonly bytes: number; readonly seed: number }
  | { readonly do: 'echo'; readonly to: string; readonly count: number; readonly bytes: number }
export interface Sent {
  /** How many bytes the other side found to be right, one by one. */
  readonly rightBytes: number
  readonly ms: number
  readonly paths: Paths
}
export interface Echoed {
  readonly p50Ms: number
  readonly paths: Paths
}
export interface Paths {
  readonly isRelayed: boolean
  readonly isDirect: boolean
}

export async function main(url: string): Promise<void> {
  const began = performance.now()
  const endpoint = await bindEndpoint(url)
  await endpoint.online()
  const print = (value: unknown) => process.stdout.write(`${JSON.stringify(value)}\n`)
  print({ id: endpoint.id().toString(), onlineMs: performance.now() - began } satisfies Online)
  void acceptAll(endpoint)
  // A connection that nothing refers to is closed by the garbage collector.
  const connections = new Map<string, Connection>()
  for await (const line of createInterface({ input: process.stdin })) {
    const order = JSON.parse(line) as Order
    let connection = connections.get(order.to)
    if (connection === undefined) {
      connection = await endpoint.connect(new EndpointAddr(EndpointId.fromString(order.to), url), ALPN)
      connections.set(order.to, connection)
    }
    print(order.do === 'send' ? await send(connection, order) : await echo(connection, order))
  }
  await endpoint.close()
  process.exit()
}

/** Knows the relay and asks nobody else anything. */
export async function bindEndpoint(url: string, authToken?: string): Promise<IrohEndpoint> {
  const builder = Endpoint.builder()
  presetMinimal(builder)
  builder.alpns([ALPN])
  const relays = RelayMap.empty()
  relays.insert(authToken === undefined ? { url } : { url, authToken })
  builder.relayMode(RelayMode.custom(relays))
  return await builder.bind()
}

/** The bytes of a seed: no two places look alike for long. */
export function pattern(seed: number, start: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let index = 0; index < length; index++) {
    const position = start + index
    bytes[index] = Math.imul(position ^ seed, 0x9e37_79b1) >>> 24
  }
  return bytes
}

async function send(connection: Connection, { bytes, seed }: Extract<Order, { do: 'send' }>): Promise<Sent> {
  const began = performance.now()
  const stream = await connection.openBi()
  await stream.send.writeAll([1, ...u32(seed)])
  for (let start = 0; start < bytes; start += WRITE_BYTES) {
    await stream.send.writeAll(toArray(pattern(seed, start, Math.min(WRITE_BYTES, bytes - start))))
  }
  await stream.send.finish()
  const rightBytes = fromU32(await stream.recv.readExact(4))
  return { rightBytes, ms: performance.now() - began, paths: pathsOf(connection) }
}

async function echo(connection: Connection, { count, bytes }: Extract<Order, { do: 'echo' }>): Promise<Echoed> {
  const stream = await connection.openBi()
  await stream.send.writeAll([2, ...u32(bytes)])
  const payload = toArray(pattern(1, 0, bytes))
  const timesMs: number[] = []
  for (let index = 0; index < count; index++) {
    const began = performance.now()
    await stream.send.writeAll(payload)
    await stream.recv.readExact(bytes)
    timesMs.push(performance.now() - began)
  }
  await stream.send.finish()
  const middle = timesMs.sort((a, b) => a - b)[Math.floor(count / 2)] ?? 0
  return { p50Ms: middle, paths: pathsOf(connection) }
}

async function acceptAll(endpoint: IrohEndpoint): Promise<void> {
  const connections: Connection[] = []
  for (let incoming = await endpoint.acceptNext(); incoming !== null; incoming = await endpoint.acceptNext()) {
    const connection = await (await incoming.accept()).connect()
    connections.push(connection)
    void serve(connection).catch(() => {}) // The other side has gone: its process says why.
  }
}

async function serve(connection: Connection): Promise<void> {
  for (;;) {
    const stream = await connection.acceptBi()
    const [kind = 0, ...rest] = await stream.recv.readExact(5)
    const number = fromU32(rest)
    if (kind === 1) {
      let rightBytes = 0
      for (let read = 0; ; ) {
        const bytes = Uint8Array.from(await stream.recv.read(READ_BYTES))
        if (bytes.length === 0) break
        const expected = pattern(number, read, bytes.length)
        for (let index = 0; index < bytes.length; index++) if (bytes[index] === expected[index]) rightBytes += 1
        read += bytes.length
      }
      await stream.send.writeAll(u32(rightBytes))
    } else {
      for (let isOpen = true; isOpen; ) {
        const bytes = await stream.recv.readExact(number).catch(() => undefined)
        isOpen = bytes !== undefined
        if (bytes !== undefined) await stream.send.writeAll(bytes)
      }
    }
    await stream.send.finish()
  }
}

function pathsOf(connection: Connection): Paths {
  const selected = connection.paths().filter(({ isSelected }) => isSelected)
  return { isRelayed: selected.some(({ isRelay }) => isRelay), isDirect: connection.paths().some(({ isIp }) => isIp) }
}

function u32(value: number): number[] {
  return [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255]
}

function fromU32([a = 0, b = 0, c = 0, d = 0]: readonly number[]): number {
  return ((a << 24) | (b << 16) | (c << 8) | d) >>> 0
}

function toArray(bytes: Uint8Array): number[] {
  // Five times as fast as Array.from.
  const array = new Array<number>(bytes.length)
  for (let index = 0; index < bytes.length; index++) array[index] = bytes[index] ?? 0
  return array
}

// What the other process does in processes.test.ts, with the built package: it prints a line for each thing that happens,
// and ends by itself. node child.mjs <role> <address>
import { iroh } from '@heddle/transport-iroh'

const [role, address] = process.argv.slice(2)
const { signal } = new AbortController()
const alpn = 'heddle/1'
const identities = [
  [
    '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
    'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a'
  ],
  [
    '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
    '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c'
  ]
].map(([secret, open]) => ({ secretKey: bytes(secret), publicKey: bytes(open) }))
const [server, client] = identities

if (role === 'listen') await listen()
if (role === 'visit') await visit()
if (role === 'without-iroh') await withoutIroh()

/** Sends every frame back, until SIGTERM. */
async function listen() {
  const transport = await started(iroh, { pingIntervalMs: 100, deadAfterMs: 1000 })
  const listener = await transport.listen({ identity: server, alpn, address, signal })
  process.once('SIGTERM', () => transport[Symbol.asyncDispose]().then(() => say('disposed')))
  say(listener.addresses[0])
  for await (const connection of listener.connections) echo(connection)
}

async function echo(connection) {
  connection.closed.then(({ by }) => say(`closed ${by}`))
  for await (const stream of connection.incoming) {
    try {
      for await (const frame of stream.frames) await stream.write(frame)
    } catch {
      say('stream lost')
    }
  }
}

async function visit() {
  const transport = await started(iroh, {})
  const connection = await transport.dial(address, { identity: client, alpn, signal })
  const stream = await connection.open()
  await stream.write(Uint8Array.of(42))
  const { value } = await stream.frames[Symbol.asyncIterator]().next()
  say(`got ${value[0]}`)
  await stream.finish()
  await transport[Symbol.asyncDispose]()
}

/** Where iroh cannot be loaded, its transport says what to do, and the other one works. */
async function withoutIroh() {
  await started(iroh, {}).catch((error) => say(`${error.code} ${error.message}`))
  const { websocket } = await import('@heddle/transport-websocket')
  const transport = await started(websocket, {})
  const listener = await transport.listen({ identity: server, alpn, address: 'ws://127.0.0.1:0', signal })
  const connection = await transport.dial(listener.addresses[0], { identity: client, alpn, signal })
  say(`websocket ${connection.peer.length}`)
  await transport[Symbol.asyncDispose]()
}

async function started(plugin, options) {
  const { value } = await plugin.options['~standard'].validate(options)
  return plugin.create(value, {
    signal,
    log: () => {},
    clock: {
      now: () => Date.now(),
      setTimer(delayMs, callback) {
        const timer = setTimeout(callback, delayMs)
        return { [Symbol.dispose]: () => clearTimeout(timer) }
      }
    },
    random: (length) => crypto.getRandomValues(new Uint8Array(length)),
    limits: { frameBytesMax: 16 * 1024 * 1024 }
  })
}

function bytes(hex) {
  return Uint8Array.from(Buffer.from(hex, 'hex'))
}

function say(line) {
  process.stdout.write(`${line}\n`)
}

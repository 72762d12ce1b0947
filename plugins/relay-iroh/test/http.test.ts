/** Plain HTTP, and the relay on the port of Heddle's WebSocket transport. */
import { generateKeyPairSync } from 'node:crypto'
import { systemContext } from '@heddle/core'
import { everyone, irohRelay } from '@heddle/relay-iroh'
import { type WebSocketOptions, websocket } from '@heddle/transport-websocket'
import { describe, expect, it } from 'vitest'
import { FRAME } from '../src/protocol/index.js'
import { relayHost } from './host.js'
import { datagram, newIdentity, RawClient } from './raw-client.js'

describe('GET /ping', () => {
  it('answers 200, empty, to every origin', async () => {
    await using host = await relayHost()
    const answer = await fetch(`${host.url}/ping`, { headers: { origin: 'https://app.example' } })
    expect([answer.status, await answer.text()]).toEqual([200, ''])
    expect(answer.headers.get('access-control-allow-origin')).toBe('*')
  })
})

describe('GET /generate_204', () => {
  it.each([
    ['ts_192.168-0.1', 'response ts_192.168-0.1'],
    ['a'.repeat(63), `response ${'a'.repeat(63)}`],
    ['a'.repeat(64), null],
    ['a b', null],
    ['', null]
  ])('answers the challenge "%s" with %s', async (challenge, response) => {
    await using host = await relayHost()
    const answer = await fetch(`${host.url}/generate_204`, { headers: { 'x-iroh-challenge': challenge } })
    expect([answer.status, answer.headers.get('x-iroh-response')]).toEqual([204, response])
  })

  it('answers without a challenge too', async () => {
    await using host = await relayHost()
    expect((await fetch(`${host.url}/generate_204`)).status).toBe(204)
  })
})

describe('other requests', () => {
  it('are health, an upgrade that is none, or somebody else’s', async () => {
    await using host = await relayHost()
    const health = await fetch(`${host.url}/healthz`)
    expect([health.status, await health.json()]).toEqual([200, { ok: true }])
    expect((await fetch(`${host.url}/relay`)).status).toBe(426)
    expect((await fetch(`${host.url}/`)).status).toBe(404)
    expect((await fetch(`${host.url}/ping`, { method: 'POST' })).status).toBe(404)
  })

  it('are answered while the relay drains, and health says so', async () => {
    await using host = await relayHost()
    await host.relay[Symbol.asyncDispose]()
    const health = await fetch(`${host.url}/healthz`)
    expect([health.status, await health.json()]).toEqual([503, { ok: false }])
    await expect(RawClient.connect(host.url)).rejects.toThrow(/503/)
  })
})

describe('mounted on the listener of Heddle’s WebSocket transport', () => {
  it('shares the port: both are reached, and disposing of the transport drains the relay', async () => {
    const context = systemContext()
    const relay = irohRelay({ authorize: everyone }, context)
    const transport = await startWebsocket({ mounts: [relay] })
    const { signal } = new AbortController()
    const server = heddleIdentity()
    const listener = await transport.listen?.({
      identity: server,
      alpn: 'heddle/1',
      address: 'ws://127.0.0.1:0',
      signal
    })
    const address = listener?.addresses[0] ?? ''
    const url = address.replace('ws:', 'http:')

    const bob = newIdentity()
    using a = await RawClient.open(url)
    using b = await RawClient.open(url, bob)
    await using other = await startWebsocket({})
    const dialled = await other.dial(address, {
      identity: heddleIdentity(),
      alpn: 'heddle/1',
      expectPeer: server.publicKey,
      signal
    })
    expect(dialled.peer).toEqual(server.publicKey)
    a.send(datagram(bob.id, Uint8Array.of(1, 2, 3)))
    expect((await b.next(FRAME.relayToClientDatagram)).subarray(34)).toEqual(Uint8Array.of(1, 2, 3))
    expect((await fetch(`${url}/ping`)).status).toBe(200)
    expect((await fetch(`${url}/healthz`)).status).toBe(200)
    expect((await fetch(`${url}/`)).status).toBe(426)

    await transport[Symbol.asyncDispose]()
    await a.next(FRAME.restarting)
    expect(await a.closed).toBe(1001)
    expect(relay.load.connections).toBe(0)
  })
})

async function startWebsocket(options: WebSocketOptions) {
  const result = await websocket.options['~standard'].validate(options)
  if (result.issues !== undefined) throw new Error(result.issues[0]?.message)
  return websocket.create(result.value, systemContext())
}

function heddleIdentity() {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519', {
    privateKeyEncoding: { format: 'der', type: 'pkcs8' },
    publicKeyEncoding: { format: 'der', type: 'spki' }
  })
  return { publicKey: new Uint8Array(publicKey.subarray(-32)), secretKey: new Uint8Array(privateKey.subarray(-32)) }
}

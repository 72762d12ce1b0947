/** The way in: proofs that are right, wrong or copied, the policy, and strangers that take their time. */

import { type Applicant, type Authorize, anyOf, members, tokens } from '@heddle/relay-iroh'
import { createVirtualClock } from '@heddle/transport-memory'
import { describe, expect, it } from 'vitest'
import { FRAME } from '../src/protocol/index.js'
import { relayHost } from './host.js'
import { clientAuth, datagram, newIdentity, RawClient } from './raw-client.js'

const reasonOf = (frame: Uint8Array) => new TextDecoder().decode(frame.subarray(2))

describe('an upgrade', () => {
  it.each([
    [['iroh-relay-v1', 'iroh-relay-v2'], 'iroh-relay-v2'],
    [['iroh-relay-v9', 'iroh-relay-v2'], 'iroh-relay-v2'],
    [['iroh-relay-v1'], 'iroh-relay-v1']
  ])('that offers %j gets %s', async (offered, chosen) => {
    await using host = await relayHost()
    using client = await RawClient.connect(host.url, offered)
    expect(client.ws.protocol).toBe(chosen)
  })

  it.each([[[]], [['iroh-relay-v3']], [['heddle.1']]])('that offers %j gets 400', async (offered) => {
    await using host = await relayHost()
    await expect(RawClient.connect(host.url, offered)).rejects.toThrow(/400/)
    expect(host.relay.counters.handshakesRefused).toBe(1)
  })
})

describe('a client', () => {
  it('that signs the challenge is confirmed', async () => {
    await using host = await relayHost()
    using _client = await RawClient.open(host.url)
    expect(host.relay.counters).toMatchObject({ clientsAccepted: 1, handshakesRefused: 0 })
    expect(host.relay.load).toEqual({ endpoints: 1, connections: 1, queuedBytes: 0 })
  })

  it('whose signature is over anything else is denied', async () => {
    await using host = await relayHost()
    using client = await RawClient.connect(host.url)
    await client.next(FRAME.serverChallenge)
    client.send(clientAuth(newIdentity(), new Uint8Array(16)))
    expect(reasonOf(await client.next(FRAME.serverDeniesAuth))).toMatch(/signature/)
    expect(await client.closed).toBe(1008)
    expect(host.relay.counters).toMatchObject({ clientsAccepted: 0, handshakesRefused: 1 })
    expect(host.log).toContainEqual(['iroh-relay.client-refused', expect.objectContaining({ code: 'UNAUTHENTICATED' })])
  })

  it('that names another’s key under its own signature is denied', async () => {
    await using host = await relayHost()
    using client = await RawClient.connect(host.url)
    const frame = clientAuth(newIdentity(), (await client.next(FRAME.serverChallenge)).subarray(1))
    frame.set(newIdentity().id, 1)
    client.send(frame)
    await client.next(FRAME.serverDeniesAuth)
  })

  it.each([[0x00], [0x80]])(
    'whose key is a point of small order is denied: anybody can sign for it (sign %i)',
    async (sign) => {
      await using host = await relayHost()
      using client = await RawClient.connect(host.url)
      await client.next(FRAME.serverChallenge)
      // Neutral element and zero: right for every message by the equation of Ed25519.
      const neutral = Uint8Array.of(1, ...new Uint8Array(31))
      const key = neutral.with(31, sign)
      client.send(Uint8Array.of(FRAME.clientAuth, ...key, 64, ...neutral, ...new Uint8Array(32)))
      await client.next(FRAME.serverDeniesAuth)
    }
  )

  it('that replays a proof it has seen is denied: every connection has its own challenge', async () => {
    await using host = await relayHost()
    using victim = await RawClient.connect(host.url)
    const proof = clientAuth(newIdentity(), (await victim.next(FRAME.serverChallenge)).subarray(1))
    victim.send(proof)
    await victim.next(FRAME.serverConfirmsAuth)
    using thief = await RawClient.connect(host.url)
    await thief.next(FRAME.serverChallenge)
    thief.send(proof)
    await thief.next(FRAME.serverDeniesAuth)
    await victim.settled()
    expect(host.relay.load.endpoints).toBe(1)
  })

  it.each([
    ['nothing', new Uint8Array(0), 1002],
    ['another frame', Uint8Array.of(FRAME.ping, 1, 2, 3, 4, 5, 6, 7, 8), 1002],
    ['a datagram', datagram(newIdentity().id, new Uint8Array(10)), 1002],
    ['a proof cut short', Uint8Array.of(1, ...new Uint8Array(32), 64, ...new Uint8Array(63)), 1002],
    ['a proof with more behind it', Uint8Array.of(1, ...new Uint8Array(32), 64, ...new Uint8Array(65)), 1002],
    ['a key that is no point', Uint8Array.of(1, ...new Uint8Array(32).fill(255), 64, ...new Uint8Array(64)), 1008],
    ['text', 'hello', 1002]
  ])('that sends %s instead of a proof is turned away', async (_, message, code) => {
    await using host = await relayHost()
    using client = await RawClient.connect(host.url)
    await client.next(FRAME.serverChallenge)
    client.ws.send(message)
    expect(await client.closed).toBe(code)
    await expect.poll(() => host.relay.load.connections).toBe(0)
    expect(host.relay.counters).toMatchObject({ clientsAccepted: 0, handshakesRefused: 1 })
  })

  it('that sends frames before it is confirmed is turned away', async () => {
    await using host = await relayHost({ authorize: () => new Promise(() => {}) })
    using client = await RawClient.connect(host.url)
    client.send(clientAuth(newIdentity(), (await client.next(FRAME.serverChallenge)).subarray(1)))
    client.send(datagram(newIdentity().id, new Uint8Array(10)))
    expect(await client.closed).toBe(1002)
    expect(host.relay.counters).toMatchObject({ clientsAccepted: 0, protocolErrors: 1 })
  })

  it('that stays silent is turned away when its time is over', async () => {
    const clock = createVirtualClock(0)
    await using host = await relayHost({ handshakeTimeoutMs: 700 }, { clock })
    using client = await RawClient.connect(host.url)
    await client.next(FRAME.serverChallenge)
    await clock.run({ until: () => host.relay.counters.handshakesTimedOut === 1 })
    expect(clock.now()).toBe(700)
    expect(await client.closed).toBe(1008)
  })

  it('that waits for a policy which never answers is turned away when its time is over', async () => {
    const clock = createVirtualClock(0)
    let isAsked = false
    const authorize = () => {
      isAsked = true
      return new Promise<boolean>(() => {})
    }
    await using host = await relayHost({ authorize }, { clock })
    using client = await RawClient.connect(host.url)
    client.send(clientAuth(newIdentity(), (await client.next(FRAME.serverChallenge)).subarray(1)))
    await expect.poll(() => isAsked).toBe(true)
    await clock.run({ until: () => host.relay.counters.handshakesTimedOut === 1 })
    expect(await client.closed).toBe(1008)
  })

  it('finds no room when too many are in the handshake or connected, and finds it again', async () => {
    await using host = await relayHost({ handshakesMax: 2, clientsMax: 3 })
    const silent = [await RawClient.connect(host.url), await RawClient.connect(host.url)]
    await expect(RawClient.connect(host.url)).rejects.toThrow(/503/)
    for (const client of silent) client[Symbol.dispose]()
    await expect.poll(() => host.relay.load.connections).toBe(0)
    const clients = []
    for (let count = 0; count < 3; count++) clients.push(await RawClient.open(host.url))
    await expect(RawClient.connect(host.url)).rejects.toThrow(/503/)
    clients[0]?.[Symbol.dispose]()
    await expect.poll(() => host.relay.load.connections).toBe(2)
    using _third = await RawClient.open(host.url)
    expect(host.relay.counters.refusedBusy).toBe(2)
    for (const client of clients) client[Symbol.dispose]()
  })
})

describe('a policy', () => {
  const proves = async (url: string, identity = newIdentity(), headers: Record<string, string> = {}, query = '') => {
    using client = await RawClient.connect(url, undefined, headers, query)
    client.send(clientAuth(identity, (await client.next(FRAME.serverChallenge)).subarray(1)))
    return await client.next(FRAME.serverConfirmsAuth).then(
      () => true,
      () => false
    )
  }

  it('members lets in whom it lists', async () => {
    const member = newIdentity()
    await using host = await relayHost({ authorize: members([member.id]) })
    expect(await proves(host.url, member)).toBe(true)
    expect(await proves(host.url)).toBe(false)
    expect(host.relay.counters).toMatchObject({ clientsAccepted: 1, clientsDenied: 1 })
    expect(() => members([new Uint8Array(31)])).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
  })

  it('tokens lets in who sends one of them', async () => {
    await using host = await relayHost({ authorize: tokens(['right', 'also right']) })
    expect(await proves(host.url, undefined, { authorization: 'Bearer right' })).toBe(true)
    expect(await proves(host.url, undefined, { authorization: 'bearer also right' })).toBe(true)
    expect(await proves(host.url, undefined, {}, '?token=also+right')).toBe(true)
    expect(await proves(host.url, undefined, { authorization: 'Bearer wrong' })).toBe(false)
    expect(await proves(host.url, undefined, {}, '?token=wrong')).toBe(false)
    expect(await proves(host.url, undefined, { authorization: 'Basic right' })).toBe(false)
    expect(await proves(host.url)).toBe(false)
    expect(() => tokens([])).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
    expect(() => tokens([''])).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
  })

  it('anyOf lets in whom one of them does', async () => {
    const member = newIdentity()
    await using host = await relayHost({ authorize: anyOf(members([member.id]), tokens(['guest'])) })
    expect(await proves(host.url, member)).toBe(true)
    expect(await proves(host.url, undefined, { authorization: 'Bearer guest' })).toBe(true)
    expect(await proves(host.url)).toBe(false)
  })

  it('gets the proven id and nothing is decided before it answers', async () => {
    const identity = newIdentity()
    const asked: Uint8Array[] = []
    await using host = await relayHost({
      authorize: async (endpointId) => {
        asked.push(endpointId)
        await new Promise((resolve) => setImmediate(resolve))
        return true
      }
    })
    expect(await proves(host.url, identity)).toBe(true)
    expect(asked).toEqual([identity.id])
  })

  it('that fails refuses, and the log says why', async () => {
    await using host = await relayHost({
      authorize: () => {
        throw new Error('the list is on fire')
      }
    })
    expect(await proves(host.url)).toBe(false)
    expect(host.log[0]).toMatchObject(['iroh-relay.authorize-failed', { error: { message: 'the list is on fire' } }])
  })

  it('that changes its mind closes those it refuses now, and no others', async () => {
    const removed = newIdentity()
    let listed = [removed.id]
    const kept = newIdentity()
    await using host = await relayHost({
      authorize: (id, applicant) => members([kept.id, ...listed])(id, applicant)
    })
    using stays = await RawClient.open(host.url, kept)
    using goes = await RawClient.open(host.url, removed)
    listed = []
    await host.relay.reauthorize()
    expect(await goes.closed).toBe(1008)
    await stays.settled()
    expect(host.relay.load.endpoints).toBe(1)
  })

  it('is told when nobody waits for its answer any more', async () => {
    const signals: AbortSignal[] = []
    await using host = await relayHost({
      authorize: (_, { signal }) => {
        signals.push(signal)
        return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
      }
    })
    using client = await RawClient.connect(host.url)
    client.send(clientAuth(newIdentity(), (await client.next(FRAME.serverChallenge)).subarray(1)))
    await expect.poll(() => signals.length).toBe(1)
    client[Symbol.dispose]()
    await expect.poll(() => signals[0]?.aborted).toBe(true)
    expect(signals[0]?.reason).toMatchObject({ code: 'TRANSPORT_CLOSED' })
    expect(host.relay.counters).toMatchObject({ clientsAccepted: 0, clientsDenied: 0, handshakesRefused: 0 })
  })

  it('that is asked again in vain, until the caller aborts, expels nobody', async () => {
    let isStuck = false
    const authorize = (_: Uint8Array, { signal }: Applicant) =>
      !isStuck ||
      new Promise<boolean>((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
    await using host = await relayHost({ authorize })
    using client = await RawClient.open(host.url)
    isStuck = true
    const controller = new AbortController()
    const asking = expect(host.relay.reauthorize(controller.signal)).rejects.toMatchObject({ code: 'ABORTED' })
    controller.abort()
    await asking
    await client.settled()
    expect(host.relay.counters.clientsDenied).toBe(0)
  })

  it('has to be there', async () => {
    await expect(relayHost({ authorize: undefined as unknown as Authorize })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('"authorize"')
    })
    await expect(relayHost({ clientsMax: 0 })).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
    await expect(relayHost({ speed: 1 } as object)).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  })
})

/** The handshake: both ends prove their keys, and nobody in between, before or after them can borrow a proof. */
import type { EndpointIdentity } from '@heddle/core'
import { ed25519 } from '@noble/curves/ed25519.js'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { checkIdentity, type HandshakeCrypto } from '../src/crypto/crypto.js'
import { nodeCrypto } from '../src/crypto/node.js'
import { webCrypto } from '../src/crypto/web.js'
import { type Authenticated, authenticateToServer } from '../src/handshake/client.js'
import {
  type ClientHello,
  decodeClientHello,
  decodeClientProof,
  decodeServerHello,
  encodeClientHello,
  encodeClientProof,
  encodeServerHello,
  type Settings,
  signedBytes
} from '../src/handshake/messages.js'
import { authenticateClient } from '../src/handshake/server.js'
import { receive } from '../src/socket/socket.js'
import { identity, sign } from './identities.js'
import { type PairedSocket, socketPair, type Tap } from './socket-pair.js'

const SETTINGS: Settings = { windowBytes: 65_536, streamsMax: 4, frameBytesMax: 1000 }
const [CLIENT, SERVER, EVE] = [identity(1), identity(2), identity(3)]
const random = (length: number) => crypto.getRandomValues(new Uint8Array(length))
const never = new AbortController().signal

interface ClientChoice {
  readonly as?: EndpointIdentity
  readonly expectPeer?: Uint8Array
  readonly serverName?: string
  readonly alpn?: string
  readonly crypto?: HandshakeCrypto
}

async function client(socket: PairedSocket, choice: ClientChoice = {}): Promise<Authenticated> {
  const own = choice.crypto ?? nodeCrypto
  return authenticateToServer(socket, {
    crypto: own,
    random,
    signer: await own.signer(choice.as ?? CLIENT),
    settings: SETTINGS,
    alpn: choice.alpn ?? 'heddle/1',
    serverName: choice.serverName ?? 'server.example:443',
    expectPeer: choice.expectPeer,
    signal: never
  })
}

/** Runs the listening side; hangs up when it fails, as the listener does. */
async function server(
  socket: PairedSocket,
  as: EndpointIdentity = SERVER,
  isNamed: (name: string) => boolean = () => true,
  own: HandshakeCrypto = nodeCrypto
): Promise<Authenticated> {
  try {
    return await authenticateClient(socket, {
      crypto: own,
      random,
      signer: await own.signer(as),
      settings: { ...SETTINGS, streamsMax: 9 },
      alpn: 'heddle/1',
      isNamed,
      signal: never
    })
  } catch (error) {
    socket.close(4401, 'no')
    throw error
  }
}

/** Both sides with the messages between them tapped; what each side got or threw. */
async function run(choice: ClientChoice, toServer?: Tap, toClient?: Tap) {
  const pair = socketPair(toServer, toClient)
  const [left, right] = await Promise.allSettled([
    client(pair.client, choice).catch((error: unknown) => {
      pair.client.close(4401, 'no')
      throw error
    }),
    server(pair.server)
  ])
  return { left, right }
}

const refused = (code: string) => ({ status: 'rejected', reason: expect.objectContaining({ code }) })

describe('the handshake', () => {
  const none = webCrypto(undefined)
  const web = webCrypto(crypto.subtle)
  it.each([
    ['node:crypto with itself', nodeCrypto, nodeCrypto],
    ['a browser with node:crypto', web, nodeCrypto],
    ['node:crypto with @noble', nodeCrypto, none],
    ['@noble with a browser', none, web]
  ])('tells each side the key and the settings of the other: %s', async (_, left, right) => {
    const pair = socketPair()
    const [toServer, toClient] = await Promise.all([
      client(pair.client, { crypto: left, expectPeer: SERVER.publicKey }),
      server(pair.server, SERVER, undefined, right)
    ])
    expect(toServer).toEqual({ peer: SERVER.publicKey, settings: { ...SETTINGS, streamsMax: 9 } })
    expect(toClient).toEqual({ peer: CLIENT.publicKey, settings: SETTINGS })
  })

  it('signs what the README says, verifiable by another implementation', async () => {
    const seen: Uint8Array[] = []
    const note: Tap = (bytes) => {
      seen.push(new Uint8Array(bytes))
      return bytes
    }
    await run({}, note, note)
    const [hello, reply, proof] = seen
    if (hello === undefined || reply === undefined || proof === undefined) throw new Error('a message is missing')
    const [ours, theirs] = [decodeClientHello(hello), decodeServerHello(reply)]
    const part = (bytes: Uint8Array) => Uint8Array.of(bytes.length >> 8, bytes.length & 0xff, ...bytes)
    const ascii = (text: string) => new TextEncoder().encode(text)
    const settings = (message: Uint8Array) => message.subarray(66, 78)
    const transcript = (role: string) =>
      Uint8Array.from(
        [
          ascii('heddle/1 websocket'),
          ascii(role),
          ascii('heddle/1'),
          CLIENT.publicKey,
          SERVER.publicKey,
          ours.nonce,
          theirs.nonce,
          ascii('server.example:443'),
          settings(hello),
          settings(reply)
        ].flatMap((bytes) => [...part(bytes)])
      )
    const signed = (role: string) =>
      Uint8Array.of(...ascii('heddle/1 websocket'), ...nodeCrypto.sha256(transcript(role)))
    expect(ed25519.verify(theirs.signature, signed('server'), SERVER.publicKey)).toBe(true)
    expect(ed25519.verify(decodeClientProof(proof), signed('client'), CLIENT.publicKey)).toBe(true)
  })

  it('refuses a server with another key than expected, before it proves anything to it', async () => {
    let proofs = 0
    const { left, right } = await run({ expectPeer: EVE.publicKey }, (bytes) => {
      if (bytes[0] === 3) proofs += 1
      return bytes
    })
    expect(left).toMatchObject(refused('UNAUTHENTICATED'))
    expect(right).toMatchObject({ status: 'rejected' })
    expect(proofs).toBe(0)
  })

  it('refuses a name the server does not go by', async () => {
    const pair = socketPair()
    const [left, right] = await Promise.allSettled([
      client(pair.client, { serverName: 'relay.example:443' }),
      server(pair.server, SERVER, (name) => name === 'server.example:443')
    ])
    expect(left).toMatchObject(refused('UNAUTHENTICATED'))
    expect(right).toMatchObject(refused('UNAUTHENTICATED'))
  })

  it('binds every part of both hellos: changing any byte on the way fails both sides', async () => {
    const lengths = { toServer: 0, toClient: 0 }
    await run(
      {},
      (bytes) => {
        lengths.toServer ||= bytes.length
        return bytes
      },
      (bytes) => {
        lengths.toClient = bytes.length
        return bytes
      }
    )
    const flip = (at: number): Tap => {
      let first = true
      return (bytes) => {
        if (first) bytes[at] = (bytes[at] ?? 0) ^ 1
        first = false
        return bytes
      }
    }
    for (let at = 0; at < lengths.toServer; at++) {
      const { left, right } = await run({}, flip(at))
      expect([at, left.status, right.status]).toEqual([at, 'rejected', 'rejected'])
    }
    for (let at = 0; at < lengths.toClient; at++) {
      const { left, right } = await run({}, undefined, flip(at))
      expect([at, left.status, right.status]).toEqual([at, 'rejected', 'rejected'])
    }
  })

  it('takes an identity only as a whole key pair', async () => {
    const mixed = { publicKey: EVE.publicKey, secretKey: CLIENT.secretKey }
    expect(() => checkIdentity(mixed)).toThrow(/no Ed25519 key pair/)
    expect(checkIdentity(CLIENT)).toEqual(CLIENT.publicKey)
    await expect(nodeCrypto.signer(mixed)).rejects.toThrow(/no Ed25519 key pair/)
    expect((await nodeCrypto.signer(CLIENT)).publicKey).toEqual(CLIENT.publicKey)
  })
})

describe('an attacker', () => {
  it('in the middle, with its own key, cannot stand for the server', async () => {
    // Eve answers the client with the server's hello, her key in it, and her own signature over what she saw.
    const { left } = await run({ expectPeer: SERVER.publicKey }, undefined, (bytes) => {
      const hello = decodeServerHello(bytes)
      return encodeServerHello({ ...hello, key: EVE.publicKey })
    })
    expect(left).toMatchObject(refused('UNAUTHENTICATED'))
  })

  it('whom the client dials on purpose cannot pass the client on to another server', async () => {
    const toEve = socketPair()
    const toServer = socketPair()
    const victim = client(toEve.client, { expectPeer: EVE.publicKey })
    const real = server(toServer.server)
    const eve = async () => {
      const hello = decodeClientHello(await receive(toEve.server, never, () => new Error('closed')))
      toServer.client.send(encodeClientHello(hello))
      const reply = decodeServerHello(await receive(toServer.client, never, () => new Error('closed')))
      // To the victim she proves her own key, over the server's nonce.
      const mine = { nonce: reply.nonce, key: EVE.publicKey, settings: reply.settings }
      const signature = sign(EVE, signedBytes(nodeCrypto, 'server', { client: hello, server: mine }))
      toEve.server.send(encodeServerHello({ ...mine, signature }))
      toServer.client.send(new Uint8Array(await receive(toEve.server, never, () => new Error('closed'))))
    }
    const [, atVictim, atServer] = await Promise.allSettled([eve(), victim, real])
    expect(atVictim).toMatchObject({ status: 'fulfilled', value: { peer: EVE.publicKey } })
    expect(atServer).toMatchObject(refused('UNAUTHENTICATED'))
  })

  it('cannot send the server its own signature back as a proof', async () => {
    const pair = socketPair()
    const real = server(pair.server)
    const hello: ClientHello = {
      nonce: random(32),
      key: SERVER.publicKey,
      settings: SETTINGS,
      alpn: 'heddle/1',
      serverName: 'server.example:443'
    }
    pair.client.send(encodeClientHello(hello))
    const reply = decodeServerHello(await receive(pair.client, never, () => new Error('closed')))
    pair.client.send(encodeClientProof(reply.signature))
    await expect(real).rejects.toMatchObject({ code: 'UNAUTHENTICATED' })
  })

  it('cannot use a proof twice', async () => {
    const recorded: Uint8Array<ArrayBuffer>[] = []
    await run({}, (bytes) => {
      recorded.push(new Uint8Array(bytes))
      return bytes
    })
    const pair = socketPair()
    const real = server(pair.server)
    for (const bytes of recorded) pair.client.send(bytes)
    await expect(real).rejects.toMatchObject({ code: 'UNAUTHENTICATED' })
  })

  it('cannot claim a key without its secret', async () => {
    const pair = socketPair()
    const real = server(pair.server)
    const hello: ClientHello = {
      nonce: random(32),
      key: CLIENT.publicKey,
      settings: SETTINGS,
      alpn: 'heddle/1',
      serverName: 'server.example:443'
    }
    pair.client.send(encodeClientHello(hello))
    const reply = decodeServerHello(await receive(pair.client, never, () => new Error('closed')))
    const transcript = { client: hello, server: reply }
    pair.client.send(encodeClientProof(sign(EVE, signedBytes(nodeCrypto, 'client', transcript))))
    await expect(real).rejects.toMatchObject({ code: 'UNAUTHENTICATED' })
  })

  it('cannot come with a key of small order, under which a signature of zeros verifies', async () => {
    const neutral = Uint8Array.of(1, ...new Uint8Array(31))
    const zeros = Uint8Array.of(...neutral, ...new Uint8Array(32))
    // The reason for the rule: OpenSSL takes it.
    expect(await nodeCrypto.verify(neutral, random(20), zeros)).toBe(true)
    const pair = socketPair()
    const real = server(pair.server)
    pair.client.send(
      encodeClientHello({ nonce: random(32), key: neutral, settings: SETTINGS, alpn: 'heddle/1', serverName: 'x:1' })
    )
    await expect(real).rejects.toMatchObject({ code: 'UNAUTHENTICATED' })
  })

  it('cannot be a server with such a key either', async () => {
    const neutral = Uint8Array.of(1, ...new Uint8Array(31))
    const zeros = Uint8Array.of(...neutral, ...new Uint8Array(32))
    const { left } = await run({}, undefined, () =>
      encodeServerHello({ nonce: random(32), key: neutral, settings: SETTINGS, signature: zeros })
    )
    expect(left).toMatchObject(refused('UNAUTHENTICATED'))
  })

  it.each([
    ['node:crypto', nodeCrypto],
    ['WebCrypto', webCrypto(crypto.subtle)],
    ['@noble', webCrypto(undefined)]
  ])('gets nothing out of malformed keys and signatures: %s', async (_, own) => {
    const message = random(50)
    const right = sign(CLIENT, message)
    expect(await own.verify(CLIENT.publicKey, message, right)).toBe(true)
    expect(await own.verify(EVE.publicKey, message, right)).toBe(false)
    expect(await own.verify(CLIENT.publicKey, random(50), right)).toBe(false)
    expect(await own.verify(CLIENT.publicKey, message, right.subarray(1))).toBe(false)
    expect(await own.verify(CLIENT.publicKey.subarray(1), message, right)).toBe(false)
    expect(await own.verify(new Uint8Array(32).fill(0xff), message, right)).toBe(false)
  })
})

describe('handshake messages', () => {
  it('round-trip, and every truncation and every byte too many is MALFORMED', () => {
    const hello: ClientHello = {
      nonce: random(32),
      key: CLIENT.publicKey,
      settings: SETTINGS,
      alpn: 'heddle/1',
      serverName: '[::1]:80'
    }
    const bytes = encodeClientHello(hello)
    expect(decodeClientHello(bytes)).toEqual(hello)
    for (let length = 0; length < bytes.length; length++) {
      expect(() => decodeClientHello(bytes.subarray(0, length))).toThrow(expect.objectContaining({ code: 'MALFORMED' }))
    }
    expect(() => decodeClientHello(Uint8Array.of(...bytes, 0))).toThrow(/left over/)
  })

  it('decode or throw MALFORMED, whatever the bytes', () => {
    const decoders = [decodeClientHello, decodeServerHello, decodeClientProof]
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.constantFrom(1, 2, 3), (bytes, type) => {
        for (const decode of decoders) {
          try {
            decode(Uint8Array.of(type, 1, ...bytes))
          } catch (error) {
            expect(error).toMatchObject({ code: 'MALFORMED' })
          }
        }
      }),
      { numRuns: 2000, seed: 1 }
    )
  })

  it.each([
    ['a window below 64 KiB', { ...SETTINGS, windowBytes: 65_535 }],
    ['a window of four gigabytes', { ...SETTINGS, windowBytes: 0xffff_ffff }],
    ['no streams at all', { ...SETTINGS, streamsMax: 0 }],
    ['a million streams', { ...SETTINGS, streamsMax: 1_000_000 }]
  ])('are MALFORMED with %s', (_, settings) => {
    const hello = { nonce: random(32), key: CLIENT.publicKey, settings, alpn: 'heddle/1', serverName: 'x:1' }
    expect(() => decodeClientHello(encodeClientHello(hello))).toThrow(expect.objectContaining({ code: 'MALFORMED' }))
  })

  it('are MALFORMED above 1024 bytes, before anything is read', () => {
    expect(() => decodeClientHello(new Uint8Array(1025).fill(1))).toThrow(/1025 bytes/)
  })
})

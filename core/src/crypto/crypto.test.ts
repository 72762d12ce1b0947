import { Aes128Gcm, DhkemX25519HkdfSha256, HkdfSha256, CipherSuite as HpkeSuite } from '@hpke/core'
import { ed25519, x25519 } from '@noble/curves/ed25519.js'
import { bytesToNumberLE, numberToBytesLE } from '@noble/curves/utils.js'
import { sha512 } from '@noble/hashes/sha2.js'
import { XWing } from '@noble/post-quantum/hybrid.js'
import { describe, expect, test } from 'vitest'
import { concatBytes, toHex, utf8 } from '../bytes.js'
import { HeddleError } from '../errors.js'
import { createCrypto } from './index.js'
import { xWing } from './kem.js'
import { createNodeCrypto } from './node.js'
import { type CryptoProvider, SUITE_POST_QUANTUM, type SuiteId } from './types.js'
import { createWebCrypto } from './web.js'

const SUITES: readonly SuiteId[] = [1, 3, SUITE_POST_QUANTUM]

/** A random source that gives the same bytes for the same seed. */
function seededRandom(seed: number): (length: number) => Uint8Array {
  let state = seed >>> 0
  return (length) =>
    Uint8Array.from({ length }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return state >>> 24
    })
}

function fromHex(text: string): Uint8Array {
  return Uint8Array.from(text.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16))
}

const providers: readonly (readonly [string, (random: (length: number) => Uint8Array) => CryptoProvider])[] = [
  ['node', createNodeCrypto],
  ['web', createWebCrypto]
]

describe.each(providers)('%s provider', (_name, create) => {
  const crypto = create(seededRandom(1))

  test('hashes as FIPS 180-4 and RFC 4231 say', () => {
    expect(toHex(crypto.sha256(utf8('abc')))).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad')
    expect(toHex(crypto.hmacSha256(utf8('Jefe'), utf8('what do ya want for nothing?')))).toBe(
      '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843'
    )
  })

  test('derives as RFC 5869 A.1 and A.3 say', () => {
    const key = crypto.hkdfExtract(fromHex('000102030405060708090a0b0c'), new Uint8Array(22).fill(0x0b))
    expect(toHex(key)).toBe('077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5')
    expect(toHex(crypto.hkdfExpand(key, fromHex('f0f1f2f3f4f5f6f7f8f9'), 42))).toBe(
      '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865'
    )
    const unsalted = crypto.hkdfExtract(new Uint8Array(0), new Uint8Array(22).fill(0x0b))
    expect(toHex(unsalted)).toBe('19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04')
    expect(() => crypto.hkdfExpand(key, new Uint8Array(0), 8161)).toThrow(HeddleError)
    expect(crypto.hkdfExpand(key, new Uint8Array(0), 0)).toHaveLength(0)
  })

  test('signs as RFC 8032 7.1 says', async () => {
    const seed = fromHex('c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7')
    const publicKey = crypto.publicKeyOf(seed)
    expect(toHex(publicKey)).toBe('fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025')
    const message = fromHex('af82')
    const signature = crypto.sign(seed, message)
    expect(toHex(signature)).toBe(
      '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a'
    )
    const mls = crypto.suite(1).mls.signature
    expect(await mls.sign(seed, message)).toEqual(signature)
    for (const verify of [crypto.verify, crypto.verifyOffThread, mls.verify]) {
      expect(await verify(publicKey, message, signature)).toBe(true)
      expect(await verify(publicKey, fromHex('af83'), signature)).toBe(false)
      expect(await verify(publicKey, message, signature.with(0, signature[0] === 0 ? 1 : 0))).toBe(false)
      expect(await verify(publicKey.subarray(1), message, signature)).toBe(false)
      expect(await verify(publicKey, message, signature.subarray(1))).toBe(false)
      expect(await verify(new Uint8Array(32).fill(0xff), message, signature)).toBe(false)
    }
  })

  test('refuses secret keys of another length', () => {
    expect(() => crypto.sign(new Uint8Array(64), utf8('x'))).toThrow(HeddleError)
    expect(() => crypto.publicKeyOf(new Uint8Array(31))).toThrow(HeddleError)
  })

  test.each(SUITES)('suite %i opens what it sealed and nothing else', (id) => {
    const suite = crypto.suite(id)
    const key = crypto.randomBytes(suite.keyBytes)
    const nonce = crypto.randomBytes(suite.nonceBytes)
    const sealed = suite.seal(key, nonce, utf8('header'), utf8('body'))
    expect(sealed).toHaveLength(4 + suite.tagBytes)
    expect(suite.open(key, nonce, utf8('header'), sealed)).toEqual(utf8('body'))
    const refused: readonly (() => Uint8Array)[] = [
      () => suite.open(key, nonce, utf8('Header'), sealed),
      () => suite.open(key, nonce, utf8('header'), sealed.with(0, (sealed[0] ?? 0) ^ 1)),
      () => suite.open(key, nonce, utf8('header'), sealed.subarray(0, -1)),
      () => suite.open(key, nonce, utf8('header'), sealed.subarray(0, 15))
    ]
    for (const open of refused) {
      expect(open).toThrow(expect.objectContaining({ name: 'HeddleError', code: 'UNDECRYPTABLE' }))
    }
  })

  test('HPKE agrees with @hpke/core both ways', async () => {
    const reference = new HpkeSuite({
      kem: new DhkemX25519HkdfSha256(),
      kdf: new HkdfSha256(),
      aead: new Aes128Gcm()
    })
    const { hpke } = crypto.suite(1).mls
    const own = await hpke.deriveKeyPair(utf8('some key material of 32 bytes...'))
    const ownPublic = await hpke.exportPublicKey(own.publicKey)
    const theirs = await reference.kem.deriveKeyPair(bufferOf(utf8('some key material of 32 bytes...')))
    expect(new Uint8Array(await reference.kem.serializePublicKey(theirs.publicKey))).toEqual(ownPublic)

    const [info, aad, plaintext] = [utf8('info'), utf8('aad'), utf8('plaintext')]
    const sealed = await hpke.seal(await hpke.importPublicKey(ownPublic), plaintext, info, aad)
    const recipient = await reference.createRecipientContext({
      recipientKey: theirs.privateKey,
      enc: bufferOf(sealed.enc),
      info: bufferOf(info)
    })
    expect(new Uint8Array(await recipient.open(bufferOf(sealed.ct), bufferOf(aad)))).toEqual(plaintext)

    const sender = await reference.createSenderContext({ recipientPublicKey: theirs.publicKey, info: bufferOf(info) })
    const ciphertext = new Uint8Array(await sender.seal(bufferOf(plaintext), bufferOf(aad)))
    expect(await hpke.open(own.privateKey, new Uint8Array(sender.enc), ciphertext, info, aad)).toEqual(plaintext)
    expect(await hpke.importSecret(own.privateKey, utf8('context'), new Uint8Array(sender.enc), 48, info)).toEqual(
      new Uint8Array(await sender.export(bufferOf(utf8('context')), 48))
    )
  })

  test('HPKE refuses keys that are none, and points of low order', async () => {
    const { hpke } = crypto.suite(1).mls
    await expect(hpke.importPublicKey(new Uint8Array(31))).rejects.toThrow(HeddleError)
    const lowOrder = await hpke.importPublicKey(new Uint8Array(32))
    await expect(hpke.seal(lowOrder, utf8('x'), utf8('info'))).rejects.toThrow()
    const { privateKey } = await hpke.generateKeyPair()
    await expect(hpke.open(privateKey, new Uint8Array(31), new Uint8Array(40), utf8('info'))).rejects.toThrow(
      HeddleError
    )
  })

  test('signs the same with a copy of the seed, and with each of many seeds its own', () => {
    const seeds = Array.from({ length: 300 }, () => crypto.randomBytes(32))
    const publicKeys = seeds.map((seed) => crypto.publicKeyOf(seed))
    for (const [i, seed] of seeds.entries()) {
      const message = Uint8Array.of(i & 0xff)
      const publicKey = publicKeys[i] ?? new Uint8Array(0)
      expect(crypto.verify(publicKey, message, crypto.sign(seed, message))).toBe(true)
      expect(crypto.sign(seed.slice(), message)).toEqual(crypto.sign(seed, message))
    }
  })
})

test('node:crypto keeps right results when its cache of public keys overflows', () => {
  const node = createNodeCrypto(seededRandom(8))
  const seed = node.randomBytes(32)
  const message = utf8('message')
  const signature = node.sign(seed, message)
  const publicKey = node.publicKeyOf(seed)
  expect(node.verify(publicKey, message, signature)).toBe(true)
  for (let other = 0; other < 4_200; other++) expect(node.verify(node.randomBytes(32), message, signature)).toBe(false)
  expect(node.verify(publicKey, message, signature)).toBe(true)
})

describe('both providers', () => {
  test.each(SUITES)('give identical results in suite %i from the same randomness', async (id) => {
    const run = async (crypto: CryptoProvider): Promise<readonly string[]> => {
      const { mls } = crypto.suite(id)
      const keys = await mls.hpke.generateKeyPair()
      const publicKey = await mls.hpke.exportPublicKey(keys.publicKey)
      const sealed = await mls.hpke.seal(keys.publicKey, utf8('secret'), utf8('info'), utf8('aad'))
      const exported = await mls.hpke.exportSecret(keys.publicKey, utf8('context'), 40, utf8('info'))
      const signing = await mls.signature.keygen()
      const aead = await mls.hpke.encryptAead(
        mls.rng.randomBytes(mls.hpke.keyLength),
        mls.rng.randomBytes(mls.hpke.nonceLength),
        undefined,
        concatBytes(publicKey, sealed.ct)
      )
      const outputs = [
        publicKey,
        await mls.hpke.exportPrivateKey(keys.privateKey),
        sealed.enc,
        sealed.ct,
        exported.enc,
        exported.secret,
        signing.publicKey,
        await mls.signature.sign(signing.signKey, utf8('message')),
        aead,
        await mls.hash.digest(aead),
        await mls.kdf.expand(await mls.kdf.extract(utf8('salt'), utf8('ikm')), utf8('info'), 77)
      ]
      return outputs.map(toHex)
    }
    expect(await run(createNodeCrypto(seededRandom(7)))).toEqual(await run(createWebCrypto(seededRandom(7))))
  })

  test('agree on signatures made to be right on one platform and wrong on another', async () => {
    const { Point, utils } = ed25519
    const order = Point.Fn.ORDER
    const message = utf8('made by a member who knows the curve')
    const torsion = Point.fromBytes(fromHex('26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05'))
    expect(torsion.isSmallOrder()).toBe(true)
    const { scalar, point, pointBytes } = utils.getExtendedPublicKey(new Uint8Array(32).fill(9))
    const sign = (key: Uint8Array, r: Uint8Array, secret = scalar, nonce = 5n): Uint8Array => {
      const k = bytesToNumberLE(sha512(concatBytes(r, key, message))) % order
      return concatBytes(r, numberToBytesLE((nonce + k * secret) % order, 32))
    }
    const honest = Point.BASE.multiply(5n)
    const good = sign(pointBytes, honest.toBytes())
    const tooLarge = concatBytes(good.subarray(0, 32), numberToBytesLE(bytesToNumberLE(good.subarray(32)) + order, 32))
    const mixedKey = point.add(torsion).toBytes()
    const identity = Point.ZERO.toBytes()
    const notCanonical = fromHex(`ee${'ff'.repeat(30)}7f`) // the identity, as p + 1
    const cases: readonly (readonly [Uint8Array, Uint8Array])[] = [
      [pointBytes, good],
      [pointBytes, sign(pointBytes, honest.add(torsion).toBytes())],
      [pointBytes, tooLarge],
      [mixedKey, sign(mixedKey, honest.toBytes())],
      [mixedKey, sign(mixedKey, honest.add(torsion).toBytes())],
      [torsion.toBytes(), sign(torsion.toBytes(), honest.toBytes(), 0n)],
      [identity, sign(identity, honest.toBytes(), 0n)],
      [identity, concatBytes(identity, new Uint8Array(32))],
      [notCanonical, sign(notCanonical, honest.toBytes(), 0n)],
      [pointBytes, concatBytes(notCanonical, sign(pointBytes, identity, scalar, 0n).subarray(32))]
    ]
    const [node, web] = [createNodeCrypto(seededRandom(1)), createWebCrypto(seededRandom(1))]
    const verdicts = cases.map(([key, signature]) => node.verify(key, message, signature))
    expect(cases.map(([key, signature]) => web.verify(key, message, signature))).toEqual(verdicts)
    expect(verdicts.slice(0, 3)).toEqual([true, false, false])
    for (const verify of [web.suite(1).mls.signature.verify, web.verifyOffThread, node.verifyOffThread])
      for (const [i, [key, signature]] of cases.entries())
        expect(await verify(key, message, signature)).toBe(verdicts[i])
  })

  test('the imports map selects node:crypto here', () => {
    expect(createCrypto).toBe(createNodeCrypto)
  })
})

function bufferOf(bytes: Uint8Array): ArrayBuffer {
  return new Uint8Array(bytes).buffer
}

describe('X-Wing', () => {
  // draft-connolly-cfrg-xwing-kem-08, appendix C, first vector; of public key and ciphertext the beginning and end.
  const secretKey = fromHex('7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26')
  const encapsulationSeed = fromHex(
    '3cb1eea988004b93103cfb0aeefd2a686e01fa4a58e8a3639ca8a1e3f9ae57e235b8cc873c23dc62b8d260169afa2f75ab916a58d974918835d25e6a435085b2'
  )
  const shared = 'd2df0522128f09dd8e2c92b1e905c793d8f57a54c3da25861f10bf4ca613e384'

  const curve = {
    x25519: (key: Uint8Array) => ({
      publicKey: x25519.getPublicKey(key),
      agree: (point: Uint8Array) => x25519.getSharedSecret(key, point)
    })
  }

  test('agrees with the X-Wing of @noble/post-quantum', () => {
    const random = seededRandom(12)
    for (let i = 0; i < 20; i++) {
      const [seed, encapsulation] = [random(32), random(64)]
      const kem = xWing(curve, (length) => (length === 32 ? seed : encapsulation).slice())
      const { publicKey, privateKey } = kem.generate()
      expect(toHex(publicKey)).toBe(toHex(XWing.getPublicKey(seed)))
      const theirs = XWing.encapsulate(publicKey, encapsulation.slice())
      const ours = kem.encapsulate(publicKey)
      expect(toHex(ours.enc)).toBe(toHex(theirs.cipherText))
      expect(toHex(ours.shared)).toBe(toHex(theirs.sharedSecret))
      expect(toHex(XWing.decapsulate(ours.enc, privateKey))).toBe(toHex(ours.shared))
      expect(toHex(kem.decapsulate(privateKey, theirs.cipherText))).toBe(toHex(theirs.sharedSecret))
      // ML-KEM rejects implicitly: another secret, no error.
      const changed = theirs.cipherText.with(0, (theirs.cipherText[0] ?? 0) ^ 1)
      expect(toHex(kem.decapsulate(privateKey, changed))).toBe(toHex(XWing.decapsulate(changed, privateKey)))
      expect(toHex(kem.decapsulate(privateKey, changed))).not.toBe(toHex(ours.shared))
    }
  })

  test('encapsulates and decapsulates as the draft’s vector says', () => {
    const kem = xWing(curve, (length) => (length === 32 ? secretKey : encapsulationSeed.slice()))
    const { publicKey, privateKey } = kem.generate()
    expect(publicKey).toHaveLength(kem.publicKeyBytes)
    expect(toHex(publicKey.subarray(0, 8))).toBe('e2236b35a8c24b39')
    expect(toHex(publicKey.subarray(-8))).toBe('c8cd049040ef6534')
    const sealed = kem.encapsulate(publicKey)
    expect(toHex(sealed.enc.subarray(0, 8))).toBe('b83aa828d4d62b9a')
    expect(toHex(sealed.enc.subarray(-8))).toBe('74a079d3e6fb2e15')
    expect(toHex(sealed.shared)).toBe(shared)
    expect(toHex(kem.decapsulate(privateKey, sealed.enc))).toBe(shared)
  })

  test('takes no bytes for a key that are none', () => {
    const kem = xWing(curve, seededRandom(11))
    const { publicKey, privateKey } = kem.generate()
    expect(kem.isPublicKey(publicKey)).toBe(true)
    const outOfRange = publicKey.slice()
    outOfRange.fill(0xff, 0, 3)
    const upperOutOfRange = publicKey.slice()
    upperOutOfRange[1] = (upperOutOfRange[1] ?? 0) | 0xf0
    upperOutOfRange[2] = 0xff
    const lowOrder = concatBytes(publicKey.subarray(0, -32), new Uint8Array(32))
    for (const none of [outOfRange, upperOutOfRange, lowOrder, publicKey.subarray(1), new Uint8Array(32)]) {
      expect(kem.isPublicKey(none)).toBe(false)
      expect(() => kem.encapsulate(none)).toThrow(expect.objectContaining({ code: 'MALFORMED' }))
    }
    const malformed = expect.objectContaining({ code: 'MALFORMED' })
    expect(() => kem.decapsulate(privateKey, new Uint8Array(1119))).toThrow(malformed)
    expect(() => kem.decapsulate(privateKey, new Uint8Array(1120))).toThrow(malformed)
  })
})

test('X25519 keys of low order are told from keys, in every encoding', () => {
  const { isHpkeKey } = createNodeCrypto(seededRandom(1)).suite(1)
  const lowOrder = [
    '00'.repeat(32),
    `01${'00'.repeat(31)}`,
    'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
    '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
    `ec${'ff'.repeat(30)}7f`,
    `ed${'ff'.repeat(30)}7f`,
    `ee${'ff'.repeat(30)}7f`
  ].map(fromHex)
  for (const point of lowOrder)
    for (const encoding of [point, point.with(31, (point[31] ?? 0) | 0x80)]) {
      expect(isHpkeKey(encoding)).toBe(false)
      // What the curve says itself.
      expect(() => x25519.getSharedSecret(new Uint8Array(32).fill(5), encoding)).toThrow()
    }
  expect(isHpkeKey(x25519.getPublicKey(new Uint8Array(32).fill(7)))).toBe(true)
  expect(isHpkeKey(new Uint8Array(31).fill(7))).toBe(false)
})

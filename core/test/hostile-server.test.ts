/**
 * A server that lies to devices in every way this file can think of, beside two honest ones and alone. The devices must
 * lose nothing, come together by the honest ones, and say that something is wrong (SPEC DEV-004, SECURITY.md).
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createCrypto } from '../src/crypto/index.js'
import type { Document, ErrorName } from '../src/index.js'
import { signedInput } from '../src/paxos/index.js'
import { loadIdentity } from '../src/server/store.js'
import {
  type DecidedSlot,
  type Envelope,
  Envelope as EnvelopeCodec,
  type Frame,
  Receipt,
  SIGNATURE_LABELS,
  type Signed,
  Vote
} from '../src/wire/index.js'
import { type SeededRandom, seededRandom } from './random.js'
import type { Liar } from './wiretap.js'
import { textOf, World } from './world.js'

const unhandled: unknown[] = []
const note = (reason: unknown) => unhandled.push(reason)
beforeAll(() => {
  process.on('unhandledRejection', note)
})
afterAll(() => {
  process.off('unhandledRejection', note)
  expect(unhandled).toEqual([])
})

type Body = NonNullable<Frame['body']>
type BodyOf<C extends Body['$case']> = Extract<Body, { readonly $case: C }>
type Lies = { readonly [C in Body['$case']]?: (value: BodyOf<C>['value']) => BodyOf<C>['value'] | undefined }

/** Rewrites what the server says, by the kind of frame; undefined drops the frame. */
const lying =
  (lies: Lies): Liar =>
  (frame, direction) => {
    const { body, request } = frame
    const lie = body && (lies[body.$case] as ((value: unknown) => unknown) | undefined)
    if (direction === 'to-server' || body === undefined || lie === undefined) return [frame]
    const value = lie(body.value)
    return value === undefined ? [] : [{ request, body: { ...body, value } as Body }]
  }

function flipped(bytes: Uint8Array, random: SeededRandom): Uint8Array {
  const out = bytes.slice()
  const at = random.below(out.length)
  out[at] = (out[at] ?? 0) ^ (1 << random.below(8))
  return out
}

const withFlipped =
  (part: keyof Envelope, random: SeededRandom) =>
  (bytes: Uint8Array): Uint8Array => {
    const envelope = EnvelopeCodec.decode(bytes)
    return EnvelopeCodec.encode({ ...envelope, [part]: flipped(envelope[part], random) })
  }

/** What a lie may need: the liar's own key, and randomness. */
interface Means {
  readonly random: SeededRandom
  sign(label: string, statement: Uint8Array): Signed
}

interface Attack {
  readonly name: string
  readonly liar: (means: Means) => Liar
  /** What the devices must have complained of. */
  readonly reported?: ErrorName
}

const envelopesLie = (change: (envelopes: readonly Uint8Array[]) => readonly Uint8Array[]): Liar =>
  lying({
    deliver: (value) => ({ ...value, envelopes: change(value.envelopes) }),
    fetched: (value) => ({ ...value, envelopes: change(value.envelopes) })
  })

const badlySigned = (signed: Signed, random: SeededRandom): Signed => ({
  ...signed,
  signature: flipped(signed.signature, random)
})

const slotsLie = (change: (slot: DecidedSlot) => DecidedSlot): Liar =>
  lying({
    decided: (value) => ({ ...value, slots: value.slots.map(change) }),
    welcomeReply: (value) => ({ ...value, decided: value.decided && change(value.decided) })
  })

const huge = 2n ** 53n - 1n

const attacks: readonly Attack[] = [
  {
    name: 'sends garbage',
    liar:
      ({ random }) =>
      (frame, direction) =>
        direction === 'to-server' ? [frame] : [random.bytes(40)]
  },
  {
    name: 'sends garbage after Hello',
    liar:
      ({ random }) =>
      (frame, direction) =>
        direction === 'to-server' || frame.body?.$case === 'helloAck' ? [frame] : [random.bytes(1 + random.below(200))]
  },
  {
    name: 'flips bits of headers',
    liar: ({ random }) => envelopesLie((all) => all.map(withFlipped('header', random)))
  },
  {
    name: 'flips bits of ciphertexts',
    liar: ({ random }) => envelopesLie((all) => all.map(withFlipped('ciphertext', random))),
    reported: 'BAD_SIGNATURE'
  },
  {
    name: 'flips bits of sender data',
    liar: ({ random }) => envelopesLie((all) => all.map(withFlipped('senderData', random))),
    reported: 'BAD_SIGNATURE'
  },
  {
    name: 'flips bits of signatures',
    liar: ({ random }) => envelopesLie((all) => all.map(withFlipped('signature', random)))
  },
  {
    name: 'cuts envelopes off',
    liar: ({ random }) => envelopesLie((all) => all.map((one) => one.subarray(0, 1 + random.below(one.length - 1)))),
    reported: 'MALFORMED'
  },
  {
    name: 'delivers everything again and backwards',
    liar: () => {
      const seen: Uint8Array[] = []
      return envelopesLie((all) => {
        seen.push(...all)
        return [...seen].reverse().slice(0, 1024)
      })
    }
  },
  { name: 'withholds envelopes', liar: () => envelopesLie(() => []) },
  {
    name: 'withholds every second envelope',
    liar: () => {
      let n = 0
      return envelopesLie((all) => all.filter(() => n++ % 2 === 0))
    }
  },
  {
    name: 'announces what nobody has sent',
    liar: ({ random }) =>
      lying({
        heads: (value) => ({
          ...value,
          heads: value.heads.map((head) => ({ ...head, seq: huge, hash: random.bytes(32) }))
        }),
        subscribed: (value) => ({
          ...value,
          heads: value.heads.map((head) => ({ ...head, seq: head.seq + 1_000n, hash: random.bytes(32) }))
        })
      })
  },
  {
    name: 'says it has nothing',
    liar: () => lying({ heads: () => undefined, subscribed: (value) => ({ ...value, heads: [], position: 0n }) })
  },
  {
    name: 'signs receipts badly',
    liar: ({ random }) =>
      lying({
        receipts: ({ receipts }) => ({ receipts: receipts.map((one) => badlySigned(one, random)) })
      }),
    reported: 'BAD_SIGNATURE'
  },
  {
    name: 'receipts other messages',
    liar: ({ random, sign }) =>
      lying({
        receipts: ({ receipts }) => ({
          receipts: receipts.map(({ statement }) => {
            const receipt = Receipt.decode(statement)
            const head = { ...receipt.head, hash: random.bytes(32) }
            return sign(SIGNATURE_LABELS.Receipt, Receipt.encode({ ...receipt, head }))
          })
        })
      }),
    reported: 'SEQUENCE_CONFLICT'
  },
  {
    name: 'receipts messages that were never sent',
    liar: ({ sign }) =>
      lying({
        receipts: ({ receipts }) => ({
          receipts: receipts.map(({ statement }) => {
            const receipt = Receipt.decode(statement)
            const head = { ...receipt.head, seq: receipt.head.seq + 5n }
            return sign(SIGNATURE_LABELS.Receipt, Receipt.encode({ ...receipt, head }))
          })
        })
      }),
    reported: 'SEQUENCE_CONFLICT'
  },
  { name: 'receipts nothing', liar: () => lying({ receipts: () => ({ receipts: [] }) }) },
  {
    name: 'changes certificates',
    liar: ({ random }) =>
      slotsLie((slot) => ({
        ...slot,
        certificate: { votes: slot.certificate.votes.map((vote) => badlySigned(vote, random)) }
      })),
    reported: 'BAD_SIGNATURE'
  },
  {
    name: 'counts one vote twice',
    liar: () =>
      slotsLie((slot) => {
        const [vote] = slot.certificate.votes
        return vote === undefined ? slot : { ...slot, certificate: { votes: [vote, vote] } }
      }),
    reported: 'BAD_SIGNATURE'
  },
  {
    name: 'changes decided values',
    liar: ({ random }) => slotsLie((slot) => ({ ...slot, value: flipped(slot.value, random) })),
    reported: 'BAD_SIGNATURE'
  },
  {
    name: 'tells slots far ahead',
    liar: () => slotsLie((slot) => ({ ...slot, slot: slot.slot + 1_000n }))
  },
  {
    name: 'keeps decisions back',
    liar: () => lying({ decided: (value) => ({ ...value, slots: [] }), welcomeReply: () => undefined })
  },
  {
    name: 'gives joiners another ratchet tree',
    liar: ({ random }) => lying({ welcomeReply: (value) => ({ ...value, tree: flipped(value.tree, random) }) })
  },
  {
    name: 'signs promises and votes badly',
    liar: ({ random }) =>
      lying({
        promise: (value) => ({ ...value, promise: badlySigned(value.promise, random) }),
        vote: (value) => ({ ...value, vote: badlySigned(value.vote, random) })
      }),
    reported: 'INVALID'
  },
  {
    name: 'votes for what nobody proposed',
    liar: ({ random, sign }) =>
      lying({
        vote: ({ vote }) => ({
          vote: sign(
            SIGNATURE_LABELS.Vote,
            Vote.encode({ ...Vote.decode(vote.statement), valueHash: random.bytes(32) })
          )
        })
      })
  },
  {
    name: 'answers proposals with values of its own',
    liar: ({ random }) => lying({ promise: (value) => ({ ...value, value: random.bytes(100) }) }),
    reported: 'INVALID'
  },
  {
    name: 'is at huge positions',
    liar: () =>
      lying({
        deliver: (value) => ({ ...value, afterPosition: huge - 1n, throughPosition: huge }),
        heads: (value) => ({ ...value, throughPosition: huge }),
        subscribed: (value) => ({ ...value, position: huge })
      })
  },
  { name: 'is in a slot far ahead', liar: () => lying({ subscribed: (value) => ({ ...value, slot: huge }) }) },
  { name: 'is in the first slot for ever', liar: () => lying({ subscribed: (value) => ({ ...value, slot: 0n }) }) },
  {
    name: 'closes at random',
    liar:
      ({ random }) =>
      (frame) =>
        random.below(4) === 0 ? 'close' : [frame]
  },
  { name: 'never answers', liar: () => (frame, direction) => (direction === 'to-device' ? [] : [frame]) },
  {
    name: 'never answers after Hello',
    liar: () => (frame, direction) => (direction === 'to-device' && frame.body?.$case !== 'helloAck' ? [] : [frame])
  },
  {
    name: 'answers with the wrong frame',
    liar: () => (frame, direction) =>
      direction === 'to-server' || frame.request === 0n || frame.body?.$case === 'helloAck'
        ? [frame]
        : [{ request: frame.request, body: { $case: 'pong', value: { nonce: 1n } } }]
  },
  {
    name: 'floods with problems',
    liar: () => (frame, direction) => {
      if (direction === 'to-server' || frame.body?.$case !== 'deliver') return [frame]
      const { group } = frame.body.value
      const problem = { code: 11, message: 'no', group, slot: 0n, retryAfterMs: 0 }
      return [
        frame,
        ...Array.from({ length: 20 }, () => ({ request: 0n, body: { $case: 'problem', value: problem } }) as const)
      ]
    }
  },
  {
    name: 'repeats every frame',
    liar: () => (frame, direction) =>
      direction === 'to-server' || frame.request !== 0n ? [frame] : [frame, frame, frame]
  }
]

async function meansOf(world: World, server: string, seed: number): Promise<Means> {
  const disk = world.disk(server)
  const random = seededRandom(seed)
  const storage = { get: async (key: Uint8Array) => disk.get(key) } as Parameters<typeof loadIdentity>[0]
  const secretKey = await loadIdentity(storage, () => {
    throw new Error('the server has no identity yet')
  })
  const crypto = createCrypto((length) => random.bytes(length))
  return {
    random,
    sign: (label, statement) => ({ statement, signature: crypto.sign(secretKey, signedInput(label, statement)) })
  }
}

const problemsOf = (document: Document): ErrorName[] => {
  const codes: ErrorName[] = []
  document.subscribe((event) => event.type === 'problem' && codes.push(event.error.code))
  return codes
}

const count = (document: Document, word: string): number => textOf(document).toString().split(word).length - 1

describe('beside two honest servers, one that', () => {
  attacks.forEach(({ name, liar, reported }, index) => {
    it(`${name} costs nothing`, async () => {
      // The lying one is the nearest, so that it is believed to stream and heard before the others.
      const world = await World.create({ seed: 100 + index, nearest: 'server-1' })
      const ada = await world.openDevice('ada')
      const doc = await world.settle(ada.create({ servers: world.tickets }))
      const bob = await world.openDevice('bob')
      const lie = liar(await meansOf(world, 'server-1', index))
      world.tap.liars.set('server-1', lie)
      const copy = await world.settle(bob.join(await world.settle(doc.invite())))
      const problems = [problemsOf(doc), problemsOf(copy)]
      for (const [document, word] of [
        [doc, 'a1'],
        [copy, 'b1'],
        [doc, 'a2'],
        [copy, 'b2']
      ] as const) {
        textOf(document).insert(0, `${word} `)
        await world.pass(40)
      }
      await world.settle(doc.rotate())
      textOf(copy).insert(0, 'b3 ')
      await world.settle(copy.rotate())
      world.cut('bob')
      textOf(copy).insert(0, 'b4 ')
      textOf(doc).insert(0, 'a3 ')
      await world.pass(200)
      world.heal('bob')
      const carol = await world.openDevice('carol')
      const third = await world.settle(carol.join(await world.settle(doc.invite())))
      textOf(third).insert(0, 'c1 ')
      const all = [doc, copy, third]
      await world.settle(Promise.all(all.map((one) => one.settled('safe'))))
      await world.until(() => all.every((one) => textOf(one).toString() === textOf(doc).toString()))
      for (const word of ['a1', 'a2', 'a3', 'b1', 'b2', 'b3', 'b4', 'c1']) expect(count(doc, word), word).toBe(1)
      expect(all.map((one) => one.members().length)).toEqual([3, 3, 3])
      if (reported !== undefined) expect(problems.flat()).toContain(reported)
      world.tap.liars.clear()
      await world.dispose()
      expect(unhandled).toEqual([])
    })
  })
})

describe('alone, a server that', () => {
  attacks.forEach(({ name, liar }, index) => {
    it(`${name} does not keep anybody from writing`, async () => {
      const world = await World.create({ seed: 200 + index })
      const ada = await world.openDevice('ada')
      const doc = await world.settle(ada.create({ servers: world.tickets }))
      const bob = await world.openDevice('bob')
      const copy = await world.settle(bob.join(await world.settle(doc.invite())))
      await world.settle(Promise.all([doc.settled('safe'), copy.settled('safe')]))
      for (const honest of ['server-2', 'server-3']) await world.kill(honest)
      world.tap.liars.set('server-1', liar(await meansOf(world, 'server-1', index)))
      await world.kill('ada')
      const reopened = await world.settle((await world.openDevice('ada')).open(doc.id))
      for (let i = 0; i < 5; i++) {
        textOf(reopened).insert(0, `a${i} `)
        textOf(copy).insert(0, `b${i} `)
        await world.settle(Promise.all([reopened.settled('stored'), copy.settled('stored')]))
        await world.pass(300)
      }
      // Then the liar is away, and the honest ones are back.
      await world.kill('server-1')
      world.tap.liars.clear()
      for (const honest of ['server-2', 'server-3']) await world.startServer(honest)
      await world.settle(Promise.all([reopened.settled('safe'), copy.settled('safe')]))
      await world.until(() => textOf(reopened).toString() === textOf(copy).toString())
      for (let i = 0; i < 5; i++) for (const word of [`a${i}`, `b${i}`]) expect(count(copy, word), word).toBe(1)
      await world.dispose()
      expect(unhandled).toEqual([])
    })
  })
})

describe('a certified Welcome for others (JOIN-007)', () => {
  it('is passed over, and the joiner waits for its own from other servers', async () => {
    const world = await World.create({ seed: 303 })
    const doc = await world.settle((await world.openDevice('ada')).create({ servers: world.tickets }))
    let others: BodyOf<'welcomeReply'> | undefined
    world.tap.liars.set('server-1', (frame, direction, device) => {
      const { body } = frame
      if (direction === 'to-server' || (body?.$case !== 'welcomeReply' && body?.$case !== 'problem')) return [frame]
      if (device === 'carl' && body.$case === 'welcomeReply') others = body
      return device === 'bob' && others !== undefined ? [{ ...frame, body: others }] : [frame]
    })
    world.cutBetween('carl', 'server-2')
    world.cutBetween('carl', 'server-3')
    await world.settle((await world.openDevice('carl')).join(await world.settle(doc.invite())))
    expect(others).toBeDefined()
    const link = await world.settle(doc.invite())
    for (const far of ['server-2', 'server-3']) world.cutBetween('bob', far)
    const device = await world.openDevice('bob')
    const joining = device.join(link)
    const refused = () => world.logged.filter(({ node, event }) => node === 'bob' && event === 'welcome.bad')
    await world.until(() => refused().length > 0)
    expect(refused()[0]?.fields).toMatchObject({ code: 'INVALID', message: 'it is for others' })
    await world.pass(10_000)
    expect(await device.documents()).toEqual([])
    for (const far of ['server-2', 'server-3']) world.healBetween('bob', far)
    expect((await world.settle(joining)).members()).toHaveLength(3)
    world.tap.liars.clear()
    await world.dispose()
  })
})

describe('a ratchet tree that is not the one of the Welcome (JOIN-008)', () => {
  const otherTrees = async (world: World, servers: readonly string[]) => {
    for (const [i, server] of servers.entries()) {
      const { random } = await meansOf(world, server, i)
      const welcomeReply = (value: BodyOf<'welcomeReply'>['value']) => ({ ...value, tree: flipped(value.tree, random) })
      world.tap.liars.set(server, lying({ welcomeReply }))
    }
  }
  const warnings = (world: World) =>
    new Set(world.logged.filter(({ event }) => event === 'welcome.bad').map(({ fields }) => fields?.server)).size

  it('is taken for the lie of the server that gave it, as long as there are others', async () => {
    const world = await World.create({ seed: 301 })
    const doc = await world.settle((await world.openDevice('ada')).create({ servers: world.tickets }))
    await otherTrees(world, ['server-1', 'server-3'])
    const joining = (await world.openDevice('bob')).join(await world.settle(doc.invite()))
    world.cutBetween('bob', 'server-2')
    await world.until(() => warnings(world) === 2)
    world.healBetween('bob', 'server-2')
    expect((await world.settle(joining)).members()).toHaveLength(2)
    await world.dispose()
  })

  it('ends the joining when all servers give it: then it is the Welcome that lies', async () => {
    const world = await World.create({ seed: 302 })
    const doc = await world.settle((await world.openDevice('ada')).create({ servers: world.tickets }))
    await otherTrees(world, ['server-1', 'server-2', 'server-3'])
    const joining = (await world.openDevice('bob')).join(await world.settle(doc.invite()))
    await expect(world.settle(joining)).rejects.toMatchObject({ code: 'INVALID', info: { otherTree: true } })
    await world.dispose()
  })

  it('is not what a device enters a branch by', async () => {
    const world = await World.create({ seed: 303 })
    const doc = await world.settle((await world.openDevice('ada')).create({ servers: world.tickets }))
    const bob = await world.openDevice('bob')
    await world.settle(bob.join(await world.settle(doc.invite())))
    await otherTrees(world, ['server-1', 'server-2'])
    for (const server of ['server-3']) world.cutBetween('bob', server)
    const branch = await world.settle(doc.branch())
    await world.pass(20_000)
    expect(await world.settle(bob.documents())).toEqual([doc.id])
    world.healBetween('bob', 'server-3')
    await world.pass(20_000)
    expect(await world.settle(bob.documents())).toContain(branch.id)
    await world.dispose()
  })
})

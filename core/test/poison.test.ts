/**
 * Poison commits (SPEC GROUP-011, DEV-040 to DEV-044): a member commits what only some of the others can process, which no
 * server can see. Who cannot comes back by itself, loses nothing and disturbs nobody.
 */
import { afterEach, describe, expect, it, vi } from 'vitest'
import { concatBytes, emptyBytes, equalBytes, fromHex, utf8 } from '../src/bytes.js'
import { type CipherSuite, createCrypto } from '../src/crypto/index.js'
import { MemberGroup, PublicGroup } from '../src/group/index.js'
import {
  createGroupInfo,
  encodeGroupInfoMessage,
  externalPubExtension,
  ratchetTreeExtension
} from '../src/group/mls/index.js'
import type { Document, HeddleError } from '../src/index.js'
import { EnvelopeHeader, EnvelopeKind, RejoinKey } from '../src/wire/index.js'
import { textOf, World, type WorldOptions } from './world.js'

afterEach(() => {
  vi.restoreAllMocks()
})

const write = (document: Document, word: string): void => textOf(document).insert(0, `${word} `)
const read = (document: Document): string => textOf(document).toString()
const wordsOf = (document: Document): string[] => read(document).split(' ').filter(Boolean).sort()
const idOf = (document: Document): Uint8Array => fromHex(document.memberId) ?? new Uint8Array(0)

function problemsOf(document: Document): HeddleError[] {
  const problems: HeddleError[] = []
  document.subscribe((event) => event.type === 'problem' && problems.push(event.error))
  return problems
}

/** Mallory sits at leaf 1, bob and carol at 2 and 3 under a node without keys: each gets a ciphertext of its own. */
async function party(
  seed: number,
  carol: 'editor' | 'reader' = 'editor',
  options: Pick<WorldOptions, 'commitMs' | 'limits'> = {}
) {
  const world = await World.create({ seed, ...options })
  const device = await world.openDevice('ada')
  const ada = await world.settle(device.create({ servers: world.tickets }))
  const join = async (name: string, role: 'admin' | 'editor' | 'reader') => {
    const joiner = await world.openDevice(name)
    return await world.settle(joiner.join(await world.settle(ada.invite({ role }))))
  }
  const mallory = await join('mallory', 'editor')
  const bob = await join('bob', 'admin')
  const third = await join('carol', carol)
  write(ada, 'start')
  const all = [ada, mallory, bob, third] as const
  await world.until(() => all.every((one) => read(one) === 'start ' && one.status().epoch === ada.status().epoch))
  return { world, ada, mallory, bob, carol: third, all }
}

/** Stands in for secret keys of which only the public one matters. */
const someKey = new Uint8Array(32).fill(7)

type Victim = 'ada' | 'bob' | 'carol'
const order: readonly Victim[] = ['ada', 'bob', 'carol']

/** Mallory commits new keys, and what the victims get of them is damaged. */
async function poison(world: World, mallory: Document, victims: readonly Victim[]): Promise<bigint> {
  const { buildCommit } = MemberGroup.prototype
  let sealed = -1
  const suiteOf = Object.getOwnPropertyDescriptor(PublicGroup.prototype, 'suite')?.get
  const honest = (group: PublicGroup): CipherSuite => suiteOf?.call(group) as CipherSuite
  const suites = vi.spyOn(PublicGroup.prototype, 'suite', 'get').mockImplementation(function (this: PublicGroup) {
    const suite = honest(this)
    if (sealed < 0) return suite
    const { hpke } = suite.mls
    const seal: typeof hpke.seal = async (...args) => {
      const { ct, enc } = await hpke.seal(...args)
      const victim = order[sealed++]
      return { enc, ct: victim !== undefined && victims.includes(victim) ? ct.with(0, (ct[0] ?? 0) ^ 1) : ct }
    }
    return { ...suite, mls: { ...suite.mls, hpke: { ...hpke, seal } } }
  })
  const builds = vi.spyOn(MemberGroup.prototype, 'buildCommit').mockImplementation(async function (
    this: MemberGroup,
    plan
  ) {
    if (!equalBytes(this.memberId, idOf(mallory))) return await buildCommit.call(this, plan)
    sealed = 0
    const built = await buildCommit.call(this, plan)
    expect(sealed).toBe(order.length)
    sealed = -1
    return built
  })
  const slot = mallory.status().epoch
  await world.settle(mallory.rotate())
  builds.mockRestore()
  suites.mockRestore()
  return slot
}

const areEven = (documents: readonly Document[]): boolean => {
  const [first, ...others] = documents
  return others.every((one) => first !== undefined && read(one) === read(first) && one.status().lacking === 0)
}

const areBack = (documents: readonly Document[]): boolean =>
  documents.every((one) => one.status().stuck === undefined && one.status().epoch === documents[0]?.status().epoch)

describe('a device that cannot process a decided commit', () => {
  it.each(['editor', 'reader'] as const)('comes back by itself, being %s, and nothing is lost', async (role) => {
    const { world, ada, mallory, bob, carol, all } = await party(8001, role)
    const problems = problemsOf(carol)
    const undisturbed = [ada, mallory, bob].map(problemsOf)
    const slot = await poison(world, mallory, ['carol'])
    await world.until(() => carol.status().stuck !== undefined)
    expect(carol.status()).toMatchObject({ epoch: slot, stuck: { slot, by: mallory.memberId, recovery: 'asking' } })
    // What is sealed now carol has no key of, before or after.
    await world.until(() => [ada, bob].every((one) => one.status().epoch === slot + 1n))
    write(ada, 'hers')
    if (role === 'editor') write(carol, 'mine')
    write(bob, 'his')
    await world.until(() => areBack(all) && areEven(all))
    const own = role === 'editor' ? ['mine'] : []
    for (const one of all) expect(wordsOf(one)).toEqual(['hers', 'his', ...own, 'start'])
    expect(problems.map(({ info }) => info)).toEqual([{ slot, member: mallory.memberId }])
    expect(undisturbed.flat()).toEqual([])
    // And it is a member like any other.
    await world.settle(carol.rotate())
    write(ada, 'later')
    await world.until(() => areBack(all) && areEven(all) && read(carol).includes('later'))
    await world.dispose()
  })

  it('and another one with it both come back, one after the other', async () => {
    const { world, mallory, bob, carol, all } = await party(8003)
    await poison(world, mallory, ['bob', 'carol'])
    await world.until(() => bob.status().stuck !== undefined && carol.status().stuck !== undefined)
    write(bob, 'his')
    write(carol, 'mine')
    await world.until(() => areBack(all) && areEven(all), 120_000)
    for (const one of all) expect(wordsOf(one)).toEqual(['his', 'mine', 'start'])
    await world.dispose()
  })

  it('comes back once somebody is there who can help, and says that nobody is until then', async () => {
    const { world, ada, mallory, bob, carol } = await party(8004)
    await world.settle(world.stop('bob'))
    const slot = await poison(world, mallory, ['carol'])
    await world.until(() => carol.status().stuck !== undefined)
    world.cut('ada')
    write(carol, 'mine')
    await world.until(() => carol.status().stuck?.recovery === 'impossible', 600_000)
    const { stuck } = carol.status()
    expect(stuck).toMatchObject({ slot, by: mallory.memberId })
    expect(stuck?.message).toMatch(/remove it and invite it again.*branch/)
    world.heal('ada')
    await world.until(() => areBack([ada, mallory, carol]) && areEven([ada, mallory, carol]), 600_000)
    const again = await world.settle((await world.openDevice('bob')).open(ada.id))
    await world.until(() => areBack([ada, again]) && areEven([ada, mallory, again, carol]), 120_000)
    expect(wordsOf(again)).toEqual(['mine', 'start'])
    expect(bob.id).toBe(again.id)
    await world.dispose()
  })

  it('says which servers have no room for what it would be answered', async () => {
    const { world, mallory, carol } = await party(8013, 'editor', { limits: () => ({ mailboxesOfOthersMax: 0 }) })
    const problems = problemsOf(carol)
    await poison(world, mallory, ['carol'])
    await world.until(() => carol.status().stuck !== undefined)
    const refusals = () => problems.filter(({ code }) => code === 'LIMIT_EXCEEDED')
    await world.until(() => refusals().length === 3)
    expect(refusals()[0]?.message).toMatch(/^server [0-9a-f]{8} refuses the mailbox in which this device would be told/)
    await world.pass(60_000)
    expect(refusals()).toHaveLength(3)
    await world.dispose()
  })

  it('tries again when other commits are decided first', async () => {
    const { world, ada, mallory, carol, all } = await party(8007)
    const slot = await poison(world, mallory, ['carol'])
    await world.until(() => carol.status().stuck !== undefined)
    let tries = 0
    const { resync } = MemberGroup.prototype
    vi.spyOn(MemberGroup.prototype, 'resync').mockImplementation(async function (this: MemberGroup, basis) {
      const built = await resync.call(this, basis)
      // Whoever wants the slot as well has it before this is durable.
      if (tries++ === 0) {
        world.cut('carol')
        void ada.rotate().then(() => world.heal('carol'))
      }
      return built
    })
    await world.until(() => areBack(all) && areEven(all), 120_000)
    expect(tries).toBe(2)
    expect(carol.status().epoch).toBe(slot + 3n)
    await world.dispose()
  })

  it('like all but its author goes on editing with them, and says that nobody can help', async () => {
    const { world, mallory, ada, bob, carol } = await party(8008)
    const stuck = [ada, bob, carol]
    const slot = await poison(world, mallory, ['ada', 'bob', 'carol'])
    await world.until(() => stuck.every((one) => one.status().stuck?.recovery === 'impossible'), 600_000)
    for (const one of stuck) {
      expect(one.status()).toMatchObject({ epoch: slot, stuck: { slot, by: mallory.memberId } })
      write(one, one === ada ? 'hers' : one === bob ? 'his' : 'mine')
    }
    await world.until(() => areEven(stuck) && wordsOf(ada).length === 4)
    await world.dispose()
  })

  it('knows that it is, and in which epoch the others are, after a restart without servers', async () => {
    const { world, ada, mallory, bob, carol } = await party(8009)
    world.cut('ada')
    world.cut('bob')
    const slot = await poison(world, mallory, ['carol'])
    await world.settle(mallory.rotate())
    await world.until(() => carol.status().stuck !== undefined)
    await world.pass(5_000)
    await world.settle(world.stop('carol'))
    world.cut('carol')
    const again = await world.settle((await world.openDevice('carol')).open(ada.id))
    await world.until(() => again.status().stuck !== undefined)
    expect(again.status()).toMatchObject({ epoch: slot, stuck: { slot, by: mallory.memberId, recovery: 'asking' } })
    write(again, 'mine')
    await world.settle(again.settled('stored'))
    for (const host of ['carol', 'ada', 'bob']) world.heal(host)
    const all = [ada, mallory, bob, again]
    await world.until(() => areBack(all) && areEven(all), 300_000)
    for (const one of all) expect(wordsOf(one)).toEqual(['mine', 'start'])
    await world.dispose()
  })

  it('keeps what is edited meanwhile from who was removed since', async () => {
    const { world, ada, mallory, bob, carol, all } = await party(8006)
    const { encrypt } = MemberGroup.prototype
    const sealed: bigint[] = []
    vi.spyOn(MemberGroup.prototype, 'encrypt').mockImplementation(function (this: MemberGroup, plaintext, aad) {
      const { kind } = EnvelopeHeader.decode(aad)
      if (kind === EnvelopeKind.ENVELOPE_KIND_UPDATE && equalBytes(this.memberId, idOf(carol))) sealed.push(this.epoch)
      return encrypt.call(this, plaintext, aad)
    })
    world.cut('carol')
    const slot = await poison(world, mallory, ['carol'])
    await world.settle(ada.remove(bob.memberId))
    world.cut('ada')
    world.heal('carol')
    await world.until(() => carol.status().stuck !== undefined && carol.members().length === 4)
    await world.pass(5_000)
    write(carol, 'secret')
    await world.settle(carol.settled('stored'))
    await world.pass(20_000)
    expect(carol.status()).toMatchObject({ epoch: slot, unsent: 1, stuck: { recovery: 'asking' } })
    expect(sealed).toEqual([])
    world.heal('ada')
    const left = all.filter((one) => one !== bob)
    await world.until(() => areBack(left) && areEven(left), 300_000)
    expect(sealed.length).toBeGreaterThan(0)
    expect(sealed.every((epoch) => epoch > slot + 1n)).toBe(true)
    // What counts of whom was removed meanwhile, it knows as the others do.
    const standings = concatBytes(utf8('d'), fromHex(ada.id) ?? emptyBytes, utf8('r'))
    const lt = concatBytes(standings, new Uint8Array(17).fill(255))
    expect(world.disk('carol').page({ gte: standings, lt })).toHaveLength(1)
    expect(wordsOf(ada)).toEqual(['secret', 'start'])
    expect(wordsOf(bob)).toEqual(['start'])
    await world.dispose()
  })

  it('goes on to come back in every moment after it has died', async () => {
    for (const when of ['before', 'after'] as const) {
      let died = true
      let nth = 0
      for (nth = 1; died; nth++) {
        const { world, ada, mallory, bob, carol } = await party(8100, 'editor', { commitMs: 30 })
        world.cut('carol')
        write(carol, 'mine')
        await world.settle(carol.settled('stored'))
        const slot = await poison(world, mallory, ['carol'])
        write(ada, 'hers')
        const crash = world.crashAt('carol', nth, when)
        world.heal('carol')
        await world.until(() => crash.happened || carol.status().epoch > slot, 120_000)
        died = crash.happened
        world.calm('carol')
        const again = died ? await world.settle((await world.openDevice('carol')).open(ada.id)) : carol
        const all = [ada, mallory, bob, again]
        await world.until(() => areBack(all) && areEven(all) && again.status().epoch > slot + 1n, 300_000)
        // By the commit it had proposed, where it had proposed one.
        expect(again.status().epoch).toBe(slot + 2n)
        for (const one of all) expect(wordsOf(one)).toEqual(['hers', 'mine', 'start'])
        await world.dispose()
      }
      // It has at least followed, asked, built and come back.
      expect(nth).toBeGreaterThan(5)
    }
  }, 60_000)

  it('is told what to do when somebody has joined since, and an admin can bring it back', async () => {
    const { world, ada, mallory, carol } = await party(8005)
    world.cut('carol')
    const slot = await poison(world, mallory, ['carol'])
    const dora = await world.settle((await world.openDevice('dora')).join(await world.settle(ada.invite())))
    world.heal('carol')
    await world.until(() => carol.status().stuck?.recovery === 'impossible', 120_000)
    expect(carol.status().stuck).toMatchObject({ slot, by: mallory.memberId })
    expect(carol.status().stuck?.message).toMatch(/have an admin remove it and invite it again/)
    write(carol, 'mine')
    await world.settle(carol.settled('stored'))
    await world.settle(ada.remove(carol.memberId))
    await world.until(() => carol.status().connection === 'removed')
    expect(wordsOf(carol)).toContain('mine')
    expect(dora.status().stuck).toBeUndefined()
    await world.dispose()
  })

  it('does not come back by what the policy of a time between has made the others forget', async () => {
    const { world, ada, mallory, bob, carol } = await party(8015)
    await poison(world, mallory, ['carol'])
    await world.until(() => carol.status().stuck !== undefined)
    // It has asked already, and is answered when the policy is what it was.
    await world.pass(50)
    const { retainedEpochs } = ada.policy()
    await world.settle(ada.setPolicy({ retainedEpochs: 1 }))
    await world.settle(ada.setPolicy({ retainedEpochs }))
    const { epoch } = ada.status()
    await world.until(() => carol.status().stuck?.recovery === 'impossible', 20_000)
    expect(carol.status().stuck?.message).toMatch(/have an admin remove it and invite it again/)
    // What it seals now, they cannot open either.
    const { sent } = carol.status()
    write(carol, 'mine')
    await world.settle(carol.settled('stored'))
    await world.pass(10_000)
    expect(carol.status()).toMatchObject({ sent, unsent: 1 })
    expect([ada, mallory, bob].map((one) => one.status())).toEqual(
      Array(3).fill(expect.objectContaining({ epoch, stuck: undefined }))
    )
    await world.dispose()
  })
})

describe('what a stuck device is answered', () => {
  /** Changes the keys that this member puts into mailboxes; `hurry` makes it the first to answer. */
  function lie(
    liar: Document,
    change: (key: Awaited<ReturnType<typeof RejoinKey.decode>>) => Uint8Array
  ): () => number {
    const { encode } = RejoinKey
    const leaf = liar.members().findIndex(({ id }) => id === liar.memberId)
    let lies = 0
    vi.spyOn(RejoinKey, 'encode').mockImplementation((key) => {
      if (key.signer !== leaf) return encode(key)
      lies++
      return change({ ...key, signature: key.signature ?? new Uint8Array(64) } as never)
    })
    return () => lies
  }
  const encodeKey = RejoinKey.encode

  it('with a forged signature or garbage is refused, and the next one is used', async () => {
    const { world, ada, mallory, bob, carol, all } = await party(8010)
    const problems = problemsOf(carol)
    const lies = lie(ada, (key) =>
      encodeKey({ ...key, externalPub: key.externalPub.with(3, (key.externalPub[3] ?? 0) ^ 1) })
    )
    world.cut('bob')
    await poison(world, mallory, ['carol'])
    await world.until(() => problems.some(({ message }) => message.includes('a key to come back by is refused')))
    expect(lies()).toBeGreaterThan(0)
    expect(carol.status().stuck?.recovery).toBe('asking')
    world.heal('bob')
    await world.until(() => areBack(all) && areEven(all), 300_000)
    expect(bob.status().stuck).toBeUndefined()
    await world.dispose()
  })

  it('with another key than another member gives is used by nobody, until more say the same', async () => {
    const { world, mallory, bob, carol, all } = await party(8013)
    const problems = problemsOf(carol)
    const { groupInfo } = MemberGroup.prototype
    const lies = vi.spyOn(MemberGroup.prototype, 'groupInfo').mockImplementation(async function (
      this: MemberGroup,
      options = {}
    ) {
      if (options.externalPub !== true || !equalBytes(this.memberId, idOf(bob))) return groupInfo.call(this, options)
      // A good key of its own making, under a good signature.
      const { suite, state } = this.public
      const own = externalPubExtension(createCrypto((length) => new Uint8Array(length).fill(9)).publicKeyOf(someKey))
      const signature = {
        ...suite.mls.signature,
        sign: async (_: Uint8Array, message: Uint8Array) => this.sign(message)
      }
      const lying = { ...suite, mls: { ...suite.mls, signature } }
      return encodeGroupInfoMessage(
        await createGroupInfo(state, this.me.leafIndex, someKey, [own, ratchetTreeExtension(state)], lying)
      )
    })
    await poison(world, mallory, ['carol'])
    await world.until(() => problems.some(({ code }) => code === 'FORK'), 120_000)
    await world.pass(5_000)
    expect(carol.status().stuck?.recovery).toBe('asking')
    lies.mockRestore()
    await world.until(() => areBack(all) && areEven(all), 300_000)
    await world.dispose()
  })

  it('by who made the poison is not used, though it is signed by a member', async () => {
    const { world, ada, mallory, bob, carol, all } = await party(8011)
    let asked = 0
    const { groupInfo } = MemberGroup.prototype
    vi.spyOn(MemberGroup.prototype, 'groupInfo').mockImplementation(function (this: MemberGroup, options) {
      if (options?.externalPub === true && equalBytes(this.memberId, idOf(mallory))) asked++
      return groupInfo.call(this, options)
    })
    await poison(world, mallory, ['carol'])
    await world.until(() => carol.status().stuck !== undefined)
    world.cut('ada')
    world.cut('bob')
    await world.until(() => asked > 2, 300_000)
    await world.pass(10_000)
    expect(carol.status().stuck?.recovery).toBe('asking')
    world.heal('ada')
    world.heal('bob')
    await world.until(() => areBack(all) && areEven(all), 300_000)
    expect([ada, bob].map((one) => one.status().stuck)).toEqual([undefined, undefined])
    await world.dispose()
  })

  it('through a server that changes it is refused, and the other servers’ is used', async () => {
    const { world, mallory, carol, all } = await party(8012)
    const problems = problemsOf(carol)
    let changed = 0
    world.tap.liars.set('server-1', (frame, direction) => {
      const { body } = frame
      if (direction === 'to-server' || body?.$case !== 'mailboxItems') return [frame]
      changed++
      const items = body.value.items.map((item) => item.with(item.length - 1, (item.at(-1) ?? 0) ^ 1))
      return [{ ...frame, body: { $case: 'mailboxItems', value: { ...body.value, items } } }]
    })
    await poison(world, mallory, ['carol'])
    await world.until(() => areBack(all) && areEven(all) && carol.status().epoch > 0n, 120_000)
    await world.pass(5_000)
    expect(changed).toBeGreaterThan(0)
    expect(problems.every(({ info, message }) => info.slot !== undefined || message.includes('is refused'))).toBe(true)
    world.tap.liars.clear()
    await world.dispose()
  })
})

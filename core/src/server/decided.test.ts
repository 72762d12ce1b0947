import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { toHex } from '../bytes.js'
import { parseVote, signedInput } from '../paxos/index.js'
import {
  type DecidedSlot,
  NackReason,
  Role,
  SIGNATURE_LABELS,
  SubscribeMode,
  Value,
  ValueContent
} from '../wire/index.js'
import { codeOf, isNews, problemOf } from './testing/expect.js'
import { type ServerHost, type TestDevice, World } from './testing/world.js'

let world: World
let hosts: readonly [ServerHost, ServerHost, ServerHost]
let admin: TestDevice
beforeEach(async () => {
  world = await World.start(3)
  hosts = world.hosts as unknown as typeof hosts
  admin = await world.device()
  await admin.create(hosts)
})
afterEach(() => world[Symbol.asyncDispose]())

const decidedSlots = async (device: TestDevice, host: ServerHost, fromSlot = 0n) => {
  const { channel } = await device.to(host)
  return (await channel.request({ $case: 'catchUp', value: { group: device.groupId, fromSlot } })).value.slots
}

describe('deciding a commit', () => {
  it('works with a quorum, and whoever missed it is told later', async () => {
    const [a, b, c] = hosts
    const decided = await admin.decide([a, b])
    await admin.tell(a, decided)
    expect((await decidedSlots(admin, a)).map(({ slot }) => slot)).toEqual([0n])
    expect(await decidedSlots(admin, c)).toEqual([])
    // One device's word is as good as another's: the certificate proves it.
    const stranger = await world.device()
    const { channel } = await stranger.to(c)
    await channel.request({ $case: 'decided', value: { group: admin.groupId, slots: [decided] } })
    expect((await admin.subscribe(c)).slot).toBe(1n)
    expect(c.server.stats().counts.decided).toBe(1)
  })

  it('pushes votes and the decided slot to subscribers in both modes', async () => {
    const [a] = hosts
    const one = await admin.add(hosts)
    const two = await world.device()
    const second = await admin.commit(hosts, { adds: [{ keyPackage: two.keyPackage.message }] })
    await two.join(second, admin.group.public.ratchetTree())
    await one.subscribe(a)
    await two.subscribe(a, SubscribeMode.SUBSCRIBE_MODE_HEADS)
    await admin.subscribe(a)
    const decided = await admin.commit(hosts)
    for (const device of [one, two]) {
      const link = await device.to(a)
      const { value } = await link.until(isNews('vote'))
      expect(parseVote(value.vote).value).toMatchObject({ slot: 2n, server: a.server.id })
      const news = await link.until(isNews('decided'))
      expect(news.value.slots).toEqual([decided])
    }
    // Who proposed had the votes as answers, and told the slot itself. The envelope comes after both.
    const { news, until } = await admin.to(a)
    await one.follow(second)
    await one.follow(decided)
    await one.upload(a, await one.seal())
    await until(isNews('deliver', ({ envelopes }) => envelopes.length === 1))
    expect(news.filter(({ $case }) => $case === 'vote' || $case === 'decided')).toEqual([])
  })

  it('lets a later proposer finish what an earlier one began', async () => {
    const [a, b, c] = hosts
    const { value, pending } = await admin.value()
    const proof = await admin.promises([a, b], 1n)
    await admin.accept(a, 1n, value, proof)
    // Somebody else, or the same device later, hears of it in phase 1 and must adopt it.
    const answer = await admin.prepare(a, 2n)
    if (answer.$case !== 'promise') throw new Error(answer.$case)
    expect(toHex(answer.value.value)).toBe(toHex(value))
    const other = await admin.prepare(c, 2n)
    if (other.$case !== 'promise') throw new Error(other.$case)
    const later = [answer, other].map(({ value: { promise, accept } }) => ({ promise, accept }))
    const another = await admin.value({ roles: [] })
    const refused = await admin.accept(c, 2n, another.value, later)
    expect(refused).toMatchObject({ $case: 'nack', value: { reason: NackReason.NACK_REASON_PROOF } })
    const votes = []
    for (const host of [a, c]) {
      const voted = await admin.accept(host, 2n, value, later)
      if (voted.$case !== 'vote') throw new Error(voted.$case)
      votes.push(voted.value.vote)
    }
    await admin.tell(b, { slot: 0n, value, certificate: { votes } })
    admin.group = await admin.group.adopt(pending)
    expect((await admin.subscribe(b)).slot).toBe(1n)
  })

  it('refuses lower ballots, answers repeated requests with the same bytes, and reports equivocation', async () => {
    const [a, b] = hosts
    const { value } = await admin.value()
    const promise = await admin.prepare(a, 5n)
    expect(await admin.prepare(a, 5n)).toEqual(promise)
    expect(await admin.prepare(a, 4n)).toMatchObject({
      $case: 'nack',
      value: { reason: NackReason.NACK_REASON_PREEMPTED }
    })
    const proof = await admin.promises([a, b], 6n)
    const vote = await admin.accept(a, 6n, value, proof)
    expect(vote.$case).toBe('vote')
    expect(await admin.accept(a, 6n, value, proof)).toEqual(vote)
    const other = await admin.value()
    const second = await admin.accept(a, 6n, other.value, proof)
    expect(second).toMatchObject({ $case: 'nack', value: { reason: NackReason.NACK_REASON_EQUIVOCATION } })
    expect(a.server.stats().counts.equivocation).toBe(1)
  })

  it('refuses a value that breaks a rule, with a hint', async () => {
    const [a, b] = hosts
    const invalid = async (value: Uint8Array, round: bigint) => {
      const proof = await admin.promises([a, b], round)
      return admin.accept(a, round, value, proof)
    }
    const nack = { $case: 'nack', value: { reason: NackReason.NACK_REASON_INVALID_VALUE } }
    const { value } = await admin.value()
    const { content } = Value.decode(value)
    const unsigned = Value.encode({ content, signature: new Uint8Array(64) })
    expect(await invalid(unsigned, 1n)).toMatchObject(nack)
    const { commit, welcome } = ValueContent.decode(content)
    const damaged = commit.slice()
    damaged[damaged.length - 1] = (damaged.at(-1) ?? 0) ^ 1
    const tampered = ValueContent.encode({ commit: damaged, welcome })
    expect(await invalid(Value.encode({ content: tampered, signature: new Uint8Array(64) }), 2n)).toMatchObject(nack)
    expect(await invalid(Uint8Array.of(1, 2, 3), 3n)).toMatchObject(nack)
    // Signed by its author, but the Welcome is missing for whom the commit adds.
    const joiner = await world.device()
    const adding = await admin.value({ adds: [{ keyPackage: joiner.keyPackage.message }] })
    const lacking = ValueContent.encode({
      commit: ValueContent.decode(Value.decode(adding.value).content).commit,
      welcome: new Uint8Array(0)
    })
    const signature = admin.group.sign(signedInput(SIGNATURE_LABELS.ValueContent, lacking))
    expect(await invalid(Value.encode({ content: lacking, signature }), 4n)).toMatchObject(nack)
    expect(a.server.stats().counts.invalidValue).toBe(4)
  })

  it('refuses in the next slot the value that was right in the last', async () => {
    const [a] = hosts
    const { value } = await admin.commit(hosts)
    const again = await admin.accept(a, 1n, value, await admin.promises(hosts, 1n))
    expect(again).toMatchObject({ $case: 'nack', value: { reason: NackReason.NACK_REASON_INVALID_VALUE } })
  })

  it('leaves no accepted value and no group that is not retained in storage', async () => {
    const [a] = hosts
    const stored = async (part: string) => {
      const prefix = `10${toHex(admin.groupId)}${part}`
      return (await a.content()).split('\n').filter((line) => line.startsWith(prefix)).length
    }
    const { value, pending } = await admin.value()
    const decided = await admin.propose(hosts, value)
    expect(await stored('04')).toBe(1)
    await admin.tell(a, decided)
    expect(await stored('04')).toBe(0)
    admin.group = await admin.group.adopt(pending)
    for (const host of hosts.slice(1)) await admin.tell(host, decided)
    for (let i = 0; i < 4; i++) await admin.commit(hosts)
    expect(await stored('05')).toBe(5)
    expect(await stored('02')).toBe(3)
  })

  it('keeps of the values it accepted one after the other only the last', async () => {
    const [a, b, c] = hosts
    // Accepted by one server each, which the quorums of the next ballots do not hear of.
    const first = await admin.value()
    await admin.accept(a, 1n, first.value, await admin.promises([a, b], 1n))
    const second = await admin.value()
    const proof = await admin.promises([b, c], 2n)
    await admin.prepare(a, 2n)
    expect((await admin.accept(a, 2n, second.value, proof)).$case).toBe('vote')
    const values = (await a.content()).split('\n').filter((line) => line.startsWith(`10${toHex(admin.groupId)}04`))
    expect(values.length).toBe(1)
    expect(await admin.prepare(a, 3n)).toMatchObject({ $case: 'promise', value: { value: second.value } })
  })

  it('refuses proposals signed by nobody, for another context, and for slots it has not reached', async () => {
    const [a] = hosts
    const { channel } = await admin.to(a)
    const { prepare } = admin.prepareRequest(1n)
    const forged = { ...prepare, signature: new Uint8Array(64) }
    expect(await codeOf(channel.request({ $case: 'prepare', value: { prepare: forged } }))).toBe('BAD_SIGNATURE')
    const noise = { ...prepare, statement: Uint8Array.of(9) }
    const ahead = await admin.decide(hosts.slice(1) as ServerHost[])
    const behind = await problemOf(admin.prepare(a, 1n))
    expect(behind).toMatchObject({ code: 'BEHIND', info: { slot: 0n } })
    await admin.tell(a, ahead)
    const stale = await channel.request({ $case: 'prepare', value: { prepare } })
    expect(stale).toMatchObject({ $case: 'decided', value: { slots: [{ slot: 0n }] } })
    expect(await codeOf(channel.request({ $case: 'prepare', value: { prepare: noise } }))).toBe('MALFORMED')
  })
})

describe('telling a server of decided slots', () => {
  it('passes over what it knows and demands what lies between', async () => {
    const [a] = hosts
    const first = await admin.decide(hosts.slice(1) as ServerHost[])
    for (const host of hosts.slice(1)) await admin.tell(host, first)
    const second = await admin.decide(hosts.slice(1) as ServerHost[])
    expect(await problemOf(admin.tell(a, second))).toMatchObject({ code: 'BEHIND', info: { slot: 0n } })
    await admin.tell(a, first, second)
    const before = await a.content()
    await admin.tell(a, first, second)
    expect(await a.content()).toBe(before)
    expect((await admin.subscribe(a)).slot).toBe(2n)
  })

  it('changes nothing when the certificate does not prove it', async () => {
    const [a, b] = hosts
    const decided = await admin.decide([b, hosts[2]])
    const before = await a.content()
    const [vote, other] = decided.certificate.votes as [
      (typeof decided.certificate.votes)[0],
      (typeof decided.certificate.votes)[0]
    ]
    const wrong: readonly (readonly [string, DecidedSlot])[] = [
      ['INVALID', { ...decided, certificate: { votes: [vote] } }],
      ['INVALID', { ...decided, certificate: { votes: [vote, vote] } }],
      ['INVALID', { ...decided, value: (await (await twin()).value()).value }],
      ['BAD_SIGNATURE', { ...decided, certificate: { votes: [vote, { ...other, signature: vote.signature }] } }]
    ]
    for (const [code, slot] of wrong) expect(await codeOf(admin.tell(a, slot))).toBe(code)
    expect(await a.content()).toBe(before)
    await admin.tell(a, decided)
  })

  /** Another device with a document of its own, for a value of another group. */
  async function twin(): Promise<TestDevice> {
    const device = await world.device()
    await device.found(hosts)
    return device
  }
})

describe('a removed member', () => {
  it('gets the commit that removed it, then a Problem, then nothing', async () => {
    const [a] = hosts
    const editor = await admin.add(hosts)
    await editor.subscribe(a)
    const decided = await admin.commit(hosts, { removes: [editor.memberId] })
    const link = await editor.to(a)
    const { value } = await link.until(isNews('problem'))
    expect(value).toMatchObject({ slot: 2n, group: editor.groupId })
    expect(link.news.filter(isNews('decided')).map((news) => news.value.slots)).toEqual([[decided]])
    await admin.upload(a, await admin.seal())
    expect(await codeOf(editor.subscribe(a))).toBe('NOT_A_MEMBER')
    expect(await codeOf(editor.upload(a, await editor.seal()))).toBe('NOT_A_MEMBER')
    expect(link.news.filter(isNews('deliver', ({ envelopes }) => envelopes.length > 0))).toEqual([])
    // It may still learn why, as long as its epoch is retained.
    expect((await decidedSlots(editor, a, 1n)).map(({ slot }) => slot)).toEqual([1n])
    for (let i = 0; i < 3; i++) await admin.commit(hosts)
    expect(await codeOf(decidedSlots(editor, a, 1n))).toBe('NOT_A_MEMBER')
  })
})

describe('catching up', () => {
  it('gives slots in pages, over a restart too', async () => {
    await world[Symbol.asyncDispose]()
    world = await World.start(1, { limits: { decidedPerPageMax: 4 } })
    const [a] = world.hosts as readonly ServerHost[] as readonly [ServerHost]
    admin = await world.device()
    await admin.create([a])
    const count = 10
    for (let i = 0; i < count; i++) await admin.commit([a])
    await a.stop()
    await a.start()
    admin.disconnect()
    const found: bigint[] = []
    for (
      let page = await decidedSlots(admin, a);
      page.length > 0;
      page = await decidedSlots(admin, a, BigInt(found.length))
    )
      found.push(...page.map(({ slot }) => slot))
    expect(found).toEqual(Array.from({ length: count }, (_, i) => BigInt(i)))
    expect((await admin.subscribe(a)).slot).toBe(BigInt(count))
    // The acceptor goes on where it was.
    await admin.commit([a])
  })
})

describe('roles and consensus', () => {
  it('lets a reader propose to renew its own keys', async () => {
    const reader = await admin.add(hosts, Role.ROLE_READER)
    const decided = await reader.commit(hosts)
    await admin.follow(decided)
    expect(admin.group.epoch).toBe(reader.group.epoch)
    expect(toHex(admin.group.public.ctx)).toBe(toHex(reader.group.public.ctx))
  })
})

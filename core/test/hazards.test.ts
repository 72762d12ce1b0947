/**
 * What MLS makes easy to get wrong, by number: every hazard is proven by a test of its own here, or by tests elsewhere that
 * the table names. What the numbers mean:
 *
 * | hazard | rule |
 * |---|---|
 * | M1 | A commit is bound to its epoch: intents are kept, and the commit is built anew for each slot |
 * | M2 | A value adopted from another device is proposed byte for byte, and processed like any other's |
 * | M3 | A commit that lost is dropped, whole |
 * | M4 | A device's own commit is durable before it is proposed, and entered after a crash |
 * | M5 | A Welcome is released, and used, only with the certificate of its slot |
 * | M6 | Nobody from outside commits: no external senders, no external commit but the one that brings a member back |
 * | M7 | A commit that only members can see through is named as its author's; who cannot process it comes back where others could |
 * | M8 | Two epochs of one number are noticed: by the context tag, by the epoch authenticator |
 * | M9 | Keys of old epochs serve late messages, within bounds; what comes later is said again |
 * | M10 | A message of an epoch to come waits, within bounds, until its commit is there |
 * | M11 | A leaf that is used again is another member; a message is judged by the roster of its epoch |
 * | M12 | Readers send no content: servers refuse it, and devices ignore it when a server does not |
 * | M13 | Of two admins who remove each other one wins, and there always is an admin |
 * | M14 | Who becomes a reader loses the right to write as a removed member does |
 * | M15 | Renewing keys comes in no storms |
 * | M16 | A change too large for one commit is split |
 * | M17 | A ReInit closes its group and has one successor |
 */
import { readFileSync } from 'node:fs'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { equalBytes, fromHex, toHex } from '../src/bytes.js'
import { MemberGroup } from '../src/group/index.js'
import type { Document, DocumentEvent, Entry } from '../src/index.js'
import { digest, parseEnvelope } from '../src/sync/index.js'
import { ControlPayload, Envelope, EnvelopeHeader, EnvelopeKind, Payload } from '../src/wire/index.js'
import { seededRandom } from './random.js'
import { textOf, World } from './world.js'

type Proof = readonly [file: string, ...names: string[]]

const here = 'core/test/hazards.test.ts'
const group = 'core/src/group'
const hazards: Readonly<Record<string, readonly Proof[]>> = {
  M1: [
    [
      'core/test/edges.test.ts',
      'carries out what is asked of one member several times at once, in order',
      'refuses one impossible change without the others'
    ],
    ['core/test/crash.test.ts', 'renewing keys while another does']
  ],
  M2: [
    [
      here,
      'M2, M4: a commit that its author died over is brought to its end by another, unchanged, and both go on in it'
    ],
    [
      'core/src/paxos/proposer.test.ts',
      'what may have been chosen is proposed byte for byte, and no value is asked for'
    ]
  ],
  M3: [
    [`${group}/group.test.ts`, 'drops the losing commit of a race and goes on with the winner'],
    ['core/test/refused.test.ts', 'and one of them had voted for is entered by its author when it is decided after all']
  ],
  M4: [
    [
      here,
      'M2, M4: a commit that its author died over is brought to its end by another, unchanged, and both go on in it'
    ],
    ['core/test/crash.test.ts', 'renewing keys', 'removing a member, the admin dies'],
    [`${group}/persistence.test.ts`, 'tell a pending commit that is cut short or of another branch']
  ],
  M5: [
    [here, 'M5: a Welcome without the votes of a quorum is not used, and with them it is'],
    ['core/src/server/mailbox.test.ts', 'is not given before the slot is decided, though a server has accepted it'],
    ['core/src/server/durability.test.ts', 'neither a decided slot, nor the Welcome in it, nor what follows from it']
  ],
  M6: [
    [`${group}/policy.test.ts`, 'cannot use what Heddle does not take: external senders, unknown types'],
    [
      `${group}/rejoin.test.ts`,
      'of any other shape is refused',
      'of an outsider, or of one member for another, is refused',
      'of who has the signature key but never had the group’s secrets is seen through by members'
    ],
    [
      'core/test/poison.test.ts',
      'with a forged signature or garbage is refused, and the next one is used',
      'by who made the poison is not used, though it is signed by a member',
      'with another key than another member gives is used by nobody, until more say the same',
      'through a server that changes it is refused, and the other servers’ is used'
    ]
  ],
  M7: [
    [
      here,
      'M7: a decided commit that no other member can enter is told with its author, and editing goes on without it'
    ],
    [`${group}/hostile.test.ts`, 'that only members can see through is named as poison, and changes nothing'],
    [
      'core/test/poison.test.ts',
      'comes back by itself, being %s, and nothing is lost',
      'and another one with it both come back, one after the other',
      'comes back once somebody is there who can help, and says that nobody is until then',
      'goes on to come back in every moment after it has died',
      'is told what to do when somebody has joined since, and an admin can bring it back',
      'keeps what is edited meanwhile from who was removed since',
      'like all but its author goes on editing with them, and says that nobody can help',
      'tries again when other commits are decided first'
    ]
  ],
  M8: [
    [
      here,
      'M8: by a server that was set back and decided a slot twice, two devices notice, and neither says anything more',
      'M8: a member that names another authenticator is told of, and silences nobody'
    ],
    [`${group}/group.test.ts`, 'tells every epoch and branch apart']
  ],
  M9: [
    [
      `${group}/messages.test.ts`,
      'far ahead are opened, and so are those in between when they come',
      'of epochs beyond the policy are given up, by number and by time'
    ],
    ['core/test/edges.test.ts', 'says once more what it had sealed too long ago for anybody to open'],
    ['core/test/expiry.test.ts', 'GROUP-009: an epoch is forgotten when its days are over, also while nothing happens'],
    [
      'core/test/removal.test.ts',
      'keeps them when the only server that has them is gone: who applied them says them again'
    ]
  ],
  M10: [
    [here, 'M10: messages of an epoch whose commit is kept back wait for it, and none is lost'],
    ['core/src/sync/sync.test.ts', 'is bounded in number and bytes, and counts a repetition once']
  ],
  M11: [
    [here, 'M11: what a removed member had said stays its own when another one has its leaf'],
    [
      `${group}/group.test.ts`,
      'keeps a member id across key rotations, and gives a leaf that is used again to another member'
    ],
    [`${group}/messages.test.ts`, 'are told with sender, role and roster of their own epoch']
  ],
  M12: [
    [here, 'M12: content that a reader sends through a server that lets it is passed over by every device'],
    ['core/test/stack.test.ts', 'keeps readers from writing']
  ],
  M13: [
    ['core/test/edges.test.ts', 'lets one of two admins win who remove each other at once'],
    [`${group}/policy.test.ts`, 'cannot leave the group without an admin']
  ],
  M14: [
    [
      'core/test/removal.test.ts',
      'has what it wrote in between counted once it may write again, and not before',
      'has what was under way at one server passed over, and said again later'
    ]
  ],
  M15: [
    [
      'core/test/rotation.test.ts',
      'are renewed once in a period, whoever does it',
      'are not renewed by themselves when somebody commits often enough, or the policy says so'
    ]
  ],
  M16: [
    [
      'core/test/refused.test.ts',
      'is decided in several, each within its bound, and what goes into none is told to who asked'
    ],
    [`${group}/group.test.ts`, 'takes a thousand members, as many at once as one commit and its Welcome carry']
  ],
  M17: [
    [
      `${group}/successor.test.ts`,
      'closes the group and leads everyone into its successor, under another cipher suite',
      'is succeeded by an admin only, and by nothing else than what it announced'
    ]
  ]
}

describe('the table of hazards', () => {
  it('has all of them, each with a test that there is', () => {
    expect(Object.keys(hazards)).toEqual(Array.from({ length: 17 }, (_, i) => `M${i + 1}`))
    const missing: string[] = []
    for (const [hazard, proofs] of Object.entries(hazards)) {
      expect(proofs.length, hazard).toBeGreaterThan(0)
      for (const [file, ...names] of proofs) {
        const tests = testsIn(file)
        for (const name of names) if (!tests.has(name)) missing.push(`${hazard}: ${file} has no test "${name}"`)
      }
    }
    expect(missing).toEqual([])
  })

  it('names every test of this file', () => {
    const named = new Set(Object.values(hazards).flatMap((proofs) => proofs.flatMap(([, ...names]) => names)))
    expect([...testsIn(here)].filter((name) => /^M\d/.test(name) && !named.has(name))).toEqual([])
  })

  it('does not take a name in a comment or in the table for a test', () => {
    expect(testsIn(here).has('renewing keys')).toBe(false)
    expect(testsIn('core/test/crash.test.ts').has('renewing keys')).toBe(true)
  })
})

/** The names of the tests in a file: what `it` and `test` are called with, and the scenarios of a table of them. */
function testsIn(file: string): ReadonlySet<string> {
  const source = readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')
  const called = /^ *(?:(?:it|test)(?:\.each\([^\n]*\))?\(|name: )\s*(?:'((?:[^'\\\n]|\\.)+)'|`([^`]+)`|"([^"\n]+)")/gm
  return new Set([...source.matchAll(called)].map(([, plain, template, double]) => plain ?? template ?? double ?? ''))
}

const servers = ['server-1', 'server-2', 'server-3']
const write = (document: Document, word: string): void => textOf(document).insert(0, `${word} `)
const read = (document: Document): string => textOf(document).toString()
const idOf = (document: Document): Uint8Array => fromHex(document.memberId) ?? new Uint8Array(0)

const problemsOf = (document: Document): string[] => {
  const codes: string[] = []
  document.subscribe((event: DocumentEvent) => event.type === 'problem' && codes.push(event.error.code))
  return codes
}

async function party(seed: number, roles: Readonly<Record<string, 'admin' | 'editor' | 'reader'>>, serverCount = 3) {
  const world = await World.create({ seed, servers: serverCount })
  const device = await world.openDevice('ada')
  const ada = await world.settle(device.create({ servers: world.tickets }))
  const others: Document[] = []
  for (const [name, role] of Object.entries(roles)) {
    const other = await world.openDevice(name)
    others.push(await world.settle(other.join(await world.settle(ada.invite({ role })))))
  }
  write(ada, 'start')
  const all = [ada, ...others]
  await world.until(() => all.every((one) => read(one) === 'start ' && one.status().epoch === ada.status().epoch))
  return { world, ada, others, all }
}

const everything = { gte: new Uint8Array(0), lt: new Uint8Array(40).fill(0xff) }

/** All that lies on a disk. */
function entriesOf(world: World, name: string): Entry[] {
  const out: Entry[] = []
  for (let gte = everything.gte; ; ) {
    const page = world.disk(name).page({ ...everything, gte })
    const last = page.at(-1)
    if (last === undefined) return out
    out.push(...page)
    gte = new Uint8Array([...last.key, 0])
  }
}

afterEach(() => {
  vi.restoreAllMocks()
})

describe('commits', () => {
  it('M2, M4: a commit that its author died over is brought to its end by another, unchanged, and both go on in it', async () => {
    const { world, ada, others } = await party(7002, { bob: 'admin' })
    const [bob] = others as [Document]
    const { epoch } = ada.status()
    const values = new Map<string, Set<string>>()
    // Ada's Accept reaches one server, and its vote nobody.
    for (const server of servers) {
      world.tap.liars.set(server, (frame, direction, device) => {
        const { body } = frame
        if (body?.$case === 'accept') {
          const proposed = values.get(device) ?? new Set()
          values.set(device, proposed.add(toHex(body.value.value)))
          if (device === 'ada' && server !== 'server-1') return []
        }
        return body?.$case === 'vote' && direction === 'to-device' && device === 'ada' ? [] : [frame]
      })
    }
    const rotation = ada.rotate().catch((error: unknown) => error)
    await world.until(() => values.has('ada'))
    await world.pass(100)
    await world.kill('ada')
    world.tap.liars.clear()
    await world.pass(100)
    // Server 2 or 3 alone is not enough for Bob, so that he hears of what server 1 has voted for.
    world.cut('server-3')
    const proposedByBob = new Set<string>()
    for (const server of servers) {
      world.tap.liars.set(server, (frame, _, device) => {
        if (device === 'bob' && frame.body?.$case === 'accept') proposedByBob.add(toHex(frame.body.value.value))
        return [frame]
      })
    }
    await world.settle(bob.rotate())
    expect(bob.status().epoch).toBe(epoch + 2n)
    const [hers] = values.get('ada') ?? []
    expect([...proposedByBob][0]).toBe(hers)
    expect(proposedByBob.size).toBe(2)
    world.heal('server-3')
    write(bob, 'while-away')
    const reopened = await world.settle((await world.openDevice('ada')).open(ada.id))
    await world.until(() => reopened.status().epoch === epoch + 2n && read(reopened).includes('while-away'))
    expect(reopened.status().pendingChanges).toBe(0)
    write(reopened, 'back')
    await world.until(() => read(bob).includes('back'))
    void rotation
    await world.dispose()
  })

  it('M5: a Welcome without the votes of a quorum is not used, and with them it is', async () => {
    const { world, ada } = await party(7005, {})
    let lied = 0
    for (const server of servers) {
      world.tap.liars.set(server, (frame, direction) => {
        const { body } = frame
        if (direction === 'to-server' || body?.$case !== 'welcomeReply') return [frame]
        const { decided } = body.value
        lied++
        const certificate = { votes: decided.certificate.votes.slice(0, 1) }
        return [
          { ...frame, body: { $case: 'welcomeReply', value: { ...body.value, decided: { ...decided, certificate } } } }
        ]
      })
    }
    const device = await world.openDevice('bob')
    const joining = device.join(await world.settle(ada.invite()))
    await world.until(() => ada.members().length === 2 && lied > 0)
    await world.pass(20_000)
    expect(await device.documents()).toEqual([])
    expect(world.logged.filter(({ node, event }) => node === 'bob' && event === 'welcome.bad').length).toBeGreaterThan(
      0
    )
    world.tap.liars.clear()
    const copy = await world.settle(joining)
    await world.until(() => read(copy) === read(ada))
    await world.dispose()
  })
})

describe('a poison commit', () => {
  it('M7: a decided commit that no other member can enter is told with its author, and editing goes on without it', async () => {
    const { world, ada, others } = await party(7007, { mallory: 'reader', bob: 'editor' })
    const [mallory, bob] = others as [Document, Document]
    const { buildCommit } = MemberGroup.prototype
    vi.spyOn(MemberGroup.prototype, 'buildCommit').mockImplementation(async function (this: MemberGroup, plan) {
      const built = await buildCommit.call(this, plan)
      if (!equalBytes(this.memberId, idOf(mallory))) return built
      // Its end is the membership tag, which only members can check, and which no signature of MLS covers.
      const commit = built.commit.slice()
      commit[commit.length - 1] = (commit.at(-1) ?? 0) ^ 1
      return { ...built, commit }
    })
    const told: unknown[] = []
    for (const one of [ada, bob])
      one.subscribe((event) => event.type === 'problem' && told.push({ code: event.error.code, ...event.error.info }))
    const { epoch } = ada.status()
    await world.settle(mallory.rotate())
    await world.until(() => told.length >= 2)
    expect(told.slice(0, 2)).toEqual(Array(2).fill({ code: 'INVALID', slot: epoch, member: mallory.memberId }))
    vi.restoreAllMocks()
    write(ada, 'hers')
    write(bob, 'his')
    await world.until(() => read(ada) === read(bob) && ['hers', 'his'].every((word) => read(ada).includes(word)))
    await world.dispose()
  })
})

describe('two epochs of one number', () => {
  it('M8: by a server that was set back and decided a slot twice, two devices notice, and neither says anything more', async () => {
    const { world, ada, others } = await party(7008, { bob: 'admin' }, 1)
    const [bob] = others as [Document]
    await world.settle(Promise.all([ada.settled('safe'), bob.settled('safe')]))
    await world.settle(world.stop('server-1'))
    const before = entriesOf(world, 'server-1')
    await world.startServer('server-1')
    world.cut('bob')
    await world.settle(ada.rotate())
    await world.settle(world.stop('server-1'))
    world.disk('server-1').apply({ delRange: [everything], put: before })
    world.cut('ada')
    await world.startServer('server-1')
    world.heal('bob')
    await world.settle(bob.rotate())
    write(bob, 'on-the-other-side')
    await world.settle(bob.settled('safe'))
    expect(bob.status().epoch).toBe(ada.status().epoch)
    const problems = problemsOf(ada)
    world.heal('ada')
    await world.until(() => problems.includes('FORK'))
    expect(ada.status().divergent).toEqual([bob.memberId])
    const { sent } = ada.status()
    write(ada, 'kept-here')
    await world.settle(ada.settled('stored'))
    await world.pass(20_000)
    expect(ada.status()).toMatchObject({ sent, unsent: 1 })
    expect(read(ada)).not.toContain('on-the-other-side')
    expect(read(bob)).not.toContain('kept-here')
    // Also after a restart.
    await world.settle(world.stop('ada'))
    const reopened = await world.settle((await world.openDevice('ada')).open(ada.id))
    await world.pass(20_000)
    expect(reopened.status()).toMatchObject({ divergent: [bob.memberId], sent, unsent: 1 })
    expect(read(reopened)).toContain('kept-here')
    // The server has contradicted itself, as the oracle sees too.
    expect(world.tap.violations.splice(0).length).toBeGreaterThan(0)
    await world.dispose()
  })

  it('M8: a member that names another authenticator is told of, and silences nobody', async () => {
    const { world, ada, others } = await party(7108, { mallory: 'reader', bob: 'editor', carol: 'editor' })
    const [mallory, bob, carol] = others as [Document, Document, Document]
    const { encrypt } = MemberGroup.prototype
    const said: (Uint8Array | undefined)[] = []
    vi.spyOn(MemberGroup.prototype, 'encrypt').mockImplementation(function (this: MemberGroup, plaintext, aad) {
      const { kind } = EnvelopeHeader.decode(aad)
      if (kind !== EnvelopeKind.ENVELOPE_KIND_CONTROL) {
        if (kind === EnvelopeKind.ENVELOPE_KIND_UPDATE) said.push(Payload.decode(plaintext).epochAuthenticator)
        return encrypt.call(this, plaintext, aad)
      }
      const { control } = ControlPayload.decode(plaintext)
      const isIts = equalBytes(this.memberId, idOf(mallory))
      const lie = ControlPayload.encode({ deps: [], control, epochAuthenticator: new Uint8Array(8) })
      return encrypt.call(this, isIts ? lie : plaintext, aad)
    })
    const problems = problemsOf(bob)
    // A reader has its say as well.
    await world.settle(mallory.leave({ until: 'requested' }).catch(() => undefined))
    world.cut('ada')
    await world.until(() => problems.includes('FORK'))
    write(bob, 'goes-on')
    await world.until(() => read(carol).includes('goes-on'))
    expect([bob, carol].flatMap((one) => one.status().divergent)).toEqual([])
    world.heal('ada')
    await world.until(() => read(ada).includes('goes-on') && ada.members().length === 3)
    expect(problems.filter((code) => code === 'FORK')).toHaveLength(1)
    // Honest members say it once in an epoch, in their first message.
    said.splice(0)
    write(bob, 'second')
    await world.until(() => read(carol).includes('second'))
    expect(said).toEqual([undefined])
    await world.settle(ada.rotate())
    await world.until(() => bob.status().epoch === ada.status().epoch)
    write(bob, 'third')
    await world.until(() => read(carol).includes('third'))
    expect(said.at(-1)).toHaveLength(8)
    await world.dispose()
  })
})

describe('messages', () => {
  it('M10: messages of an epoch whose commit is kept back wait for it, and none is lost', async () => {
    const { world, ada, others } = await party(7010, { bob: 'editor' })
    const [bob] = others as [Document]
    for (const server of servers) {
      world.tap.liars.set(server, (frame, direction, device) => {
        const { body } = frame
        if (device !== 'bob' || direction === 'to-server' || body?.$case !== 'decided') return [frame]
        return [{ request: frame.request, body: { $case: 'decided', value: { ...body.value, slots: [] } } }]
      })
    }
    const { epoch } = bob.status()
    for (const word of ['one', 'two', 'three']) {
      await world.settle(ada.rotate())
      write(ada, word)
      await world.settle(ada.settled('safe'))
    }
    await world.until(() => bob.status().waiting === 3)
    await world.pass(60_000)
    expect(bob.status()).toMatchObject({ epoch, waiting: 3 })
    expect(read(bob)).toBe('start ')
    world.tap.liars.clear()
    await world.settle(ada.rotate())
    await world.until(() => read(bob) === 'three two one start ' && bob.status().waiting === 0)
    await world.dispose()
  })

  it('M11: what a removed member had said stays its own when another one has its leaf', async () => {
    const { world, ada, others } = await party(7011, { bob: 'editor', carol: 'editor' })
    const [bob, carol] = others as [Document, Document]
    const leaves = new Map<string, number>()
    const { decrypt } = MemberGroup.prototype
    vi.spyOn(MemberGroup.prototype, 'decrypt').mockImplementation(async function (this: MemberGroup, message) {
      const opened = await decrypt.call(this, message)
      leaves.set(toHex(opened.memberId), opened.leafIndex)
      return opened
    })
    write(bob, 'first')
    await world.until(() => read(carol).includes('first'))
    // Carol gets Bob's next message only when another has his leaf.
    for (const server of servers) {
      world.tap.liars.set(server, (frame, direction, device) => {
        const { body } = frame
        if (device !== 'carol' || direction === 'to-server') return [frame]
        if (body?.$case !== 'deliver' && body?.$case !== 'fetched') return [frame]
        const isOthers = (bytes: Uint8Array) => toHex(parseEnvelope(bytes).header.member) !== bob.memberId
        const envelopes = body.value.envelopes.filter(isOthers)
        return [{ request: frame.request, body: { ...body, value: { ...body.value, envelopes } } } as typeof frame]
      })
    }
    write(bob, 'bobs')
    await world.until(() => read(ada).includes('bobs'))
    await world.settle(ada.remove(bob.memberId))
    const device = await world.openDevice('dave')
    const dave = await world.settle(device.join(await world.settle(ada.invite())))
    write(dave, 'daves')
    await world.until(() => read(ada).includes('daves'))
    await world.until(() => read(carol).includes('daves') && carol.status().epoch === ada.status().epoch)
    expect(read(carol)).not.toContain('bobs')
    world.tap.liars.clear()
    world.cut('carol')
    await world.pass(1_000)
    world.heal('carol')
    const problems = problemsOf(carol)
    await world.until(() => read(carol).includes('bobs'))
    expect(problems).toEqual([])
    expect(leaves.get(dave.memberId)).toBe(leaves.get(bob.memberId))
    expect(dave.memberId).not.toBe(bob.memberId)
    expect(carol.members().map(({ id }) => id)).not.toContain(bob.memberId)
    await world.dispose()
  })

  it('M12: content that a reader sends through a server that lets it is passed over by every device', async () => {
    const { world, ada, others } = await party(7012, { mallory: 'reader', bob: 'editor' })
    const [mallory, bob] = others as [Document, Document]
    const { encrypt } = MemberGroup.prototype
    const random = seededRandom(1)
    let smuggled: Uint8Array | undefined
    // Mallory's device is made to say content where it would say something that is none.
    vi.spyOn(MemberGroup.prototype, 'encrypt').mockImplementation(async function (this: MemberGroup, plaintext, aad) {
      const sealed = await encrypt.call(this, plaintext, aad)
      if (!equalBytes(this.memberId, idOf(mallory))) return sealed
      const header = EnvelopeHeader.encode({ ...EnvelopeHeader.decode(aad), kind: EnvelopeKind.ENVELOPE_KIND_UPDATE })
      const payload = Payload.encode({ deps: [], updates: [random.bytes(10)], repair: undefined })
      const { senderData, ciphertext } = await encrypt.call(this, payload, header)
      const signature = this.sign(digest(header, senderData, ciphertext).signed)
      smuggled = Envelope.encode({ header, senderData, ciphertext, signature })
      return sealed
    })
    // No server gets anything of Mallory's; the one that lies hands on what it should not.
    for (const server of servers) {
      world.tap.liars.set(server, (frame, direction, device) => {
        const { body } = frame
        if (device === 'mallory') return direction === 'to-server' && body?.$case === 'upload' ? [] : [frame]
        if (server !== 'server-1' || direction === 'to-server' || smuggled === undefined) return [frame]
        if (body?.$case !== 'deliver' && body?.$case !== 'fetched') return [frame]
        const envelopes = [...body.value.envelopes, smuggled]
        return [{ request: frame.request, body: { ...body, value: { ...body.value, envelopes } } } as typeof frame]
      })
    }
    for (const name of ['ada', 'bob']) for (const far of ['server-2', 'server-3']) world.cutBetween(name, far)
    const problems = [problemsOf(ada), problemsOf(bob)]
    const leaving = mallory.leave({ until: 'requested' }).catch(() => undefined)
    await world.until(() => smuggled !== undefined)
    expect(parseEnvelope(smuggled ?? new Uint8Array(0)).header.kind).toBe(EnvelopeKind.ENVELOPE_KIND_UPDATE)
    write(ada, 'hers')
    write(bob, 'his')
    await world.until(() => problems.every((codes) => codes.includes('FORBIDDEN')))
    for (const one of [ada, bob]) expect(one.status().lacking).toBe(0)
    await world.until(() => read(ada) === read(bob) && read(ada).includes('his') && read(ada).includes('hers'))
    world.tap.liars.clear()
    await world.settle(world.stop('mallory'))
    await world.settle(leaving)
    await world.dispose()
  })
})

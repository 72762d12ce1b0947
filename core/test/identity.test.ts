/**
 * Whose device a member is (SPEC GROUP-030 to GROUP-033): what people compare, what the app is asked, and that nobody
 * becomes somebody else.
 */
import { createPublicKey, verify } from 'node:crypto'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { fromHex, toHex, utf8 } from '../src/bytes.js'
import { createCrypto } from '../src/crypto/index.js'
import { joinMac, parseInvite } from '../src/device/invites.js'
import { deviceExtension, deviceOf } from '../src/group/extensions.js'
import { MemberGroup } from '../src/group/index.js'
import {
  type Document,
  type DocumentEvent,
  type LeafClaim,
  type MemberClaim,
  type MemberVerdict,
  parseFingerprint,
  type VerifyMember
} from '../src/index.js'
import { JoinRequest } from '../src/wire/index.js'
import { textOf, World } from './world.js'

afterEach(() => {
  vi.restoreAllMocks()
})

const eventsOf = (document: Document): DocumentEvent[] => {
  const events: DocumentEvent[] = []
  document.subscribe((event) => events.push(event))
  return events
}

const problemsOf = (events: readonly DocumentEvent[]): string[] =>
  events.flatMap((event) => (event.type === 'problem' ? [event.error.code] : []))

const memberOf = (document: Document, id: string) => document.members().find((member) => member.id === id)

async function founded(seed: number, verifyMember?: VerifyMember) {
  const world = await World.create({ seed })
  const ada = await world.openDevice('ada', verifyMember === undefined ? {} : { verifyMember })
  const doc = await world.settle(ada.create({ servers: world.tickets }))
  const join = async (name: string, app: Parameters<World['openDevice']>[1] = {}) => {
    const device = await world.openDevice(name, app)
    return await world.settle(device.join(await world.settle(doc.invite())))
  }
  return { world, ada, doc, join }
}

/** An authority in the manner of a company's: it signs who has which key, under a name. */
function authority(seed: number) {
  const crypto = createCrypto((length) => new Uint8Array(length).fill(seed))
  const secret = crypto.randomBytes(32)
  const publicKey = crypto.publicKeyOf(secret)
  const statement = (name: string, { documentId, signaturePublicKey }: LeafClaim) =>
    utf8(`${name} ${documentId} ${toHex(signaturePublicKey)}`)
  return {
    claim: (name: string) => (leaf: LeafClaim) =>
      utf8(JSON.stringify({ name, signature: toHex(crypto.sign(secret, statement(name, leaf))) })),
    verify: (claim: MemberClaim): MemberVerdict => {
      if (claim.identity === undefined) return { verdict: 'unverified' }
      const { name, signature } = JSON.parse(new TextDecoder().decode(claim.identity)) as Record<string, string>
      const key = { key: Buffer.concat([fromHex('302a300506032b6570032100') ?? [], publicKey] as Uint8Array[]) }
      const spki = createPublicKey({ ...key, format: 'der', type: 'spki' })
      const isSigned = verify(null, statement(name ?? '', claim), spki, Buffer.from(signature ?? '', 'hex'))
      return isSigned ? { verdict: 'verified', displayName: name } : { verdict: 'rejected' }
    }
  }
}

describe('what two people compare', () => {
  it('GROUP-030, GROUP-031: both sides show one safety number, and each finds the other’s fingerprint to be its member', async () => {
    const { world, doc, join } = await founded(6001)
    const copy = await join('bob')
    const carol = await join('carol')
    await world.until(() => copy.members().length === 3)
    const number = doc.safetyNumber(copy.memberId)
    expect(copy.safetyNumber(doc.memberId)).toBe(number)
    expect(carol.safetyNumber(doc.memberId)).not.toBe(number)
    expect(() => doc.safetyNumber(doc.memberId)).toThrow(expect.objectContaining({ code: 'INVALID' }))
    expect(() => doc.safetyNumber('00')).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }))
    expect(doc.checkFingerprint(copy.fingerprint(), copy.memberId)).toEqual({
      result: 'match',
      memberId: copy.memberId
    })
    expect(doc.fingerprint(copy.memberId)).toBe(copy.fingerprint())
    expect(doc.checkFingerprint(carol.fingerprint(), copy.memberId).result).toBe('other-member')
    // New keys for reading change nothing of who somebody is.
    await world.settle(copy.rotate())
    await world.until(() => doc.status().epoch === copy.status().epoch)
    expect(doc.safetyNumber(copy.memberId)).toBe(number)
    const shown = carol.fingerprint()
    await world.settle(doc.remove(carol.memberId))
    expect(doc.checkFingerprint(shown).result).toBe('no-member')
    await world.dispose()
  })

  it('GROUP-030: is different for two documents of the same two devices', async () => {
    const world = await World.create({ seed: 6002 })
    const ada = await world.openDevice('ada')
    const bob = await world.openDevice('bob')
    const pairs: [Document, Document][] = []
    for (let i = 0; i < 2; i++) {
      const doc = await world.settle(ada.create({ servers: world.tickets }))
      pairs.push([doc, await world.settle(bob.join(await world.settle(doc.invite())))])
    }
    const [[doc, copy], [otherDoc, otherCopy]] = pairs as [[Document, Document], [Document, Document]]
    expect(doc.safetyNumber(copy.memberId)).not.toBe(otherDoc.safetyNumber(otherCopy.memberId))
    expect(doc.checkFingerprint(otherCopy.fingerprint())).toEqual({ result: 'other-document', documentId: otherDoc.id })
    await world.dispose()
  })
})

describe('GROUP-033: the app’s word on a member', () => {
  it('is asked for on opening and for who comes, and shown with its name', async () => {
    const company = authority(1)
    const asked: MemberClaim[] = []
    const verifyMember = (claim: MemberClaim) => {
      asked.push(claim)
      return company.verify(claim)
    }
    const world = await World.create({ seed: 6003 })
    const ada = await world.openDevice('ada', { verifyMember, claimIdentity: company.claim('Ada') })
    const doc = await world.settle(ada.create({ servers: world.tickets }))
    await world.until(() => memberOf(doc, doc.memberId)?.verification === 'verified')
    const events = eventsOf(doc)
    const bob = await world.openDevice('bob', { verifyMember, claimIdentity: company.claim('Bob') })
    const copy = await world.settle(bob.join(await world.settle(doc.invite())))
    await world.until(() => memberOf(doc, copy.memberId)?.verification === 'verified')
    expect(memberOf(doc, copy.memberId)).toMatchObject({ displayName: 'Bob', isSelf: false })
    const said = events.flatMap((event) => (event.type === 'verification' ? [event.member.displayName] : []))
    expect(said).toEqual(['Bob'])
    await world.until(() => copy.members().every(({ verification }) => verification === 'verified'))
    expect(
      copy
        .members()
        .map(({ displayName }) => displayName)
        .sort()
    ).toEqual(['Ada', 'Bob'])
    expect(asked.filter(({ isJoining }) => isJoining).map(({ deviceId }) => deviceId)).toEqual([bob.id])
    // A member keeps what it claims, over every change of its keys and a restart.
    const { identity } = memberOf(doc, copy.memberId) ?? {}
    expect(identity).toBeDefined()
    await world.settle(copy.rotate())
    await world.until(() => doc.status().epoch === copy.status().epoch)
    expect(memberOf(doc, copy.memberId)?.identity).toEqual(identity)
    await world.settle(world.stop('ada'))
    const again = await world.openDevice('ada', { verifyMember })
    const reopened = await world.settle(again.open(doc.id))
    await world.until(() => memberOf(reopened, copy.memberId)?.displayName === 'Bob')
    await world.dispose()
  })

  it('keeps out who it rejects: its key package is not added, both sides learn it, and the invite is used up', async () => {
    const company = authority(1)
    const { world, doc } = await founded(6004, company.verify)
    const events = eventsOf(doc)
    const mallory = await world.openDevice('mallory', { claimIdentity: authority(2).claim('Bob') })
    const link = await world.settle(doc.invite())
    await expect(world.settle(mallory.join(link))).rejects.toMatchObject({ code: 'INVITE_USED' })
    expect(problemsOf(events)).toEqual(['IDENTITY_REJECTED'])
    expect(doc.members()).toHaveLength(1)
    const bob = await world.openDevice('bob', { claimIdentity: company.claim('Bob') })
    await expect(world.settle(bob.join(link))).rejects.toMatchObject({ code: 'INVITE_USED' })
    // Nor is it added later, when it is looked at again by a device that has forgotten that it asked.
    await world.settle(world.stop('ada'))
    const again = await world.openDevice('ada')
    const reopened = await world.settle(again.open(doc.id))
    await world.pass(5_000)
    expect(reopened.members()).toHaveLength(1)
    const copy = await world.settle(bob.join(await world.settle(reopened.invite())))
    expect(copy.members()).toHaveLength(2)
    await world.dispose()
  })

  it('changes nothing of who is in: a rejected member that another admin added reads and writes', async () => {
    const { world, doc, join } = await founded(6005)
    const verdicts: ((verdict: MemberVerdict) => void)[] = []
    const strict = await world.openDevice('strict', {
      verifyMember: ({ isSelf }) =>
        isSelf ? { verdict: 'verified' } : new Promise((resolve) => verdicts.push(resolve))
    })
    const copy = await world.settle(strict.join(await world.settle(doc.invite({ role: 'admin' }))))
    const carol = await join('carol')
    await world.until(() => copy.members().length === 3 && verdicts.length === 2)
    expect(memberOf(copy, carol.memberId)?.verification).toBe('pending')
    for (const answer of verdicts) answer({ verdict: 'rejected', displayName: 'Nobody' })
    await world.until(() => memberOf(copy, carol.memberId)?.verification === 'rejected')
    textOf(carol).insert(0, 'hers')
    await world.until(() => textOf(copy).toString() === 'hers' && textOf(doc).toString() === 'hers')
    await world.dispose()
  })

  it('that is an error, nonsense or never comes leaves the member unverified, tells why, and holds nothing up', async () => {
    const bad: Record<string, VerifyMember> = {
      throws: () => {
        throw new Error('no directory')
      },
      rejects: async () => await Promise.reject(new Error('directory is down')),
      'is nonsense': () => ({ verdict: 'maybe' }) as unknown as MemberVerdict,
      'is nothing': () => undefined as unknown as MemberVerdict,
      'never comes': () => new Promise(() => {})
    }
    for (const [i, verifyMember] of Object.values(bad).entries()) {
      const { world, doc, join } = await founded(6010 + i, verifyMember)
      const events = eventsOf(doc)
      const copy = await join('bob')
      textOf(doc).insert(0, 'goes on')
      await world.until(() => textOf(copy).toString() === 'goes on')
      await world.until(() => doc.members().every(({ verification }) => verification === 'unverified'))
      expect(new Set(problemsOf(events))).toEqual(new Set(['IDENTITY_UNCHECKED']))
      await world.dispose()
    }
  })

  it('is asked for again when the app knows more, and tells only what is new', async () => {
    const trusted = new Set<string>()
    const { world, doc, join } = await founded(6006, ({ memberId }) => ({
      verdict: trusted.has(memberId) ? 'verified' : 'unverified'
    }))
    const copy = await join('bob')
    await world.until(() => memberOf(doc, copy.memberId)?.verification === 'unverified')
    const events = eventsOf(doc)
    // Two people have compared their safety numbers.
    trusted.add(copy.memberId)
    await world.settle(doc.verifyMembers())
    const told = events.flatMap((event) => (event.type === 'verification' ? [event.member] : []))
    expect(told).toMatchObject([{ id: copy.memberId, verification: 'verified' }])
    await world.dispose()
  })

  it('is what it was asked for last, whichever answer comes last', async () => {
    const answers: ((verdict: MemberVerdict) => void)[] = []
    const { world, doc } = await founded(6008, () => new Promise((resolve) => answers.push(resolve)))
    const asking = doc.verifyMembers()
    await world.until(() => answers.length === 2)
    answers[1]?.({ verdict: 'verified', displayName: 'Ada' })
    answers[0]?.({ verdict: 'rejected' })
    await world.settle(asking)
    await world.pass(10)
    expect(doc.members()).toMatchObject([{ verification: 'verified', displayName: 'Ada' }])
    await world.dispose()
  })

  it('is not waited for when the document is closed', async () => {
    let calls = 0
    const { world, doc } = await founded(6007, () => {
      calls++
      return new Promise(() => {})
    })
    const asking = Promise.all(Array.from({ length: 40 }, () => doc.verifyMembers()))
    await world.settle(doc[Symbol.asyncDispose]())
    await world.settle(asking)
    // Nor is it asked more than that.
    expect(calls).toBe(16)
    await world.dispose()
  })
})

describe('GROUP-032: an identity that a device claims', () => {
  it('is refused where it is made when it is too long or no bytes, and nothing is created', async () => {
    const world = await World.create({ seed: 6020 })
    for (const wrong of [new Uint8Array(513), new Uint8Array(0), 'Ada' as unknown as Uint8Array]) {
      const ada = await world.openDevice('ada', { claimIdentity: () => wrong })
      await expect(world.settle(ada.create({ servers: world.tickets }))).rejects.toMatchObject({
        code: 'CONFIG_INVALID'
      })
      expect(await ada.documents()).toEqual([])
      await world.settle(world.stop('ada'))
    }
    await world.dispose()
  })

  it('cannot be copied from another member: it does not fit the copier’s key', async () => {
    const company = authority(1)
    const world = await World.create({ seed: 6021 })
    const ada = await world.openDevice('ada', { claimIdentity: company.claim('Ada'), verifyMember: company.verify })
    const doc = await world.settle(ada.create({ servers: world.tickets }))
    const { identity } = doc.members()[0] ?? {}
    const mallory = await world.openDevice('mallory', { claimIdentity: () => identity })
    const refused = mallory.join(await world.settle(doc.invite()))
    await expect(world.settle(refused)).rejects.toMatchObject({ code: 'INVITE_USED' })
    await world.dispose()
  })
})

describe('who asks to join', () => {
  it('does not wait for ever when its invite expires before anybody is there to add it', async () => {
    const { world, doc, ada } = await founded(6040)
    const link = await world.settle(doc.invite({ expiresInMs: 120_000 }))
    await world.settle(ada[Symbol.asyncDispose]())
    const bob = await world.openDevice('bob')
    let isOver = false
    const joining = bob.join(link).finally(() => {
      isOver = true
    })
    joining.catch(() => undefined)
    await world.pass(115_000)
    expect(isOver).toBe(false)
    await expect(world.settle(joining, 90_000)).rejects.toMatchObject({ code: 'INVITE_USED' })
    expect(await bob.documents()).toEqual([])
    await world.dispose()
  })
})

describe('a member', () => {
  it('GROUP-003: cannot change what it claims: such a commit is not even built, and nothing of it is left', async () => {
    const { world, doc, join } = await founded(6030)
    const copy = await join('mallory', { claimIdentity: () => utf8('Mallory') })
    const victim = doc.fingerprint()
    const { epoch } = copy.status()
    const { buildCommit } = MemberGroup.prototype
    const own = memberOf(doc, copy.memberId)
    // The leaf of its path says that it is Ada. That others refuse this too, the tests of the group room show.
    vi.spyOn(MemberGroup.prototype, 'buildCommit').mockImplementation(async function (this: MemberGroup, plan) {
      if (toHex(this.memberId) === copy.memberId) {
        const [node] = this.public.state.tree.nodes.filter(
          (one) => one?.nodeType === 'leaf' && toHex(one.leaf.signaturePublicKey) === toHex(this.me.signaturePublicKey)
        )
        if (node?.nodeType === 'leaf') {
          const device = { ...deviceOf(node.leaf), identity: utf8('Ada') }
          ;(node.leaf as { extensions: unknown }).extensions = [deviceExtension(device)]
        }
      }
      return await buildCommit.call(this, plan)
    })
    await expect(world.settle(copy.rotate())).rejects.toMatchObject({ code: 'INVALID' })
    vi.restoreAllMocks()
    await world.pass(5_000)
    expect(doc.status().epoch).toBe(epoch)
    expect(memberOf(doc, copy.memberId)).toEqual(own)
    expect(doc.fingerprint()).toBe(victim)
    await world.dispose()
  })

  it('JOIN-003: cannot be added with another member’s key, nor with a key package that was used before', async () => {
    const { world, doc } = await founded(6031)
    const events = eventsOf(doc)
    const crypto = createCrypto((length) => world.random.bytes(length))
    /** Follows an invite of the document, leaving what `change` makes of the key package. */
    const follow = async (name: string, change: (keyPackage: Uint8Array) => Uint8Array) => {
      const link = await world.settle(doc.invite())
      const invite = parseInvite(link)
      for (const server of ['server-1', 'server-2', 'server-3']) {
        world.tap.liars.set(server, (frame, direction, device) => {
          const { body } = frame
          if (device !== name || direction === 'to-device' || body?.$case !== 'mailboxPut') return [frame]
          const keyPackage = change(JoinRequest.decode(body.value.item).keyPackage)
          const item = JoinRequest.encode({ keyPackage, mac: joinMac(crypto, invite, keyPackage) })
          return [{ request: frame.request, body: { $case: 'mailboxPut', value: { ...body.value, item } } }]
        })
      }
      const device = await world.openDevice(name)
      return { joined: device.join(link) }
    }
    // Ada's key in place of the joiner's own, in leaf and credential: what the joiner signs, she has not.
    const { signaturePublicKey } = parseFingerprint(doc.fingerprint())
    const thief = await follow('thief', (message) => withKey(message, signaturePublicKey))
    const stolen = thief.joined.catch((error: unknown) => error)
    await world.until(() => problemsOf(events).length > 0)
    expect(problemsOf(events)).toEqual(['BAD_SIGNATURE'])
    await world.settle(world.stop('thief'))
    await world.settle(stolen)

    let used: Uint8Array = new Uint8Array(0)
    const bob = await follow('bob', (message) => {
      used = message.slice()
      return message
    })
    const copy = await world.settle(bob.joined)
    const before = problemsOf(events).length
    // While Bob is a member, and when he is none any more and has said nothing.
    for (const name of ['again', 'afterwards']) {
      const late = (await follow(name, () => used)).joined.catch((error: unknown) => error)
      const wanted = name === 'again' ? 1 : 2
      await world.until(
        () =>
          problemsOf(events)
            .slice(before)
            .filter((code) => code === 'INVITE_USED').length >= wanted
      )
      expect(doc.members()).toHaveLength(name === 'again' ? 2 : 1)
      await world.settle(world.stop(name))
      await world.settle(late)
      if (name === 'again') await world.settle(doc.remove(copy.memberId))
    }
    await world.dispose()
  })
})

/** The key package with another signature key in leaf and credential. */
function withKey(message: Uint8Array, key: Uint8Array): Uint8Array {
  const bytes = Buffer.from(message)
  // MLSMessage: version, wire format; KeyPackage: version, suite, init key; LeafNode: encryption key, then this.
  const at = 2 + 2 + 2 + 2 + 33 + 33 + 1
  const own = Buffer.from(bytes.subarray(at, at + 32))
  expect(bytes.indexOf(own, at + 32)).toBeGreaterThan(at)
  for (let found = bytes.indexOf(own); found >= 0; found = bytes.indexOf(own, found + 32)) bytes.set(key, found)
  return new Uint8Array(bytes)
}

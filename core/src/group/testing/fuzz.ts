/**
 * Mutated messages against every way into the group room. Signatures and MACs are taken for right, so that mutations get
 * past them; what comes back is a typed error or a result, and soon.
 */
import { encode } from 'ts-mls/codec/tlsEncoder.js'
import { encryptWithLabel } from 'ts-mls/crypto/hpke.js'
import { groupInfoEncoder } from 'ts-mls/groupInfo.js'
import { groupSecretsEncoder } from 'ts-mls/groupSecrets.js'
import { welcomeKey, welcomeNonce } from 'ts-mls/welcome.js'
import { concatBytes, emptyBytes, equalBytes } from '../../bytes.js'
import type { CryptoProvider } from '../../crypto/index.js'
import { type ErrorName, HeddleError } from '../../errors.js'
import { leafRules } from '../extensions.js'
import { MemberGroup, type OwnKeyPackage, PublicGroup, readKeyPackage } from '../index.js'
import { buildEpoch, createGroupInfo, encodeTree, encodeWelcome } from '../mls/index.js'
import { secretsOf } from './forge.js'
import { createWorld, decide, EDITOR, keyPackageFor, type Member, NOW_MS, seeded, testDeps } from './world.js'

/** Longest time that one input may take, by its fastest run. */
export const INPUT_MS_MAX = 100
/** What takes longer is run again, since other processes slow down one run, not all. */
const RETRY_MS = 20
const RUNS_MAX = 5

const ALLOWED: ReadonlySet<ErrorName> = new Set<ErrorName>([
  'MALFORMED',
  'INVALID',
  'FORBIDDEN',
  'BAD_SIGNATURE',
  'STALE_EPOCH',
  'BEHIND',
  'NOT_FOUND',
  'UNDECRYPTABLE'
])

export interface FuzzReport {
  readonly inputs: number
  readonly refused: number
  readonly accepted: number
  /** How often each error code was the answer. */
  readonly codes: Readonly<Record<string, number>>
  readonly slowestMs: number
}

interface Target {
  /** Inputs of a hundred that go here. */
  readonly share: number
  readonly original: Uint8Array
  readonly enter: (bytes: Uint8Array) => Promise<unknown>
}

/** Reports by target. Throws for an input that was answered otherwise than it should, with what is needed to repeat it. */
export async function fuzz(inputs: number, seed: number): Promise<Readonly<Record<string, FuzzReport>>> {
  const targets = await makeTargets()
  const random = seeded(seed)
  const others = [...targets.values()].map(({ original }) => original)
  const reports: Record<string, FuzzReport> = {}
  for (const [name, target] of targets) {
    const codes: Record<string, number> = {}
    let [accepted, refused, slowestMs] = [0, 0, 0]
    const count = Math.ceil((inputs * target.share) / 100)
    for (let left = count; left > 0; left--) {
      const input = mutate(target.original, random, others)
      if (equalBytes(input, target.original)) continue
      const { outcome, ms } = await measured(() => target.enter(input))
      slowestMs = Math.max(slowestMs, ms)
      const repeat = `${name}, seed ${seed}: ${Buffer.from(input).toString('base64')}`
      if (ms > INPUT_MS_MAX) throw new Error(`An input took ${Math.round(ms)} ms; ${repeat}`)
      if (outcome === undefined) accepted++
      else {
        if (!HeddleError.is(outcome) || !ALLOWED.has(outcome.code))
          throw new Error(`An input was answered by ${String(outcome)}; ${repeat}`, { cause: outcome })
        refused++
        codes[outcome.code] = (codes[outcome.code] ?? 0) + 1
      }
    }
    reports[name] = { inputs: accepted + refused, refused, accepted, codes, slowestMs: Math.round(slowestMs) }
  }
  return reports
}

/** The error, and the time of the fastest run. */
async function measured(work: () => Promise<unknown>): Promise<{ readonly outcome: unknown; readonly ms: number }> {
  let fastestMs = Number.POSITIVE_INFINITY
  let outcome: unknown
  for (let run = 0; run < RUNS_MAX && fastestMs > RETRY_MS; run++) {
    const started = performance.now()
    outcome = await work().then(
      () => undefined,
      (cause: unknown) => cause ?? 'nothing'
    )
    fastestMs = Math.min(fastestMs, performance.now() - started)
  }
  return { outcome, ms: fastestMs }
}

async function makeTargets(): Promise<ReadonlyMap<string, Target>> {
  const w = await createWorld(77, [EDITOR, EDITOR, EDITOR])
  const [admin, reader, , lost] = w.members
  if (admin === undefined || reader === undefined || lost === undefined) throw new Error('four members expected')
  const deps = testDeps(7_700)
  const keyPackage = await keyPackageFor(deps)
  w.members.splice(w.members.indexOf(lost), 1)
  await decide(w, reader)
  await decide(w, admin)
  const third = w.members[2]
  if (third === undefined) throw new Error('three members expected')
  const { commit, welcome, next } = await admin.group.buildCommit({
    adds: [{ keyPackage: keyPackage.message }],
    removes: [third.group.memberId],
    servers: [{ kind: 'remove', id: w.observer.servers.servers[0]?.id ?? new Uint8Array(32) }],
    policy: { ...w.observer.document.policy, rotationHours: 12 }
  })
  if (welcome === undefined) throw new Error('no Welcome')
  const basis = {
    groupInfo: await admin.group.groupInfo({ externalPub: true }),
    ctx: admin.group.public.ctx,
    retainedEpochs: 8
  }
  const rejoin = (await lost.group.resync(basis)).commit
  const reinit = (await admin.group.buildCommit({ reinit: { suite: 3 } })).commit
  const groupInfo = await admin.group.groupInfo()

  const trusting = { ...deps, crypto: gullible(deps.crypto) }
  const observer = await PublicGroup.fromGroupInfo(groupInfo, trusting)
  const asMember = (member: Member) => {
    const load = () => MemberGroup.load(member.records.values(), trusting)
    let group = load()
    return async (bytes: Uint8Array): Promise<void> => {
      const { removed } = await group.processCommit(bytes)
      if (!removed) group = load() // it has moved on
    }
  }
  const lostMember = MemberGroup.load(lost.records.values(), trusting)
  const inside = await insideOfWelcome(admin, keyPackage)
  const tree = next.ratchetTree()
  const join = (bytes: Uint8Array, beside: Uint8Array) =>
    MemberGroup.join({ welcome: bytes, tree: beside, keyPackage }, trusting)
  const joinInside = async (groupInfoInside: Uint8Array, secrets: Uint8Array) =>
    join(await inside.seal(groupInfoInside, secrets), inside.tree)
  const observe = (bytes: Uint8Array) => observer.processCommit(bytes, { nowMs: NOW_MS })
  return new Map<string, Target>([
    ['commit to an observer', { share: 27, original: commit, enter: observe }],
    ['commit to a member', { share: 20, original: commit, enter: asMember(reader) }],
    ['external commit to an observer', { share: 8, original: rejoin, enter: observe }],
    ['external commit to a member', { share: 7, original: rejoin, enter: asMember(reader) }],
    ['ReInit to an observer', { share: 5, original: reinit, enter: observe }],
    ['GroupInfo', { share: 12, original: groupInfo, enter: (bytes) => PublicGroup.fromGroupInfo(bytes, trusting) }],
    [
      'GroupInfo to come back by',
      { share: 3, original: basis.groupInfo, enter: (bytes) => resyncFrom(lostMember, bytes, basis.ctx) }
    ],
    ['Welcome', { share: 4, original: welcome, enter: (bytes) => join(bytes, tree) }],
    ['ratchet tree beside a Welcome', { share: 3, original: tree, enter: (bytes) => besides(join(welcome, bytes)) }],
    [
      'GroupInfo in a Welcome',
      { share: 3, original: inside.groupInfo, enter: (bytes) => joinInside(bytes, inside.secrets) }
    ],
    [
      'secrets in a Welcome',
      { share: 2, original: inside.secrets, enter: (bytes) => joinInside(inside.groupInfo, bytes) }
    ],
    [
      'key package',
      {
        share: 6,
        original: keyPackage.message,
        enter: (bytes) => readKeyPackage(bytes, { crypto: trusting.crypto, nowMs: NOW_MS })
      }
    ]
  ])
}

/** What a Welcome encrypts, in plain, and a way to encrypt it as the committer does. */
async function insideOfWelcome(admin: Member, { keyPackage, ref }: OwnKeyPackage) {
  const { state, signatureKey, memberState } = secretsOf(admin)
  const { suite } = admin.group.public
  const { mls } = suite
  const rules = { suite, leafRules }
  const add = { proposalType: 'add', add: { keyPackage } } as const
  const built = await buildEpoch(memberState, state, [add], signatureKey, rules, admin.deps.crypto)
  const groupInfo = await createGroupInfo(built.public, memberState.leafIndex, signatureKey, [], suite)
  const pathSecret = [...built.pathSecrets.values()].at(-1)
  const secrets = encode(groupSecretsEncoder)({ joinerSecret: built.joinerSecret, pathSecret, psks: [] })
  const initKey = await mls.hpke.importPublicKey(keyPackage.initKey)
  const key = await welcomeKey(built.welcomeSecret, mls)
  const nonce = await welcomeNonce(built.welcomeSecret, mls)
  const seal = async (plainInfo: Uint8Array, plainSecrets: Uint8Array): Promise<Uint8Array> => {
    const encryptedGroupInfo = suite.seal(key, nonce, emptyBytes, plainInfo)
    const { enc, ct } = await encryptWithLabel(initKey, 'Welcome', encryptedGroupInfo, plainSecrets, mls.hpke)
    const encryptedGroupSecrets = { kemOutput: enc, ciphertext: ct }
    const { cipherSuite } = keyPackage
    return encodeWelcome({ cipherSuite, secrets: [{ newMember: ref, encryptedGroupSecrets }], encryptedGroupInfo })
  }
  const tree = encodeTree(built.public.tree.nodes)
  return { groupInfo: encode(groupInfoEncoder)(groupInfo), secrets, tree, seal }
}

/** A wrong tree beside a Welcome is told from a wrong Welcome; what is wrong with it is the cause. */
async function besides(joining: Promise<unknown>): Promise<void> {
  try {
    await joining
  } catch (error) {
    throw HeddleError.is(error, 'INVALID') && error.info.otherTree === true ? error.cause : error
  }
}

/** Another GroupInfo than that of the context vouched for is a fork, which is no more than INVALID here. */
async function resyncFrom(lost: MemberGroup, groupInfo: Uint8Array, ctx: Uint8Array): Promise<void> {
  try {
    await lost.resync({ groupInfo, ctx, retainedEpochs: 8 })
  } catch (cause) {
    if (HeddleError.is(cause) && (cause.code === 'FORK' || cause.code === 'INTENT_OBSOLETE'))
      throw new HeddleError('INVALID', cause.message, { cause })
    throw cause
  }
}

/** Whose signatures and MACs are all taken for right. */
export function gullible(crypto: CryptoProvider): CryptoProvider {
  return {
    ...crypto,
    suite(id) {
      const suite = crypto.suite(id)
      const signature = { ...suite.mls.signature, verify: async () => true }
      const hash = { ...suite.mls.hash, verifyMac: async () => true }
      return { ...suite, mls: { ...suite.mls, signature, hash } }
    }
  }
}

/** One to three changes: bits, bytes, lengths, insertions, deletions, pieces of itself or of another message. */
export function mutate(
  bytes: Uint8Array,
  { below, bytes: randomBytes }: ReturnType<typeof seeded>,
  others: readonly Uint8Array[] = []
): Uint8Array {
  let mutated: Uint8Array = bytes.slice()
  for (let left = 1 + below(3); left > 0; left--) {
    const at = below(mutated.length)
    switch (below(8)) {
      case 0:
        mutated[at] = (mutated[at] ?? 0) ^ (1 << below(8))
        break
      case 1:
        mutated[at] = below(256)
        break
      case 2:
        mutated.fill(0xff, at, at + 4)
        break
      case 3:
        mutated.fill(0, at, at + 1 + below(8))
        break
      case 4:
        mutated[at] = ((mutated[at] ?? 0) + (below(2) === 0 ? 1 : 255)) & 0xff
        break
      case 5:
        mutated = concatBytes(mutated.subarray(0, at), randomBytes(below(6)), mutated.subarray(at))
        break
      case 6:
        mutated = concatBytes(mutated.subarray(0, at), mutated.subarray(at + below(4)))
        break
      default: {
        const donor = others[below(others.length + 1)] ?? mutated
        const from = below(donor.length)
        const piece = donor.subarray(from, from + 1 + below(64))
        mutated = concatBytes(
          mutated.subarray(0, at),
          piece,
          mutated.subarray(at + (below(2) === 0 ? piece.length : 0))
        )
      }
    }
    if (mutated.length === 0) return mutated
  }
  return mutated
}

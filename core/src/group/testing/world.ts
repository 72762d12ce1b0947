/** Groups for tests: devices with seeded randomness, their storage, and an observer that follows every commit. */
import { expect } from 'vitest'
import { toHex } from '../../bytes.js'
import { type CryptoProvider, createCrypto, type SuiteId } from '../../crypto/index.js'
import { Role, type ServerEntry } from '../../wire/index.js'
import {
  type CommitPlan,
  type GroupRecord,
  generateKeyPackage,
  type MemberDeps,
  MemberGroup,
  type OwnKeyPackage,
  PublicGroup,
  type StoredRecord
} from '../index.js'
import { hashTree, rootHash } from '../mls/index.js'

export const { ROLE_ADMIN: ADMIN, ROLE_EDITOR: EDITOR, ROLE_READER: READER } = Role
export const NOW_MS = 1_760_000_000_000

/** mulberry32: the same bytes for the same seed. */
export function seeded(seed: number): { bytes(length: number): Uint8Array; below(bound: number): number } {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return (t ^ (t >>> 14)) >>> 0
  }
  return {
    bytes: (length) => Uint8Array.from({ length }, () => next() & 0xff),
    below: (bound) => next() % bound
  }
}

export function testCrypto(seed: number): CryptoProvider {
  return createCrypto(seeded(seed).bytes)
}

export function testDeps(seed: number): MemberDeps {
  return { crypto: testCrypto(seed), now: () => NOW_MS }
}

export function server(number: number): ServerEntry {
  return { id: new Uint8Array(32).fill(number), addresses: [`mem://server-${number}`] }
}

/** One device's part in one group, with the records it has stored. */
export class Member {
  group: MemberGroup
  readonly deps: MemberDeps
  readonly records = new Map<string, StoredRecord>()

  constructor(group: MemberGroup, deps: MemberDeps) {
    this.group = group
    this.deps = deps
    this.store()
  }

  /** Writes the dirty records as a device does and returns them. */
  store(): readonly GroupRecord[] {
    const dirty = this.group.takeDirtyRecords()
    for (const { key, value } of dirty) {
      if (value === undefined) this.records.delete(toHex(key))
      else this.records.set(toHex(key), { key, value })
    }
    return dirty
  }

  /** As if the process had been killed: what was not stored is gone. */
  restart(): void {
    this.group = MemberGroup.load(this.records.values(), this.deps)
  }

  /** Commits and adopts at once, as if it had been decided. */
  async commit(plan: CommitPlan = {}): Promise<Committed> {
    const { commit, welcome, pending, next } = await this.group.buildCommit(plan)
    this.group = await this.group.adopt(pending)
    this.store()
    return { commit, welcome, tree: next.ratchetTree() }
  }

  /** Processes another's commit; false when it removed this member. */
  async process(commit: Uint8Array): Promise<boolean> {
    const result = await this.group.processCommit(commit)
    if (!result.removed) this.group = result.group
    this.store()
    return !result.removed
  }
}

export async function keyPackageFor(deps: MemberDeps, suite?: SuiteId): Promise<OwnKeyPackage> {
  return generateKeyPackage({
    crypto: deps.crypto,
    nowMs: deps.now(),
    device: { endpointId: deps.crypto.randomBytes(32), crdtTypes: ['yjs/1'] },
    ...(suite === undefined ? {} : { suite })
  })
}

export interface WorldOptions {
  readonly servers?: number
  readonly faultBound?: number
  readonly suite?: SuiteId
  /** What the device made from this seed runs on. */
  readonly depsFor?: (seed: number) => MemberDeps
}

export async function createMember(seed: number, options: WorldOptions = {}): Promise<Member> {
  const { servers = 3, faultBound = 0, suite, depsFor = testDeps } = options
  const deps = depsFor(seed)
  const group = await MemberGroup.create(
    {
      groupId: seeded(seed ^ 0x5eed).bytes(16),
      keyPackage: await keyPackageFor(deps, suite),
      document: {
        crdtType: 'yjs/1',
        protocolVersion: 1,
        policy: { retainedEpochs: 8, retainedDays: 30, removalMode: 1, rotationHours: 0 }
      },
      servers: Array.from({ length: servers }, (_, i) => server(i + 1)),
      faultBound,
      defaultRole: EDITOR
    },
    deps
  )
  return new Member(group, deps)
}

/** A group of admins and editors and an observer of it. The first member is admin, the others have the role given. */
export interface World {
  readonly members: Member[]
  observer: PublicGroup
}

export async function createWorld(
  seed: number,
  roles: readonly Role[] = [EDITOR, EDITOR],
  options: WorldOptions = {}
): Promise<World> {
  const first = await createMember(seed, options)
  const observer = await PublicGroup.fromGroupInfo(await first.group.groupInfo(), first.deps)
  const world: World = { members: [first], observer }
  if (roles.length > 0) await addMembers(world, first, seed, roles, options)
  return world
}

/** One commit of `by` that adds a member for every role. */
export async function addMembers(
  world: World,
  by: Member,
  seed: number,
  roles: readonly Role[],
  { suite, depsFor = testDeps }: WorldOptions = {}
): Promise<Member[]> {
  const joiners = await Promise.all(
    roles.map(async (role, i) => {
      const deps = depsFor(seed * 1000 + i + 1)
      return { deps, role, keyPackage: await keyPackageFor(deps, suite) }
    })
  )
  const adds = joiners.map(({ keyPackage, role }) => ({ keyPackage: keyPackage.message, role }))
  const { welcome, tree } = await decide(world, by, { adds })
  if (welcome === undefined) throw new Error('a commit that adds gave no Welcome')
  const joined: Member[] = []
  for (const { deps, keyPackage } of joiners)
    joined.push(new Member(await MemberGroup.join({ welcome, tree, keyPackage }, deps), deps))
  world.members.push(...joined)
  expectAgreement(world)
  return joined
}

/** What a commit gives to others. */
export interface Committed {
  readonly commit: Uint8Array
  readonly welcome: Uint8Array | undefined
  /** Of the epoch it begins. */
  readonly tree: Uint8Array
}

/** `by` commits, everyone else and the observer process it; who was removed leaves the world. */
export async function decide(world: World, by: Member, plan: CommitPlan = {}): Promise<Committed> {
  const built = await by.commit(plan)
  world.observer = await world.observer.processCommit(built.commit)
  for (const member of [...world.members]) {
    if (member !== by && !(await member.process(built.commit))) world.members.splice(world.members.indexOf(member), 1)
  }
  expectAgreement(world)
  return built
}

/** Everyone is in the same epoch of the same branch, members share its secrets, the observer sees what they see. */
export function expectAgreement({ members, observer }: World): void {
  const [first] = members
  if (first === undefined) throw new Error('a world without members')
  for (const { group } of members) {
    expect(toHex(group.public.ctx)).toBe(toHex(observer.ctx))
    expect(toHex(group.epochAuthenticator)).toBe(toHex(first.group.epochAuthenticator))
    expect(group.public.roster.map(summary)).toEqual(observer.roster.map(summary))
    expect(group.public.servers).toEqual(observer.servers)
  }
  expect(observer.roster.length).toBeGreaterThanOrEqual(members.length)
  // The hashes taken over from epoch to epoch are those of a tree that is hashed from nothing.
  const { context, tree } = observer.state
  expect(toHex(rootHash(hashTree(tree.nodes, first.deps.crypto.sha256)))).toBe(toHex(context.treeHash))
}

function summary({ leafIndex, memberId, role }: { leafIndex: number; memberId: Uint8Array; role: Role }): string {
  return `${leafIndex} ${toHex(memberId)} ${role}`
}

import { describe, expect, test } from 'vitest'
import { emptyBytes, toHex, utf8 } from '../bytes.js'
import { SUITE_POST_QUANTUM, type SuiteId } from '../crypto/index.js'
import { createNodeCrypto } from '../crypto/node.js'
import { createWebCrypto } from '../crypto/web.js'
import type { MemberDeps } from './index.js'
import {
  ADMIN,
  addMembers,
  createWorld,
  decide,
  EDITOR,
  type Member,
  NOW_MS,
  READER,
  seeded,
  type World
} from './testing/world.js'

const node = (seed: number): MemberDeps => ({ crypto: createNodeCrypto(seeded(seed).bytes), now: () => NOW_MS })
const web = (seed: number): MemberDeps => ({ crypto: createWebCrypto(seeded(seed).bytes), now: () => NOW_MS })
/** One device after the other on another platform; the first on Node. */
const mixed = (seed: number): MemberDeps => (seed % 2 === 0 ? web(seed) : node(seed))

async function expectReads(sender: Member, { members }: World, text: string): Promise<void> {
  const sealed = await sender.group.encrypt(utf8(text), utf8('header'))
  for (const receiver of members) {
    if (receiver === sender) continue
    const opened = await receiver.group.decrypt({ ...sealed, epoch: sender.group.epoch, aad: utf8('header') })
    expect(opened.plaintext).toEqual(utf8(text))
  }
}

/** Adds, roles, a removal, rotations, messages, a restart and a rejoin. */
async function scenario(seed: number, suite: SuiteId, depsFor: (seed: number) => MemberDeps): Promise<World> {
  const world = await createWorld(seed, [EDITOR, READER, ADMIN, EDITOR], { suite, depsFor })
  const [a, b, c, d, lost] = world.members
  if (a === undefined || b === undefined || c === undefined || d === undefined || lost === undefined)
    throw new Error('five members expected')
  await addMembers(world, d, seed + 1, [EDITOR], { suite, depsFor })
  for (const member of world.members) await expectReads(member, world, 'hello')
  await decide(world, b)
  await decide(world, d, { roles: [{ memberId: c.group.memberId, role: EDITOR }], removes: [b.group.memberId] })
  c.store()
  c.restart()
  world.members.splice(world.members.indexOf(lost), 1)
  await decide(world, c)
  const basis = {
    groupInfo: await a.group.groupInfo({ externalPub: true }),
    ctx: a.group.public.ctx,
    retainedEpochs: 8
  }
  const { commit, pending } = await lost.group.resync(basis)
  world.observer = await world.observer.processCommit(commit)
  for (const member of world.members) await member.process(commit)
  lost.group = await lost.group.adopt(pending)
  world.members.push(lost)
  for (const member of world.members) {
    await decide(world, member)
    await expectReads(member, world, 'after')
  }
  return world
}

describe.each([1, 3, SUITE_POST_QUANTUM] as const)('cipher suite %i', (suite) => {
  test.each([
    ['node:crypto', node],
    ['noble and WebCrypto', web],
    ['both, one after the other', mixed]
  ])('runs on %s', { timeout: 60_000 }, async (_name, depsFor) => {
    const { observer, members } = await scenario(941, suite, depsFor)
    expect(observer.suite.id).toBe(suite)
    expect(members).toHaveLength(5)
  })

  test('gives the same commits, messages and keys on both from the same seed', { timeout: 60_000 }, async () => {
    const run = async (depsFor: (seed: number) => MemberDeps): Promise<readonly string[]> => {
      const world = await createWorld(951, [EDITOR], { suite, depsFor })
      const [a, b] = world.members
      if (a === undefined || b === undefined) throw new Error('two members expected')
      const { commit } = await decide(world, b)
      const { senderData, ciphertext } = await a.group.encrypt(utf8('text'), emptyBytes)
      const secret = await b.group.exportSecret('label', emptyBytes, 32)
      return [commit, senderData, ciphertext, secret].map(toHex)
    }
    expect(await run(node)).toEqual(await run(web))
  })
})

test('the post-quantum suite’s commits carry encapsulations of X-Wing, which the others’ do not', async () => {
  const sizeOf = async (suite: SuiteId): Promise<number> => {
    const world = await createWorld(961, [EDITOR], { suite })
    const [, editor] = world.members
    if (editor === undefined) throw new Error('two members expected')
    return (await editor.group.buildCommit()).commit.length
  }
  const [classic, postQuantum] = [await sizeOf(3), await sizeOf(SUITE_POST_QUANTUM)]
  // Two public keys of 1216 bytes and one encapsulation of 1120 in the place of 32 bytes each, lengths aside.
  expect(postQuantum - classic).toBeGreaterThanOrEqual(2 * (1216 - 32) + (1120 - 32))
  expect(postQuantum - classic).toBeLessThan(2 * (1216 - 32) + (1120 - 32) + 16)
})

/** Pre-shared keys in commits and Welcomes (RFC 9420 section 8.4): of the application, and of past epochs. */
import type { Proposal } from 'ts-mls/proposal.js'
import { describe, expect, test } from 'vitest'
import { equalBytes, utf8 } from '../bytes.js'
import { MemberGroup, type PskRef } from './index.js'
import { expectRefused, forge } from './testing/forge.js'
import {
  createWorld,
  decide,
  EDITOR,
  expectAgreement,
  keyPackageFor,
  type Member,
  testDeps,
  type World
} from './testing/world.js'

const ID = utf8('from a scanned code')
const KEY = new Uint8Array(32).fill(5)
const external: PskRef = { kind: 'external', id: ID }

async function world(seed: number): Promise<World & { admin: Member; editor: Member; third: Member }> {
  const made = await createWorld(seed, [EDITOR, EDITOR])
  const [admin, editor, third] = made.members
  if (admin === undefined || editor === undefined || third === undefined) throw new Error('three members expected')
  return Object.assign(made, { admin, editor, third })
}

function give(member: Member, key: Uint8Array = KEY): void {
  Object.assign(member.deps, { externalPsk: (id: Uint8Array) => (equalBytes(id, ID) ? key : undefined) })
}

async function expectPoison(member: Member, commit: Uint8Array, poison: string): Promise<void> {
  await expect(member.group.processCommit(commit)).rejects.toMatchObject({ code: 'INVALID', info: { poison } })
  expect(member.store()).toEqual([])
}

describe('a key of the application', () => {
  test('is mixed in when an admin commits it, for who has it', async () => {
    const w = await world(1_300)
    for (const member of w.members) give(member)
    await decide(w, w.admin, { psks: [external] })
    await decide(w, w.editor)
  })

  test('keeps out who has not got it, or has another', async () => {
    const w = await world(1_301)
    give(w.admin)
    give(w.third, new Uint8Array(32))
    const { commit } = await w.admin.group.buildCommit({ psks: [external] })
    await w.observer.processCommit(commit) // it cannot know who has it
    await expectPoison(w.editor, commit, 'psk')
    await expectPoison(w.third, commit, 'confirmation_tag')
    give(w.editor)
    expect(await w.editor.process(commit)).toBe(true)
    await expect(w.third.group.buildCommit({ psks: [external] })).rejects.toThrow(
      expect.objectContaining({ code: 'FORBIDDEN' })
    )
    await expect(w.admin.group.buildCommit({ psks: [{ kind: 'external', id: utf8('unknown') }] })).rejects.toThrow(
      expect.objectContaining({ code: 'NOT_FOUND' })
    )
  })

  test('is needed by who joins with the commit that brings it', async () => {
    const w = await world(1_302)
    for (const member of w.members) give(member)
    const deps = testDeps(13_020)
    const keyPackage = await keyPackageFor(deps)
    const plan = { psks: [external], adds: [{ keyPackage: keyPackage.message }] }
    const { welcome, tree } = await decide(w, w.admin, plan)
    if (welcome === undefined) throw new Error('no Welcome')
    const join = (key: Uint8Array | undefined) =>
      MemberGroup.join({ welcome, tree, keyPackage }, { ...deps, externalPsk: () => key })
    await expect(join(undefined)).rejects.toThrow(expect.objectContaining({ code: 'NOT_FOUND' }))
    await expect(join(new Uint8Array(32))).rejects.toThrow(expect.objectContaining({ code: 'UNDECRYPTABLE' }))
    expect((await join(KEY)).epochAuthenticator).toEqual(w.admin.group.epochAuthenticator)
  })
})

describe('a key of a past epoch', () => {
  test('is mixed in as long as the policy retains it, after a restart too', async () => {
    const w = await world(1_303)
    await decide(w, w.editor)
    for (const member of w.members) member.restart()
    await decide(w, w.admin, { psks: [{ kind: 'resumption', epoch: 1n }] })
    await decide(w, w.admin, {
      psks: [
        { kind: 'resumption', epoch: w.admin.group.epoch },
        { kind: 'resumption', epoch: 2n }
      ]
    })
    for (let i = 0; i < 6; i++) await decide(w, w.third)
    for (const member of w.members) member.restart()
    // Epoch 1 is nine epochs ago now, epoch 2 eight.
    await expect(w.admin.group.buildCommit({ psks: [{ kind: 'resumption', epoch: 1n }] })).rejects.toThrow(
      expect.objectContaining({ code: 'NOT_FOUND' })
    )
    await decide(w, w.admin, { psks: [{ kind: 'resumption', epoch: 2n }] })
    expectAgreement(w)
  })

  test('is refused when it is not of this group, not kept, or not to come', async () => {
    const w = await world(1_304)
    const { groupId, epoch } = w.observer
    const psk = (change: object): Proposal => ({
      proposalType: 'psk',
      psk: {
        preSharedKeyId: {
          psktype: 'resumption',
          usage: 'application',
          pskGroupId: groupId,
          pskEpoch: epoch,
          pskNonce: new Uint8Array(32),
          ...change
        }
      }
    })
    const keys = { psks: () => KEY }
    const cases: readonly (readonly [RegExp, object])[] = [
      [/another group/, { pskGroupId: new Uint8Array(16) }],
      [/do not keep/, { pskEpoch: epoch + 1n }],
      [/do not keep/, { pskEpoch: 2n ** 64n - 1n }]
    ]
    for (const [reason, change] of cases)
      await expectRefused(w, w.admin, await forge(w.admin, [psk(change)], keys), 'INVALID', reason)
    for (let i = 0; i < 9; i++) await decide(w, w.editor)
    await expectRefused(w, w.admin, await forge(w.admin, [psk({ pskEpoch: 1n })], keys), 'INVALID', /do not keep/)
  })
})

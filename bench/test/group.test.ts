import { createCrypto, systemContext } from '@heddle/core'
import { beforeAll, describe, expect, it } from 'vitest'
import * as extensions from '../../core/src/group/extensions.js'
import * as group from '../../core/src/group/index.js'
import * as engine from '../../core/src/group/mls/index.js'
import * as tree from '../../core/src/group/mls/tree.js'
import * as updatePaths from '../../core/src/group/mls/update-path.js'
import * as persistence from '../../core/src/group/persistence.js'
import * as wire from '../../core/src/wire/index.js'
import { dirtyBytes, HeddleContender, LargeGroup, newKeyPackage, TsMlsContender } from '../src/group/index.js'
import { isMet, metric } from '../src/metric.js'

const context = systemContext()
const rooms = { engine, extensions, group, persistence, tree, updatePaths, wire }
const parts = { rooms, crypto: createCrypto(context.random), now: () => context.clock.now() }
const aad = new Uint8Array(100)

describe('a group of 1,000 members', () => {
  let large: LargeGroup
  beforeAll(async () => {
    large = await LargeGroup.make(1_000, parts)
  }, 120_000)

  it('stores less than 1 KB for a message sent and for one received', async () => {
    const [sender, receiver] = [large.member(3), large.member(998)]
    for (let i = 0; i < 30; i++) {
      const messages = [await sender.encrypt(new Uint8Array(40), aad)]
      expect(dirtyBytes(sender)).toBeLessThan(i === 0 ? 1_024 : 64)
      // Every fifth message comes after the one that follows it, so a key is kept meanwhile.
      if (i % 5 === 4) {
        messages.unshift(await sender.encrypt(new Uint8Array(40), aad))
        expect(dirtyBytes(sender)).toBeLessThan(64)
      }
      for (const message of messages) {
        await receiver.decrypt({ ...message, epoch: sender.epoch, aad })
        expect(dirtyBytes(receiver)).toBeLessThan(i === 0 ? 1_024 : 128)
      }
    }
  })

  it('hashes and checks what a commit changes, and not the whole tree', async () => {
    const sender = large.member(0)
    const { commit } = await sender.buildCommit()
    let hashes = 0
    const counting = {
      ...parts.crypto,
      sha256: (data: Uint8Array) => {
        hashes++
        return parts.crypto.sha256(data)
      }
    }
    const { state } = large.observer()
    const observer = group.PublicGroup.of(state, { crypto: counting })
    hashes = 0
    const next = await observer.processCommit(commit)
    // Ten nodes above the leaf: their tree hashes and parent hashes, and the context.
    expect(hashes).toBeLessThan(40)
    expect(next.roster).toBe(observer.roster)
  })
})

describe('the groups that are measured', () => {
  it('are valid for who joins, and agree with those who are in them', async () => {
    const small = await LargeGroup.make(6, parts)
    const [admin, other] = [small.member(0), small.member(5)]
    const keyPackage = await newKeyPackage(parts)
    const { commit, welcome, pending, next } = await admin.buildCommit({ adds: [{ keyPackage: keyPackage.message }] })
    if (welcome === undefined) throw new Error('no Welcome')
    const deps = { crypto: parts.crypto, now: parts.now }
    const joined = await group.MemberGroup.join({ welcome, tree: next.ratchetTree(), keyPackage }, deps)
    const processed = await other.processCommit(commit)
    if (processed.removed) throw new Error('removed')
    expect(joined.epochAuthenticator).toEqual((await admin.adopt(pending)).epochAuthenticator)
    expect(joined.epochAuthenticator).toEqual(processed.group.epochAuthenticator)
  })

  it('are the same work for heddle and ts-mls', async () => {
    const small = await LargeGroup.make(5, parts)
    const heddle = new HeddleContender(small, parts)
    const tsMls = await TsMlsContender.make('ts-mls-node', small, parts, parts.crypto.suite(1).mls)
    const [ours, theirs] = [await heddle.update(), await tsMls.update()]
    expect(ours.commitBytes).toBe(theirs.commitBytes)
    expect((await heddle.join()).joinMs).toBeGreaterThan(0)
    expect((await tsMls.join()).welcomeBytes).toBeGreaterThan(1_000)
    for (const contender of [heddle, tsMls]) {
      expect((await contender.messages(100, 3)).overheadBytes).toBeGreaterThan(64)
      expect((await contender.stored()).receivedBytes).toBeGreaterThan(0)
    }
  })
})

describe('a target', () => {
  it('is met or missed', () => {
    const of = (value: number, target: { atLeast?: number; atMost?: number }) =>
      isMet(metric({ id: 'a.b', label: 'b', unit: 'ms', target }, [value]))
    expect([of(5, { atMost: 5 }), of(6, { atMost: 5 }), of(5, { atLeast: 5 }), of(4, { atLeast: 5 })]).toEqual([
      true,
      false,
      true,
      false
    ])
    expect(isMet(metric({ id: 'a.b', label: 'b', unit: 'ms' }, [1]))).toBeUndefined()
  })
})

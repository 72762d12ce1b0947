import { describe, expect, it } from 'vitest'
import { toHex } from '../bytes.js'
import type { MemberGroup } from '../group/index.js'
import type { Entry, Storage } from '../plugin/index.js'
import { AlarmRecord, type EnvelopeHeader } from '../wire/index.js'
import { Alarms } from './alarms.js'
import { DocumentStore, Turn } from './store.js'

const id = (n: number): Uint8Array => new Uint8Array(16).fill(n)
const bytes = (n: number, length: number): Uint8Array => new Uint8Array(length).fill(n)

/** What an alarm needs to know of a group. */
function groupAt(epoch: bigint, members: readonly number[], retainedEpochs = 2): MemberGroup {
  const present = new Set(members.map((n) => toHex(id(n))))
  return {
    epoch,
    epochAuthenticator: bytes(Number(epoch), 32),
    public: {
      document: { policy: { retainedEpochs } },
      member: (member: Uint8Array) => (present.has(toHex(member)) ? {} : undefined)
    },
    publicAt: (at: bigint) => (at <= epoch ? { ctx: bytes(100 + Number(at), 32) } : undefined)
  } as unknown as MemberGroup
}

const header = (epoch: bigint, tag: number): EnvelopeHeader => ({ epoch, ctxTag: bytes(tag, 16) }) as EnvelopeHeader
const isFork = expect.objectContaining({ code: 'FORK' })

describe('SYNC-030: an alarm', () => {
  it('is for a context that differs in an epoch this device has, and for no other', () => {
    const alarms = new Alarms([])
    const group = groupAt(3n, [1])
    expect(() => alarms.checkContext(header(3n, 103), group)).not.toThrow()
    expect(() => alarms.checkContext(header(2n, 102), group)).not.toThrow()
    expect(() => alarms.checkContext(header(2n, 103), group)).toThrow(isFork)
    // Nobody can say of an epoch to come.
    expect(() => alarms.checkContext(header(4n, 1), group)).not.toThrow()
  })

  it('is none for an authenticator that differs, which is told once of a member, of the epochs whose keys are kept', () => {
    const alarms = new Alarms([])
    for (const epoch of [1n, 2n, 3n, 4n]) alarms.entered(groupAt(epoch, [1]))
    expect(alarms.contradicts(id(1), 1n, bytes(9, 8))).toBe(false)
    for (const epoch of [2n, 3n, 4n]) {
      expect(alarms.contradicts(id(1), epoch, bytes(Number(epoch), 8))).toBe(false)
      expect(alarms.contradicts(id(1), epoch, undefined)).toBe(false)
      expect(alarms.contradicts(id(Number(epoch)), epoch, bytes(9, 8))).toBe(true)
      expect(alarms.contradicts(id(Number(epoch)), epoch, bytes(9, 8))).toBe(false)
    }
    expect(alarms.isStanding).toBe(false)
  })

  it('stands while its member is one, is stored when it is raised and forgotten when it ends', async () => {
    const stored = new Map<string, Uint8Array>()
    const storage = {
      commit: async ({ put = [], del = [] }: { put?: Entry[]; del?: Uint8Array[] }) => {
        for (const { key, value } of put) stored.set(toHex(key), value)
        for (const key of del) stored.delete(toHex(key))
      }
    } as unknown as Storage
    const store = new DocumentStore(storage, id(0))
    const step = async (alarms: Alarms) => {
      const turn = new Turn()
      alarms.step(turn, store)
      await turn.commit(storage)
    }
    const alarms = new Alarms([])
    alarms.raise(id(9), 3n, groupAt(3n, [1, 2]))
    expect(alarms.isStanding).toBe(false)
    alarms.raise(id(2), 3n, groupAt(3n, [1, 2]))
    alarms.raise(id(2), 4n, groupAt(4n, [1, 2]))
    expect(alarms.members).toEqual([toHex(id(2))])
    await step(alarms)
    const records = [...stored.values()].map((value) => AlarmRecord.decode(value))
    expect(records).toEqual([{ member: id(2), epoch: 3n }])

    const again = new Alarms(records)
    again.entered(groupAt(5n, [1, 2]))
    expect(again.isStanding).toBe(true)
    again.entered(groupAt(6n, [1]))
    expect(again.isStanding).toBe(false)
    await step(again)
    expect(stored.size).toBe(0)
  })
})

describe('SYNC-031: the authenticator', () => {
  it('is said in the first message of an epoch, and again after a restart', () => {
    const alarms = new Alarms([])
    alarms.entered(groupAt(3n, [1]))
    expect(alarms.tagToSay(3n)).toEqual(bytes(3, 8))
    expect(alarms.tagToSay(3n)).toBeUndefined()
    alarms.entered(groupAt(4n, [1]))
    expect(alarms.tagToSay(4n)).toEqual(bytes(4, 8))
    const restarted = new Alarms([])
    restarted.entered(groupAt(4n, [1]))
    expect(restarted.tagToSay(4n)).toEqual(bytes(4, 8))
  })
})

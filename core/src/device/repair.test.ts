import { describe, expect, it } from 'vitest'
import { toHex } from '../bytes.js'
import { StateVector } from '../sync/index.js'
import { type Head, type RepairHead, type RepairRequest, Role } from '../wire/index.js'
import { type DueAnswer, Repair, type StoredRepair } from './repair.js'
import type { Room } from './room.js'
import { DocumentStore, Turn } from './store.js'

const id = (byte: number): Uint8Array => new Uint8Array(16).fill(byte)
const [rob, bob, carol, me] = [id(1), id(2), id(3), id(8)]
const head = (member: Uint8Array, seq: bigint, branch = 0): Head => ({
  member,
  seq,
  hash: new Uint8Array(32).fill(Number(seq) + branch)
})
const nothing: StoredRepair = { lacks: [], forks: [] }

/** A device's repair on a clock of its own, with what it asked and answered. `others`: who may write, besides. */
function device(
  heads: readonly Head[],
  stored = nothing,
  versionBytes = 10,
  role: Role = Role.ROLE_EDITOR,
  others: readonly Uint8Array[] = [bob, carol, id(4)]
) {
  let nowMs = 0
  let timers: { readonly atMs: number; readonly run: () => void }[] = []
  const asked: RepairRequest[] = []
  const answered: DueAnswer[] = []
  const problems: string[] = []
  const overdue: string[] = []
  let isBehind = false
  let wakes = 0
  const room = {
    id: 'doc',
    groupId: id(9),
    group: {
      memberId: me,
      me: { role },
      public: { roster: [...others, me].map((memberId) => ({ memberId, role: Role.ROLE_EDITOR })) }
    },
    vector: new StateVector(heads),
    store: new DocumentStore(undefined as never, id(9)),
    replica: { doc: { version: () => new Uint8Array(versionBytes) } },
    context: {
      clock: {
        now: () => nowMs,
        setTimer(delayMs: number, run: () => void) {
          const timer = { atMs: nowMs + delayMs, run }
          timers.push(timer)
          return {
            [Symbol.dispose]: () => {
              timers = timers.filter((one) => one !== timer)
            }
          }
        }
      },
      log: () => {}
    },
    pool: { random: () => 0.5 },
    wake: () => {
      wakes++
    },
    emit: (event: { readonly error: { readonly code: string } }) => problems.push(event.error.code)
  } as unknown as Room
  const repair = new Repair(room, stored, {
    ask: (request, sealed) => {
      asked.push(request)
      sealed(head(me, BigInt(asked.length)))
    },
    answer: (due) => answered.push(due),
    frozen: () => {},
    passedOver: () => undefined,
    misses: () => isBehind,
    overdue: (member) => overdue.push(toHex(member))
  })
  const step = (online = true): Turn => {
    const turn = new Turn()
    repair.step(turn, online)
    return turn
  }
  step()
  return {
    repair,
    room,
    asked,
    answered,
    problems,
    overdue,
    step,
    setBehind: (is: boolean) => {
      isBehind = is
    },
    /** Lets time pass; a turn follows whenever one is asked for. */
    pass(ms: number, online = true): void {
      const endMs = nowMs + ms
      for (;;) {
        const next = timers.toSorted((a, b) => a.atMs - b.atMs)[0]
        if (next === undefined || next.atMs > endMs) break
        timers = timers.filter((one) => one !== next)
        nowMs = next.atMs
        const before = wakes
        next.run()
        if (wakes > before) step(online)
      }
      nowMs = endMs
    }
  }
}

const request = (position: RepairHead, attempt = 1): RepairRequest => ({
  version: new Uint8Array(4),
  heads: [position],
  attempt,
  forks: []
})

describe('asking (SYNC-026)', () => {
  it('says where its content ends, and asks again after 10 s, then twice as long, eight times', () => {
    const one = device([head(rob, 5n)])
    one.repair.lacks(head(rob, 3n))
    one.pass(2_000)
    expect(one.asked.map(({ heads, attempt }) => [heads, attempt])).toEqual([[[head(rob, 3n)], 1]])
    one.pass(10_000)
    expect(one.asked.map(({ attempt }) => attempt)).toEqual([1, 2])
    one.pass(20_000)
    expect(one.asked.length).toBe(3)
    one.pass(24 * 3_600_000)
    expect(one.asked.length).toBe(8)
    expect(one.repair.lacking).toBe(1)
  })

  it('is left to another in the same place for a while', () => {
    const one = device([head(rob, 3n)])
    one.repair.lacks(head(rob, 3n))
    one.repair.onRequest(bob, head(bob, 1n), request(head(rob, 3n)))
    one.pass(9_000)
    // Once: who asks all the time keeps nobody from asking.
    one.repair.onRequest(bob, head(bob, 2n), request(head(rob, 3n)))
    expect(one.asked).toEqual([])
    one.pass(2_000)
    expect(one.asked.map(({ attempt }) => attempt)).toEqual([1])
  })

  it('is served by what two others in the same place have asked, and not by what one has', () => {
    const one = device([head(rob, 3n)])
    one.repair.lacks(head(rob, 3n))
    const answer = (request: Head, by: Uint8Array) => one.repair.onAnswer(by, { request, heads: [head(rob, 4n)] })
    const requestOf = (asker: Uint8Array, seq: bigint) => head(asker, seq, 10 * (asker[0] ?? 0))
    const lacking: number[] = []
    for (const asker of [bob, carol]) {
      for (const seq of [1n, 2n])
        one.repair.onRequest(asker, requestOf(asker, seq), request(head(rob, 3n), Number(seq)))
      for (const seq of [1n, 2n]) for (const by of [rob, id(4)]) answer(requestOf(asker, seq), by)
      lacking.push(one.repair.lacking)
    }
    expect(lacking).toEqual([1, 0])
    one.pass(3_600_000)
    expect(one.asked).toEqual([])
  })

  it('is served by two members that answer, or by one that answers when it asks again', () => {
    for (const times of [1, 2]) {
      const one = device([head(rob, 3n)])
      one.repair.lacks(head(rob, 3n))
      one.pass(times === 1 ? 2_000 : 12_000)
      expect(one.asked.length).toBe(times)
      const answer = (by: Uint8Array) =>
        one.repair.onAnswer(by, { request: head(me, BigInt(times)), heads: [head(rob, 4n)] })
      answer(bob)
      expect(one.repair.lacking).toBe(times === 1 ? 1 : 0)
      answer(bob)
      expect(one.repair.lacking).toBe(times === 1 ? 1 : 0)
      answer(carol)
      expect(one.repair.lacking).toBe(0)
    }
  })

  it('is served by one where nobody else may write', () => {
    const one = device([head(rob, 3n)], nothing, 10, Role.ROLE_EDITOR, [bob])
    one.repair.lacks(head(rob, 3n))
    one.pass(2_000)
    one.repair.onAnswer(bob, { request: head(me, 1n), heads: [head(rob, 4n)] })
    expect(one.repair.lacking).toBe(0)
  })

  it('is served by no answer to what it has not asked, whoever gives how many', () => {
    const one = device([head(rob, 5n)])
    one.repair.lacks(head(rob, 3n))
    for (const by of [bob, carol, id(4)]) one.repair.onAnswer(by, { request: head(me, 99n), heads: [head(rob, 9n)] })
    expect(one.repair.lacking).toBe(1)
    one.pass(24 * 3_600_000)
    expect(one.asked.length).toBe(8)
  })

  it('waits until somebody is there to hear it', () => {
    const one = device([head(rob, 3n)])
    one.repair.lacks(head(rob, 3n))
    one.pass(60_000, false)
    expect(one.asked).toEqual([])
    one.step(true)
    expect(one.asked.length).toBe(1)
  })

  it('goes on after a restart, and no more once it was answered', () => {
    const before = device([head(rob, 3n)], { lacks: [{ position: head(rob, 2n), attempts: 8 }], forks: [] })
    before.pass(2_000)
    expect(before.asked.map(({ heads }) => heads)).toEqual([[head(rob, 2n)]])
    const answer = (request: Head, seq: bigint) => {
      for (const by of [bob, carol]) before.repair.onAnswer(by, { request, heads: [head(rob, seq)] })
      return before.repair.lacking
    }
    expect(answer(head(me, 1n), 2n)).toBe(1)
    // An answer to one who stood elsewhere may hold less.
    expect(answer(head(id(4), 1n, 50), 3n)).toBe(1)
    expect(answer(head(me, 1n), 3n)).toBe(0)
  })

  it('comes after 10 s in which the servers did not have what counts, if they still do not', () => {
    const [one, other] = [device([head(rob, 3n)]), device([head(rob, 3n)])]
    for (const { repair, setBehind } of [one, other]) {
      setBehind(true)
      repair.isBehind(rob)
    }
    one.pass(9_000)
    other.pass(9_000)
    expect(one.asked).toEqual([])
    other.setBehind(false)
    one.pass(5_000)
    other.pass(600_000)
    expect([one.asked.length, other.asked.length]).toEqual([1, 0])
    expect([one.overdue, other.overdue]).toEqual([[toHex(rob)], []])
  })

  it('leaves out a state vector that does not fit', () => {
    const one = device([head(rob, 3n)], nothing, 900_001)
    one.repair.lacks(head(rob, 3n))
    one.pass(2_000)
    expect(one.asked.map(({ version }) => version.length)).toEqual([0])
  })
})

describe('answering (SYNC-027)', () => {
  it('is for who has more', () => {
    const one = device([head(rob, 5n)])
    one.repair.onRequest(bob, head(bob, 1n), request(head(rob, 5n)))
    one.repair.onRequest(bob, head(bob, 2n), request(head(rob, 6n)))
    one.repair.onRequest(bob, head(bob, 3n), request(head(id(3), 1n)))
    one.pass(10_000)
    expect(one.answered).toEqual([])
    one.repair.onRequest(bob, head(bob, 4n), request(head(rob, 4n)))
    one.pass(3_000)
    expect(one.answered.map(({ answer }) => answer)).toEqual([{ request: head(bob, 4n), heads: [head(rob, 5n)] }])
  })

  it('is silent when two others said the same, unless it is asked again', () => {
    const answersAfter = (said: readonly Uint8Array[], before: readonly RepairRequest[], attempt: number) => {
      const one = device([head(rob, 5n)])
      let seq = 1n
      for (const earlier of before) {
        one.repair.onRequest(bob, head(bob, seq++), earlier)
        one.pass(10_000)
      }
      const answered = one.answered.length
      one.repair.onRequest(bob, head(bob, seq), request(head(rob, 4n), attempt))
      for (const by of said) one.repair.onAnswer(by, { request: head(bob, seq), heads: [head(rob, 5n)] })
      one.pass(3_000)
      return one.answered.length - answered
    }
    expect(answersAfter([carol, id(4)], [], 1)).toBe(0)
    expect(answersAfter([carol], [], 1)).toBe(1)
    expect(answersAfter([carol, carol], [], 1)).toBe(1)
    // Not even who asks can say that it was answered.
    expect(answersAfter([carol, bob], [], 1)).toBe(1)
    expect(answersAfter([carol, id(4)], [request(head(rob, 4n))], 2)).toBe(1)
    // That it asks again is not its to say.
    expect(answersAfter([carol, id(4)], [], 2)).toBe(0)
    expect(answersAfter([carol, id(4)], [request(head(rob, 3n))], 2)).toBe(0)
    expect(answersAfter([carol, id(4)], [request(head(rob, 4n))], 1)).toBe(0)
  })

  it('is not silent when others said less', () => {
    const one = device([head(rob, 5n)])
    one.repair.onRequest(bob, head(bob, 1n), request(head(rob, 3n)))
    for (const by of [carol, id(4)]) one.repair.onAnswer(by, { request: head(bob, 1n), heads: [head(rob, 4n)] })
    one.pass(3_000)
    expect(one.answered.length).toBe(1)
  })

  it('is not for a reader, whose content nobody takes', () => {
    const [reader, editor] = [Role.ROLE_READER, Role.ROLE_EDITOR].map((role) => {
      const one = device([head(rob, 5n)], nothing, 10, role)
      one.repair.onRequest(bob, head(bob, 1n), request(head(rob, 4n)))
      one.pass(3_000)
      return one.answered.length
    })
    expect([reader, editor]).toEqual([0, 1])
  })

  it('tells of no content that it lacks itself', () => {
    const one = device([head(rob, 5n)])
    one.repair.lacks(head(rob, 2n))
    one.repair.onRequest(bob, head(bob, 1n), request(head(rob, 1n)))
    one.pass(3_000)
    expect(one.answered.map(({ answer }) => answer.heads)).toEqual([[head(rob, 2n)]])
  })

  it('becomes rarer for who asks all the time, and for nobody else', () => {
    const one = device([head(rob, 5n)])
    for (let seq = 1n; seq <= 600n; seq++) {
      one.repair.onRequest(bob, head(bob, seq), request(head(rob, 4n)))
      one.pass(1_000)
    }
    expect(one.answered.length).toBeLessThan(9)
    one.repair.onRequest(id(3), head(id(3), 1n), request(head(rob, 4n)))
    one.pass(3_000)
    expect(toHex(one.answered.at(-1)?.answer.request?.member ?? bob)).toBe(toHex(id(3)))
  })
})

describe('a fork (SYNC-025, SYNC-028)', () => {
  it('is told once, and asked about by each branch that comes to light', () => {
    const one = device([head(rob, 5n)])
    one.repair.convict(rob, undefined)
    one.repair.convict(rob, undefined)
    expect([one.problems, one.repair.forked]).toEqual([['SEQUENCE_CONFLICT'], [toHex(rob)]])
    one.pass(2_000)
    expect(one.asked.length).toBe(1)
    for (const by of [bob, carol]) one.repair.onAnswer(by, { request: head(me, 1n), heads: [head(rob, 5n, 50)] })
    expect(one.repair.lacking).toBe(0)
    // The same end of a branch is no news, another is.
    one.repair.onRequest(bob, head(bob, 2n), request(head(rob, 4n, 50)))
    one.repair.onRequest(bob, head(bob, 3n), request(head(rob, 4n, 50)))
    one.pass(2_000)
    expect(one.asked.length).toBe(2)
  })

  it('is not asked about for ever when all stand in the same place', () => {
    const one = device([head(rob, 5n)])
    one.repair.convict(rob, undefined)
    one.pass(24 * 3_600_000)
    expect([one.asked.length, one.repair.lacking]).toEqual([3, 0])
  })
})

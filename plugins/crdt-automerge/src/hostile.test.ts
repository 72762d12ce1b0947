/** Bytes made by somebody who knows the format: right checksums around wrong content, and changes that contradict others. */
import { createHash } from 'node:crypto'
import { deflateRawSync } from 'node:zlib'
import * as A from '@automerge/automerge'
import { type CrdtInit, HeddleError, systemContext } from '@heddle/core'
import { describe, expect, test } from 'vitest'
import automerge, { type AutomergeDoc, type Root } from './index.js'

const actor = (byte: number): Uint8Array => new Uint8Array(16).fill(byte)

async function open(byte: number, init: Partial<CrdtInit> = {}): Promise<AutomergeDoc> {
  const backend = await automerge.create({}, systemContext())
  return (await backend.open({ actor: actor(byte), ...init })) as AutomergeDoc
}

/** A history of two updates, and the document they make. */
function history() {
  const hex = '08'.repeat(16)
  const first = A.change(A.init<Root>({ actor: hex }), { time: 0 }, (draft) => {
    draft.t = 'hello'
    draft.l = [1, 2, { a: 1 }]
    draft.c = new A.Counter(1)
  })
  const heads = A.getHeads(first)
  const second = A.change(first, { time: 0 }, (draft) => {
    A.splice(draft, ['t'], 2, 1, 'zz')
    ;(draft.l as unknown[])[1] = 5
    ;(draft.c as A.Counter).increment(2)
  })
  const changes = A.getAllChanges(second)
  const [one, two] = changes
  if (one === undefined || two === undefined) throw new Error('two changes make two chunks')
  return { one, two, document: A.save(second), heads }
}

/** With the checksum that its content asks for. */
function sealed(chunk: Uint8Array): Uint8Array {
  const out = chunk.slice()
  out.set(createHash('sha256').update(out.subarray(8)).digest().subarray(0, 4), 4)
  return out
}

/** Linear congruential: the same bytes in every run. */
function seeded(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff
    return (state >>> 8) % below
  }
}

function mutated(chunk: Uint8Array, random: (below: number) => number): Uint8Array {
  const out = chunk.slice()
  for (let i = 0; i <= random(3); i++) out[10 + random(out.length - 10)] = random(256)
  return sealed(out)
}

function codeOf(action: () => unknown): string {
  try {
    action()
    return 'done'
  } catch (error) {
    return HeddleError.is(error) ? error.code : `untyped: ${String(error)}`
  }
}

describe('content that somebody made up', () => {
  test('is refused, taken or breaks the document, and nothing else', async () => {
    const { one, two } = history()
    const random = seeded(1)
    const writer = await open(1, { updates: [one, two] })
    const outcomes = new Map<string, number>()
    for (let i = 0; i < 600; i++) {
      const doc = await open(2, { updates: [one] })
      const before = doc.toJSON()
      const outcome = codeOf(() => doc.apply([mutated(two, random)]))
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
      if (outcome === 'CRDT_MALFORMED') {
        expect(doc.toJSON()).toEqual(before)
        doc.apply([two])
        expect(doc.toJSON()).toEqual(writer.toJSON())
      }
      if (outcome === 'CRDT_TAINTED') {
        for (const call of [() => doc.apply([two]), () => doc.toJSON(), () => doc.flush()]) {
          expect(codeOf(call)).toBe('CRDT_TAINTED')
        }
      }
      await doc[Symbol.asyncDispose]()
    }
    expect([...outcomes.keys()].sort()).toEqual(['CRDT_MALFORMED', 'CRDT_TAINTED', 'done'])
  })

  test('in a document is refused, or loads', async () => {
    const { one, document } = history()
    const random = seeded(2)
    const outcomes = new Set<string>()
    for (let i = 0; i < 300; i++) {
      const made = mutated(document, random)
      const [empty, begun] = [await open(2), await open(3, { updates: [one] })]
      const before = begun.toJSON()
      const [ofEmpty, ofBegun] = [codeOf(() => empty.apply([made])), codeOf(() => begun.apply([made]))]
      outcomes.add(ofEmpty)
      outcomes.add(ofBegun)
      if (ofEmpty === 'CRDT_MALFORMED') expect(empty.toJSON()).toEqual({})
      if (ofBegun === 'CRDT_MALFORMED') expect(begun.toJSON()).toEqual(before)
      await empty[Symbol.asyncDispose]()
      await begun[Symbol.asyncDispose]()
    }
    expect(outcomes).toContain('CRDT_MALFORMED')
    expect([...outcomes].filter((outcome) => outcome.startsWith('untyped'))).toEqual([])
  })
})

describe('a change with a number that its actor has used', () => {
  const forged = () => {
    const doc = A.change(A.init<Root>({ actor: '08'.repeat(16) }), { time: 0 }, (draft) => {
      draft.forged = true
    })
    return A.getLastLocalChange(doc) ?? expect.fail('a change was made')
  }

  test('taints the document for ever', async () => {
    const { one, two } = history()
    const doc = await open(2, { updates: [one] })
    expect(codeOf(() => doc.apply([forged()]))).toBe('CRDT_TAINTED')
    expect(codeOf(() => doc.apply([two]))).toBe('CRDT_TAINTED')
    const change = () =>
      doc.native.change((draft) => {
        draft.more = true
      })
    expect(codeOf(change)).toBe('CRDT_TAINTED')
    await doc[Symbol.asyncDispose]()
  })

  test('is not opened, and leaves an empty document as it was', async () => {
    const { one, two, document } = history()
    await expect(open(2, { updates: [one, forged()] })).rejects.toMatchObject({ code: 'CRDT_MALFORMED' })
    const doc = await open(2)
    expect(codeOf(() => doc.apply([document, forged()]))).toBe('CRDT_MALFORMED')
    expect(doc.toJSON()).toEqual({})
    doc.apply([one, two])
    expect(doc.toJSON()).toMatchObject({ t: 'hezzlo' })
  })
})

describe('chunks', () => {
  test('of a large change are written without compression, and every flipped bit is seen', async () => {
    const a = await open(1)
    const words = Array.from({ length: 150 }, (_, i) => `word ${(i * 7919) % 1000}`).join(' ')
    a.native.change((draft) => {
      draft.t = words
    })
    const update = a.flush()?.bytes ?? expect.fail('nothing to flush')
    expect(update.length).toBeGreaterThan(1000)
    const doc = await open(2)
    for (let bit = 0; bit < 8 * update.length; bit++) {
      const flipped = update.slice()
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      expect(codeOf(() => doc.apply([flipped]))).toBe('CRDT_MALFORMED')
    }
    expect(doc.toJSON()).toEqual({})
  })

  test('of another type are refused', async () => {
    const { one } = history()
    const doc = await open(2)
    for (const type of [2, 3, 4, 255]) {
      const other = one.slice()
      other[8] = type
      expect(codeOf(() => doc.apply([sealed(other)]))).toBe('CRDT_MALFORMED')
    }
  })

  test('with a length beyond what came, or beyond what is addressable, are refused', async () => {
    const doc = await open(2)
    const head = [0x85, 0x6f, 0x4a, 0x83, 0, 0, 0, 0, 1]
    for (const length of [[0x7f], [0xff, 0xff, 0xff, 0xff, 0x7f], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], []]) {
      expect(codeOf(() => doc.apply([Uint8Array.from([...head, ...length])]))).toBe('CRDT_MALFORMED')
    }
  })
})

describe('a few bytes that unfold to very many', () => {
  const tooMany = expect.objectContaining({
    code: 'CRDT_MALFORMED',
    cause: expect.objectContaining({ message: expect.stringContaining('more than') })
  })

  /** A run of one value in a column: its length, signed, and the value. */
  const run = (length: number, ...value: number[]) => [...leb(length, 0x40), ...value]

  /** A change that sets the same field of the root to null, over and over. */
  function repeated(operations: number): Uint8Array {
    const columns: readonly (readonly [specification: number, bytes: readonly number[]])[] = [
      [0x15, run(operations, 1, 0x6b)],
      [0x34, leb(operations, 0x80)],
      [0x42, run(operations, 1)],
      [0x56, run(operations, 0)],
      [0x70, run(operations, 0)]
    ]
    const header = columns.flatMap(([specification, bytes]) => [specification, bytes.length])
    const data = columns.flatMap(([, bytes]) => bytes)
    return chunk(1, [0, 2, 0xaa, 0xbb, 1, 1, 0, 0, 0, columns.length, ...header, ...data])
  }

  test('is an update as long as they are not too many, and refused at once when they are', async () => {
    const doc = await open(2)
    expect(doc.apply([repeated(1000)])).toEqual({ applied: 1, pending: 0 })
    expect(doc.toJSON()).toEqual({ k: null })
    for (const operations of [2 ** 24, 2 ** 40, 2 ** 62]) {
      expect(repeated(operations).length).toBeLessThan(100)
      expect(() => doc.apply([repeated(operations)])).toThrow(tooMany)
    }
    const many = Array.from({ length: 10 }, () => repeated(2 ** 20))
    expect(() => doc.apply([Uint8Array.from(many.flatMap((one) => [...one]))])).toThrow(tooMany)
  })

  test('in a compressed document are measured before they are unfolded', async () => {
    const doc = await open(2)
    for (const [column, content] of [
      [0x57, new Uint8Array(2 ** 26 + 1)],
      [0x42, Uint8Array.from(run(2 ** 40, 1))]
    ] as const) {
      const packed = deflateRawSync(content)
      const document = chunk(0, [0, 0, 0, 1, column | 8, ...leb(packed.length, 0x80), ...packed])
      expect(document.length).toBeLessThan(100_000)
      expect(() => doc.apply([document])).toThrow(tooMany)
    }
    expect(doc.toJSON()).toEqual({})
  })
})

/** LEB128; `signBit` 0x40 leaves room for the sign, 0x80 does not. */
function leb(value: number, signBit: number): number[] {
  const bytes: number[] = []
  let rest = BigInt(value)
  while (rest >= signBit) {
    bytes.push(Number(rest & 0x7fn) | 0x80)
    rest >>= 7n
  }
  return [...bytes, Number(rest)]
}

function chunk(type: number, contents: readonly number[]): Uint8Array {
  return sealed(Uint8Array.from([0x85, 0x6f, 0x4a, 0x83, 0, 0, 0, 0, type, ...leb(contents.length, 0x80), ...contents]))
}

describe('what waits', () => {
  test('is counted, or breaks the document when it cannot be read', async () => {
    const { two } = history()
    const random = seeded(3)
    const outcomes = new Set<string>()
    for (let i = 0; i < 300; i++) {
      const doc = await open(2)
      const outcome = codeOf(() => outcomes.add(JSON.stringify(doc.apply([mutated(two, random)]))))
      outcomes.add(outcome)
      await doc[Symbol.asyncDispose]()
    }
    const waits = JSON.stringify({ applied: 0, pending: 1 })
    // Some mutations take away what the change builds on.
    const applied = JSON.stringify({ applied: 1, pending: 0 })
    expect(outcomes).toContain(waits)
    expect(new Set([...outcomes, applied, 'CRDT_TAINTED'])).toEqual(
      new Set([waits, applied, 'done', 'CRDT_MALFORMED', 'CRDT_TAINTED'])
    )
  })
})

/** Bytes made by somebody who knows the format: right checksums around wrong content. */
import { type CrdtInit, HeddleError, systemContext } from '@heddle/core'
import { LoroDoc } from 'loro-crdt'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import loro, { type LoroCrdtDoc } from './index.js'
import { xxHash32 } from './xxhash32.js'

const actor = (byte: number): Uint8Array => new Uint8Array(16).fill(byte)

async function open(byte: number, init: Partial<CrdtInit> = {}): Promise<LoroCrdtDoc> {
  const backend = await loro.create({}, systemContext())
  return (await backend.open({ actor: actor(byte), ...init })) as LoroCrdtDoc
}

/** A document, the update after it, and the document they make. */
function history() {
  const doc = new LoroDoc()
  doc.setPeerId(1n)
  doc.configTextStyle({ bold: { expand: 'after' } })
  doc.getText('t').insert(0, 'hello')
  doc.getList('l').push(1)
  doc.getMap('m').set('a', [1, { b: 2 }])
  const base = doc.export({ mode: 'snapshot' })
  const version = doc.oplogVersion()
  doc.getText('t').insert(2, 'zz')
  doc.getText('t').mark({ start: 0, end: 3 }, 'bold', true)
  doc.getMovableList('q').push(3)
  doc.getTree('tree').createNode()
  doc.getMap('m').set('a', 5)
  doc.getText('t').delete(0, 2)
  const update = doc.export({ mode: 'update', from: version })
  return { base, update, whole: doc.export({ mode: 'snapshot' }) }
}

/** With the checksum that its content asks for. */
function sealed(blob: Uint8Array): Uint8Array {
  const out = blob.slice()
  new DataView(out.buffer).setUint32(16, xxHash32(out.subarray(20), 0x4f524f4c), true)
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

function mutated(blob: Uint8Array, random: (below: number) => number): Uint8Array {
  const out = blob.slice()
  for (let i = 0; i <= random(2); i++) out[22 + random(out.length - 22)] = random(256)
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

const allCalls = (doc: LoroCrdtDoc, update: Uint8Array) => [
  () => doc.apply([update]),
  () => doc.flush(),
  () => doc.version(),
  () => doc.diff(update),
  () => doc.snapshot(),
  () => doc.toJSON()
]

describe('content that somebody made up', () => {
  // Loro writes what goes wrong within it to the console.
  beforeEach(() => void vi.spyOn(console, 'error').mockImplementation(() => undefined))
  afterEach(() => void vi.restoreAllMocks())

  test('is refused with the document unchanged, or taken; a fault within Loro taints it for ever', async () => {
    const { base, update, whole } = history()
    const expected = (await open(9, { snapshot: whole })).toJSON()
    const random = seeded(3)
    const outcomes = new Map<string, number>()
    for (let i = 0; i < 1200; i++) {
      const doc = await open(2, { snapshot: base })
      const before = doc.toJSON()
      const outcome = codeOf(() => doc.apply([mutated(update, random)]))
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
      if (outcome === 'CRDT_MALFORMED') {
        expect(doc.toJSON()).toEqual(before)
        doc.apply([update])
        expect(doc.toJSON()).toEqual(expected)
      }
      if (outcome === 'CRDT_TAINTED') {
        for (const call of allCalls(doc, update)) expect(codeOf(call)).toBe('CRDT_TAINTED')
      }
      // What was taken may break Loro later: then it has to be said, and not again in another way.
      if (outcome === 'done') {
        const later = allCalls(doc, update).map(codeOf)
        expect(later.filter((code) => !['done', 'CRDT_TAINTED', 'CRDT_MALFORMED'].includes(code))).toEqual([])
        const broken = later.indexOf('CRDT_TAINTED')
        if (broken >= 0) expect(later.slice(broken).every((code) => code === 'CRDT_TAINTED')).toBe(true)
      }
      await doc[Symbol.asyncDispose]()
    }
    expect([...outcomes.keys()].sort()).toEqual(['CRDT_MALFORMED', 'CRDT_TAINTED', 'done'])
  })

  test('in a snapshot is refused, or opens', async () => {
    const { whole } = history()
    const random = seeded(4)
    const outcomes = new Set<string>()
    for (let i = 0; i < 400; i++) {
      const snapshot = mutated(whole, random)
      const opened = await open(2, { snapshot }).catch((error: unknown) => error)
      outcomes.add(HeddleError.is(opened) ? opened.code : opened instanceof Error ? String(opened) : 'opened')
    }
    expect([...outcomes].sort()).toEqual(['CRDT_MALFORMED', 'opened'])
  })

  test('beside good updates taints the document, which is said by every call afterwards', async () => {
    const { base, update } = history()
    const random = seeded(5)
    for (let i = 0; i < 20; i++) {
      let bad = mutated(update, random)
      while (codeOf(() => new LoroDoc().import(bad)) === 'done') bad = mutated(update, random)
      const doc = await open(2)
      const writer = await open(3)
      writer.native.getText('other').insert(0, 'good')
      const good = writer.flush()?.bytes ?? expect.fail('nothing to flush')
      const outcome = codeOf(() => doc.apply([good, bad, base]))
      expect(outcome).toBe('CRDT_TAINTED')
      for (const call of allCalls(doc, update)) expect(codeOf(call)).toBe('CRDT_TAINTED')
      await doc[Symbol.asyncDispose]()
      await expect(open(2, { updates: [good, bad, base] })).rejects.toMatchObject({ code: 'CRDT_MALFORMED' })
    }
  })

  test('in a version is refused, or answered', async () => {
    const { whole } = history()
    const doc = await open(2, { snapshot: whole })
    const before = doc.toJSON()
    const random = seeded(6)
    const version = doc.version()
    for (let i = 0; i < 400; i++) {
      const made = version.slice(0, 1 + random(version.length))
      made[random(made.length)] = random(256)
      expect(['done', 'CRDT_MALFORMED']).toContain(codeOf(() => doc.diff(made)))
    }
    expect(doc.toJSON()).toEqual(before)
  })
})

describe('blobs', () => {
  test('have a checksum over all but the first bytes, and every flipped bit is seen', async () => {
    const { base, update } = history()
    const doc = await open(2, { snapshot: base })
    const before = doc.toJSON()
    for (const blob of [update, framed(base, update)]) {
      for (let bit = 0; bit < 8 * blob.length; bit++) {
        const flipped = blob.slice()
        flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
        expect(codeOf(() => doc.apply([flipped]))).toBe('CRDT_MALFORMED')
      }
    }
    expect(doc.toJSON()).toEqual(before)
  })

  test('of a mode that is not an update or a snapshot are refused', async () => {
    const { update } = history()
    const doc = await open(2)
    for (const mode of [0, 1, 2, 5, 255]) {
      const other = update.slice()
      other[21] = mode
      expect(codeOf(() => doc.apply([sealed(other)]))).toBe('CRDT_MALFORMED')
    }
  })

  test('come in a frame when a snapshot has what waits, and the frame is read to its end', async () => {
    const { base, update } = history()
    const doc = await open(2)
    expect(doc.apply([framed(update)])).toEqual({ applied: 0, pending: 1 })
    const snapshot = doc.snapshot()
    const again = await open(3, { snapshot })
    expect(again.apply([])).toEqual({ applied: 0, pending: 1 })
    expect(again.apply([base])).toEqual({ applied: 1, pending: 0 })
    for (const bytes of [framed(), framed(update).subarray(0, 4), Uint8Array.from([...framed(update), 0])]) {
      expect(codeOf(() => doc.apply([bytes]))).toBe('CRDT_MALFORMED')
    }
  })
})

/** As blobs.ts describes it. */
function framed(...blobs: readonly Uint8Array[]): Uint8Array {
  const parts = blobs.flatMap((blob) => {
    const length = new Uint8Array(4)
    new DataView(length.buffer).setUint32(0, blob.length)
    return [...length, ...blob]
  })
  return Uint8Array.from([1, ...parts])
}

test('xxHash32 gives the values of its authors', () => {
  const hash = (text: string, seed = 0) => xxHash32(new TextEncoder().encode(text), seed)
  expect(hash('')).toBe(0x02cc5d05)
  expect(hash('a')).toBe(0x550d7456)
  expect(hash('abc')).toBe(0x32d153ff)
  expect(hash('Nobody inspects the spammish repetition')).toBe(0xe2293b2f)
})

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { compareBytes, equalBytes, fromHex, toHex } from '../bytes.js'
import { HeddleError } from '../errors.js'
import { mergeBatches } from './batch-group.js'
import type { Batch } from './types.js'

type Model = Map<string, Uint8Array>

/** The contract, one batch after the other, on a plain map. Returns whether it took effect. */
function applyTo(model: Model, batch: Batch): boolean {
  for (const { key, value } of batch.expect ?? []) {
    const found = model.get(toHex(key))
    if (value === undefined || found === undefined ? value !== found : !equalBytes(value, found)) return false
  }
  for (const { gte, lt } of batch.delRange ?? [])
    for (const text of [...model.keys()]) {
      const key = fromHex(text) ?? new Uint8Array(0)
      if (compareBytes(key, gte) >= 0 && compareBytes(key, lt) < 0) model.delete(text)
    }
  for (const key of batch.del ?? []) model.delete(toHex(key))
  for (const { key, value } of batch.put ?? []) model.set(toHex(key), value)
  return true
}

const key = fc.uint8Array({ minLength: 1, maxLength: 2, max: 3 })
const value = fc.uint8Array({ maxLength: 1, max: 1 })
const entry = fc.record({ key, value })
const batch: fc.Arbitrary<Batch> = fc.record({
  expect: fc.array(fc.record({ key, value: fc.option(value, { nil: undefined }) }), { maxLength: 1 }),
  delRange: fc.array(fc.record({ gte: key, lt: key }), { maxLength: 2 }),
  del: fc.array(key, { maxLength: 2 }),
  put: fc.array(entry, { maxLength: 4 })
})

test('a group leaves what its batches leave one after the other, and refuses the same ones', () => {
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 8 }), fc.array(batch, { maxLength: 8 }), (before, batches) => {
      const oneByOne: Model = new Map()
      applyTo(oneByOne, { put: before })
      const together: Model = new Map(oneByOne)
      const { refusals, ...merged } = mergeBatches(batches, (wanted) => oneByOne.get(toHex(wanted)))
      applyTo(together, merged)
      const tookEffect = batches.map((one) => applyTo(oneByOne, one))
      expect(refusals.map((refusal) => refusal === undefined)).toEqual(tookEffect)
      expect(new Map([...together].sort())).toEqual(new Map([...oneByOne].sort()))
    }),
    { numRuns: 2000 }
  )
})

test('a value that cannot be read refuses the batch that expects it, and no other', () => {
  const corrupt = new HeddleError('STORAGE_CORRUPT', 'flipped')
  const entries = [1, 2].map((number) => ({ key: Uint8Array.of(number), value: new Uint8Array(0) }))
  const { refusals, put } = mergeBatches(
    entries.map((one) => ({ expect: [{ key: one.key, value: undefined }], put: [one] })),
    ([first]) => {
      if (first === 1) throw corrupt
      return undefined
    }
  )
  expect(refusals).toEqual([corrupt, undefined])
  expect(put).toEqual([entries[1]])
})

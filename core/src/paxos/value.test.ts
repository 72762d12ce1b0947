import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { ballot, Fixture, value } from './testing/fixture.js'
import { compareBallots, equalBallots, parsePromise, proofHash, signedInput, valueHash } from './index.js'

const sha256 = (...parts: readonly Uint8Array[]): Uint8Array => {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return new Uint8Array(hash.digest())
}
const ascii = (text: string): Uint8Array => new TextEncoder().encode(text)

test('a signature is over the label, a zero byte and the statement', () => {
  expect(signedInput('heddle/1 vote', Uint8Array.of(1, 2))).toEqual(
    Uint8Array.from([...ascii('heddle/1 vote'), 0, 1, 2])
  )
})

test('a value is hashed under its own label', () => {
  expect(valueHash(value('a'))).toEqual(sha256(ascii('heddle/1 value hash'), Uint8Array.of(0), value('a')))
})

test('a proof is hashed as its promises in ascending order of server ids, each after its length', () => {
  const slot = new Fixture()
  const [a, b, c] = [0, 1, 2].map((index) => parsePromise(slot.promise(index, ballot(3))))
  if (a === undefined || b === undefined || c === undefined) throw new Error('three promises')
  const parts = [a, b, c].flatMap(({ bytes }) => [Uint8Array.of(0, 0, 0, bytes.length), bytes])
  const expected = sha256(ascii('heddle/1 proof'), Uint8Array.of(0), ...parts)
  expect(proofHash([a, b, c])).toEqual(expected)
  expect(proofHash([c, a, b])).toEqual(expected)
  expect(proofHash([a, b])).not.toEqual(expected)
})

test('ballots are ordered by round, then leaf, then incarnation', () => {
  const ascending = [undefined, ballot(1, 0, 9), ballot(1, 1, 0), ballot(1, 1, 1), ballot(2, 0, 0), ballot(10, 0, 0)]
  ascending.forEach((a, i) => {
    ascending.forEach((b, j) => {
      expect(Math.sign(compareBallots(a, b))).toBe(Math.sign(i - j))
      expect(equalBallots(a, b)).toBe(i === j)
    })
  })
})

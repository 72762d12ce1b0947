import { expect, test } from 'vitest'
import { inspectPromise } from './index.js'
import { ballot, Fixture, value } from './testing/fixture.js'

const slot = new Fixture()
const of = ballot(9)
const backed = slot.backed(0, of, ballot(3), value('a'))

const reasonOf = (server: number, reply: Parameters<typeof inspectPromise>[2]): string => {
  const inspected = inspectPromise(slot.config, slot.server(server), reply)
  return inspected.kind === 'bad' ? inspected.reason : 'sound'
}

test('a promise that reports a value brings it and the Accept behind it', () => {
  expect(reasonOf(0, { ...backed, value: value('a') })).toBe('sound')
  expect(slot.checkedPromise(0, of, ballot(3), value('a')).value).toEqual(value('a'))
  expect(reasonOf(0, { ...slot.backed(0, of), value: new Uint8Array(0) })).toBe('sound')
})

test.each<[string, number, Parameters<typeof inspectPromise>[2], RegExp]>([
  ['no value', 0, { ...backed, value: new Uint8Array(0) }, /does not bring the value/],
  ['another value', 0, { ...backed, value: value('b') }, /does not bring the value/],
  ['no Accept', 0, { ...backed, accept: undefined, value: value('a') }, /without the Accept/],
  ['the promise of another server', 1, { ...backed, value: value('a') }, /another server/]
])('a promise is of no use with %s', (_, server, reply, reason) => {
  expect(reasonOf(server, reply)).toMatch(reason)
})

test('bytes behind a promise that reports nothing are not taken for a value', () => {
  const inspected = inspectPromise(slot.config, slot.server(0), { ...slot.backed(0, of), value: value('a') })
  expect(slot.verified(inspected).value).toBeUndefined()
})

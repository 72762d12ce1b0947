import { expect, test } from 'vitest'
import { eachOf } from './each-of.js'

/** Work that ends when it is told to. */
function controlled() {
  const begun: number[] = []
  const ends = new Map<number, (error?: Error) => void>()
  return {
    begun,
    work: (item: number): Promise<void> => {
      begun.push(item)
      return new Promise((resolve, reject) =>
        ends.set(item, (error) => (error === undefined ? resolve() : reject(error)))
      )
    },
    end: async (item: number, error?: Error): Promise<void> => {
      ends.get(item)?.(error)
      await new Promise(setImmediate)
    }
  }
}

test('begins as many as may be under way, and the next when one has ended', async () => {
  const { begun, work, end } = controlled()
  const all = eachOf([1, 2, 3, 4], 2, work)
  expect(begun).toEqual([1, 2])
  await end(2)
  expect(begun).toEqual([1, 2, 3])
  await end(1)
  expect(begun).toEqual([1, 2, 3, 4])
  await end(3)
  await end(4)
  await all
})

test('throws what fails first and begins nothing after it', async () => {
  const { begun, work, end } = controlled()
  const all = expect(eachOf([1, 2, 3, 4], 2, work)).rejects.toThrow('second')
  await end(2, new Error('second'))
  await end(1, new Error('first'))
  await all
  expect(begun).toEqual([1, 2])
})

test('needs no items', async () => {
  await eachOf([], 2, () => Promise.reject(new Error('there is none')))
})

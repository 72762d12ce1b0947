import { describe, expect, it } from 'vitest'
import { worthOf } from './intents.js'
import type { Room } from './room.js'

describe('DEV-021: new keys that nobody asked for', () => {
  it('are given up when another commit was decided first, and those asked for are not', async () => {
    // All that such an intent is judged by.
    const room = { group: { epoch: 5n } } as unknown as Room
    const worth = (sinceEpoch: bigint, automatic: boolean) =>
      worthOf({ $case: 'rotate', value: { sinceEpoch, automatic } }, room)
    expect(await worth(5n, true)).toBe('open')
    expect(await worth(4n, true)).toBe('done')
    expect(await worth(4n, false)).toBe('open')
  })
})

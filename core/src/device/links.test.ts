import { createVirtualClock } from '@heddle/transport-memory'
import { describe, expect, it } from 'vitest'
import { type DialOptions, systemContext, type Transport } from '../plugin/index.js'
import { LinkPool, type LinkUser } from './links.js'

const serverId = new Uint8Array(32).fill(7)
const user: LinkUser = { onUp: () => {}, onDown: () => {}, onNews: () => {} }

/** A pool whose dials all fail, and the addresses that were dialled. */
function poolOnBrokenNetwork() {
  const clock = createVirtualClock(0)
  const dialled: string[] = []
  const transport: Transport = {
    schemes: ['mem'],
    dial: async (address: string, _: DialOptions) => {
      dialled.push(address)
      throw new Error('nobody there')
    },
    [Symbol.asyncDispose]: async () => {}
  }
  const identity = { publicKey: new Uint8Array(32), secretKey: new Uint8Array(32) }
  const pool = new LinkPool({ context: { ...systemContext(), clock }, identity, transports: [transport] })
  const dials = (count: number) => clock.run({ until: () => dialled.length >= count, untilMs: 3_600_000 })
  return { pool, dialled, dials }
}

const bogus = (from: number, count: number) => Array.from({ length: count }, (_, i) => `mem://bogus-${from + i}`)

describe('the addresses of a server', () => {
  it('of one document are dialled in turn with those of another, however many that names', async () => {
    const { pool, dialled, dials } = poolOnBrokenNetwork()
    const link = pool.link(serverId)
    link.attach('of others', user, bogus(0, 8))
    link.attach('own', user, ['mem://real'])
    link.learn('of others', bogus(8, 8))
    link.learn('of others', bogus(16, 8))
    await dials(60)
    expect(dialled.filter((address) => address === 'mem://real').length).toBeGreaterThanOrEqual(29)
    expect(link.status('own').address).toBe('mem://real')
    await pool.close()
  })

  it('begin with the newest, and those before stay in turn', async () => {
    const { pool, dialled, dials } = poolOnBrokenNetwork()
    const link = pool.link(serverId)
    link.attach('own', user, ['mem://old'])
    await dials(2)
    link.learn('own', ['mem://new', 'mem://newer'])
    await dials(5)
    expect(dialled).toEqual(['mem://old', 'mem://old', 'mem://new', 'mem://newer', 'mem://old'])
    link.learn('own', ['mem://new', 'mem://newer'])
    await dials(6)
    expect(dialled.at(-1)).toBe('mem://new')
    expect(link.status('own').address).toBe('mem://new')
    await pool.close()
  })

  it('that this device has no transport for are passed over, unless there is no other', async () => {
    const { pool, dialled, dials } = poolOnBrokenNetwork()
    const link = pool.link(serverId)
    link.attach('own', user, ['other://a', 'mem://real', 'other://b'])
    await dials(4)
    expect(dialled).toEqual(Array.from({ length: 4 }, () => 'mem://real'))
    await pool.close()
    const { pool: none, dials: noDials } = poolOnBrokenNetwork()
    const unreachable = none.link(serverId)
    unreachable.attach('own', user, ['other://a'])
    await expect(noDials(1)).rejects.toThrow('its time is over')
    expect(unreachable.status('own').lastError?.message).toContain('no transport of this device dials "other://a"')
    await none.close()
  })

  it('of a document that is left are dialled no more', async () => {
    const { pool, dialled, dials } = poolOnBrokenNetwork()
    const link = pool.link(serverId)
    link.attach('own', user, ['mem://real'])
    link.attach('left', user, ['mem://bogus'])
    await dials(4)
    await link.detach('left')
    const before = dialled.length
    await dials(before + 6)
    expect(new Set(dialled.slice(before))).toEqual(new Set(['mem://real']))
    await pool.close()
  })
})

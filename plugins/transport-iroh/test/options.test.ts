/** Options: defaults, bounds, and a message that names what is wrong. */
import { iroh } from '@heddle/transport-iroh'
import { describe, expect, it } from 'vitest'
import { parseOptions } from '../src/options.js'
import { testContext } from './context.js'

describe('the options', () => {
  it('have the defaults the README names', () => {
    expect(parseOptions({})).toEqual({
      relays: [],
      relayTimeoutMs: 3000,
      pingIntervalMs: 5000,
      deadAfterMs: 12_000,
      dialTimeoutMs: 15_000,
      handshakeTimeoutMs: 10_000,
      closeTimeoutMs: 2000,
      streamsMax: 128,
      pendingConnectionsMax: 256,
      connectionsMax: 10_000
    })
    expect(parseOptions(undefined)).toEqual(parseOptions({}))
  })

  it.each([
    [{ relay: 'https://relay.example' }, /unknown option "relay"/],
    [{ relays: 'https://relay.example' }, /"relays" must be a list/],
    [{ relays: ['relay.example'] }, /"relays" has "relay.example"/],
    [{ relays: ['https://me:secret@relay.example'] }, /"relays" has/],
    [{ relays: [1] }, /"relays" must be a list/],
    [{ relays: Array.from({ length: 5 }, () => 'https://relay.example') }, /at most 4/],
    [{ streamsMax: 0 }, /"streamsMax" must be a whole number from 1/],
    [{ pingIntervalMs: 1.5 }, /"pingIntervalMs"/],
    [{ pingIntervalMs: '5000' }, /"pingIntervalMs"/],
    [{ pingIntervalMs: 5000, deadAfterMs: 5000 }, /"deadAfterMs" \(5000\) must be above/],
    [[], /must be an object/],
    ['iroh', /must be an object/]
  ])('%o are refused', async (options, message) => {
    const result = await iroh.options['~standard'].validate(options)
    expect(result.issues?.[0]?.message).toMatch(message)
  })

  it('do not let a host want larger frames than are carried', async () => {
    const limits = { frameBytesMax: 1024 ** 3 }
    await expect(iroh.create(parseOptions({}), testContext({ limits }))).rejects.toMatchObject({
      code: 'CAPABILITY_MISSING'
    })
  })
})

/** Options: defaults, bounds, and a message that names what is wrong. */
import { websocket } from '@heddle/transport-websocket'
import { describe, expect, it } from 'vitest'
import { isNamed, parseOptions } from '../src/options.js'
import { testContext } from './context.js'

describe('the options', () => {
  it('have the defaults the README names', () => {
    expect(parseOptions({})).toEqual({
      pingIntervalMs: 5000,
      deadAfterMs: 12_000,
      dialTimeoutMs: 15_000,
      handshakeTimeoutMs: 10_000,
      closeTimeoutMs: 2000,
      windowBytes: 1_048_576,
      streamsMax: 128,
      pendingConnectionsMax: 256,
      connectionsMax: 10_000,
      names: [],
      health: undefined,
      mounts: [],
      tls: {}
    })
  })

  it.each([
    [{ pingInterval: 3 }, /unknown option "pingInterval"/],
    [{ windowBytes: 1000 }, /"windowBytes" must be a whole number from 65536/],
    [{ streamsMax: 0 }, /"streamsMax"/],
    [{ pingIntervalMs: 1.5 }, /"pingIntervalMs"/],
    [{ pingIntervalMs: '5000' }, /"pingIntervalMs"/],
    [{ pingIntervalMs: 5000, deadAfterMs: 5000 }, /"deadAfterMs" \(5000\) must be above/],
    [{ names: 'localhost' }, /"names" must be a list/],
    [{ names: ['a b'] }, /"names" must be a list/],
    [{ health: {} }, /"health" must be a function/],
    [{ mounts: {} }, /"mounts" must be a list/],
    [{ mounts: [{ request: () => true }] }, /"mounts" must be a list/],
    [{ tls: { key: 'key.pem' } }, /"tls.key" must be a PEM text/],
    [{ tls: { key: '-----BEGIN' } }, /both key and cert/],
    [{ tls: { pfx: '' } }, /"tls.pfx"/],
    [[], /must be an object/],
    ['ws', /must be an object/]
  ])('%o are refused', async (options, message) => {
    const result = await websocket.options['~standard'].validate(options)
    expect(result.issues?.[0]?.message).toMatch(message)
  })

  it('name a server by host and port, or by host alone', () => {
    const { names } = parseOptions({ names: ['Sync.Example', '[::1]:80'] })
    expect(['sync.example:443', 'sync.example:1', '[::1]:80'].every((name) => isNamed(names, name))).toBe(true)
    expect(['evil.example:443', '[::1]:81', 'sync.example.evil:443'].some((name) => isNamed(names, name))).toBe(false)
  })

  it('do not let a host want larger frames than are carried', async () => {
    const limits = { frameBytesMax: 1024 ** 3 }
    await expect(websocket.create(parseOptions({}), testContext({ limits }))).rejects.toMatchObject({
      code: 'CAPABILITY_MISSING'
    })
  })
})

/** Two processes: one is killed, suspended, restarted, has no iroh; and each ends by itself when it is done. */
import { beforeAll, describe, expect, it } from 'vitest'
import { nextOf, testHost } from './host.js'
import { build, startChild } from './process.js'

beforeAll(build, 120_000)

const quick = { pingIntervalMs: 100, deadAfterMs: 700 }

describe('a peer in another process', () => {
  it('that is killed is lost within deadAfterMs, and can be dialled when it is back at its address', async () => {
    await using host = await testHost(quick)
    await using child = startChild('listen', 'iroh://127.0.0.1:0')
    const address = await child.line()
    const connection = await host.dial(address)
    const stream = await connection.open()
    await stream.write(Uint8Array.of(1))
    expect(await nextOf(stream.frames)).toEqual(Uint8Array.of(1))
    const reading = nextOf(stream.frames).catch(({ code }) => code)

    child.process.kill('SIGKILL')
    const killedMs = Date.now()
    expect(await connection.closed).toMatchObject({ by: 'lost' })
    // iroh alone takes half a minute.
    expect(Date.now() - killedMs).toBeLessThan(10_000)
    expect(await reading).toBe('TRANSPORT_CLOSED')

    await using again = startChild('listen', address)
    expect(await again.line()).toBe(address)
    const second = await host.dial(address)
    const echoed = await second.open()
    await echoed.write(Uint8Array.of(2))
    expect(await nextOf(echoed.frames)).toEqual(Uint8Array.of(2))
  })

  it('that is suspended is lost, and hears of it when it goes on', async () => {
    await using host = await testHost(quick)
    await using child = startChild('listen', 'iroh://127.0.0.1:0')
    const address = await child.line()
    const connection = await host.dial(address)
    const stream = await connection.open()
    await stream.write(Uint8Array.of(1))
    await nextOf(stream.frames)

    child.process.kill('SIGSTOP')
    expect(await connection.closed).toMatchObject({ by: 'lost' })
    await expect(stream.write(Uint8Array.of(2))).rejects.toMatchObject({ code: 'TRANSPORT_CLOSED' })
    child.process.kill('SIGCONT')
    const heard = [await child.line(), await child.line()].sort()
    expect(heard).toEqual([expect.stringMatching(/^closed (remote|lost)$/), 'stream lost'])

    const again = await host.dial(address)
    const echoed = await again.open()
    await echoed.write(Uint8Array.of(3))
    expect(await nextOf(echoed.frames)).toEqual(Uint8Array.of(3))
  })

  it('that is suspended for a moment loses nothing', async () => {
    await using host = await testHost({ pingIntervalMs: 100, deadAfterMs: 20_000 })
    await using child = startChild('listen', 'iroh://127.0.0.1:0')
    const connection = await host.dial(await child.line())
    const stream = await connection.open()
    await stream.write(Uint8Array.of(1))
    await nextOf(stream.frames)
    child.process.kill('SIGSTOP')
    const frames = Array.from({ length: 50 }, (_, index) => new Uint8Array(1000).fill(index))
    for (const frame of frames) await stream.write(frame)
    child.process.kill('SIGCONT')
    for (const frame of frames) expect(await nextOf(stream.frames)).toEqual(frame)
  })

  it('ends by itself once its transport is disposed of', async () => {
    await using server = startChild('listen', 'iroh://127.0.0.1:0')
    await using visitor = startChild('visit', await server.line())
    expect(await visitor.line()).toBe('got 42')
    expect(await visitor.exit).toEqual({ code: 0, signal: null })
    expect(await server.line()).toBe('closed remote')
    server.process.kill('SIGTERM')
    expect(await server.line()).toBe('disposed')
    expect(await server.exit).toEqual({ code: 0, signal: null })
  })
})

describe('where there is no build of iroh', () => {
  it('the transport says so and what to use instead, and that works', async () => {
    await using child = startChild('without-iroh', '', { NAPI_RS_NATIVE_LIBRARY_PATH: '/nonexistent/iroh.node' })
    expect(await child.line()).toMatch(/^CAPABILITY_MISSING iroh cannot be loaded on .*@heddle\/transport-websocket/)
    expect(await child.line()).toBe('websocket 32')
    expect(await child.exit).toEqual({ code: 0, signal: null })
  })
})

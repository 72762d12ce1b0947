/** Others on the same port: what they are asked, what they are not, and when they are let go. */
import type { HttpMount } from '@heddle/transport-websocket'
import { describe, expect, it } from 'vitest'
import { addressOf, testHost } from './host.js'
import { answerOf, rawTcp } from './raw-client.js'

const UPGRADE = 'Host: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n'

/** Answers paths below /mine, and echoes what it is sent after an upgrade. */
function mine(): HttpMount & { readonly asked: string[]; disposals: number } {
  return {
    asked: [],
    disposals: 0,
    request({ url }, response) {
      this.asked.push(`request ${url}`)
      if (url?.startsWith('/mine') !== true) return false
      response.writeHead(203).end('from the mount')
      return true
    },
    upgrade({ url }, socket, head) {
      this.asked.push(`upgrade ${url}`)
      if (url?.startsWith('/mine') !== true) return false
      socket.write(new Uint8Array([...head, 10]))
      socket.pipe(socket)
      return true
    },
    async [Symbol.asyncDispose]() {
      this.disposals += 1
    }
  }
}

const get = (address: string, path: string) => fetch(new URL(path, address.replace('ws:', 'http:')))

describe('a mount', () => {
  it('answers requests for paths that are not the listener’s own', async () => {
    const mount = mine()
    await using host = await testHost({ mounts: [mount], health: () => ({ ok: true }) })
    const address = addressOf(await host.listen('ws://127.0.0.1:0/sync'))
    const answer = await get(address, '/mine/1')
    expect([answer.status, await answer.text()]).toEqual([203, 'from the mount'])
    expect((await get(address, '/other')).status).toBe(404)
    expect((await get(address, '/sync')).status).toBe(426)
    expect((await get(address, '/healthz')).status).toBe(200)
    expect(mount.asked).toEqual(['request /mine/1', 'request /other'])
  })

  it('takes sockets over, with what was read beyond the request, while Heddle’s connections go on', async () => {
    await using host = await testHost({ mounts: [mine()] })
    const address = addressOf(await host.listen())
    const socket = await rawTcp(address)
    const echoed = answerOf(socket)
    socket.end(`GET /mine HTTP/1.1\r\n${UPGRADE}early`)
    expect(await echoed).toBe('early\n')
    await host.dial(address)
  })

  it('is asked in the order of the list, until one takes it', async () => {
    const first = mine()
    const second = mine()
    await using host = await testHost({ mounts: [first, second] })
    const address = addressOf(await host.listen())
    await get(address, '/mine')
    await get(address, '/other')
    expect(first.asked).toEqual(['request /mine', 'request /other'])
    expect(second.asked).toEqual(['request /other'])
    const socket = await rawTcp(address)
    const refused = answerOf(socket)
    socket.write(`GET /other HTTP/1.1\r\n${UPGRADE}`)
    expect(await refused).toMatch(/^HTTP\/1.1 404/)
  })

  it('that throws loses what it was offered, and the log says so', async () => {
    const broken = () => {
      throw new Error('on fire')
    }
    await using host = await testHost({ mounts: [{ ...mine(), request: broken, upgrade: broken }] })
    const address = addressOf(await host.listen())
    await expect(get(address, '/mine')).rejects.toThrow()
    const socket = await rawTcp(address)
    const hungUp = answerOf(socket)
    socket.write(`GET /mine HTTP/1.1\r\n${UPGRADE}`)
    expect(await hungUp).toBe('')
    expect(host.log).toContainEqual(['websocket.mount-failed', { message: 'Error: on fire' }])
    await host.dial(address)
  })

  it('is disposed of with the transport and not with one of its listeners', async () => {
    const mount = mine()
    const host = await testHost({ mounts: [mount] })
    const listener = await host.listen()
    await listener[Symbol.asyncDispose]()
    expect(mount.disposals).toBe(0)
    await host[Symbol.asyncDispose]()
    expect(mount.disposals).toBe(1)
  })
})

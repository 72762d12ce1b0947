/** A whole Heddle server on the storage: devices write through it, it is replaced by another process, nothing is lost. */
import { formatTicket, HeddleError, openDevice, startPlugins, startServer, systemContext } from '@heddle/core'
import { type YjsDoc, yjs } from '@heddle/crdt-yjs'
import { memoryStorage } from '@heddle/storage-memory'
import { websocket } from '@heddle/transport-websocket'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { postgres } from './index.js'
import { TestServer, whyNoServer } from './testing/server.js'

const reason = await whyNoServer()

describe.skipIf(reason !== undefined)(`a server on postgres${reason === undefined ? '' : ` (${reason})`}`, () => {
  let database: TestServer
  beforeAll(async () => {
    database = await TestServer.start()
  }, 60_000)
  afterAll(() => database[Symbol.asyncDispose]())

  async function serve(listen = 'ws://127.0.0.1:0') {
    const context = systemContext()
    const storage = postgres({ connectionString: database.url, table: 'server' })
    const plugins = await startPlugins({ crdts: [], storage, transports: [websocket()] }, context)
    const transports = plugins.transports.map(({ instance }) => instance)
    const server = await startServer({ storage: plugins.storage.instance, transports, listen: [listen], context })
    return {
      server,
      async [Symbol.asyncDispose]() {
        await server[Symbol.asyncDispose]()
        await plugins[Symbol.asyncDispose]()
      }
    }
  }

  async function device() {
    const context = systemContext()
    const config = { crdts: [yjs()], storage: memoryStorage(), transports: [websocket()] }
    const plugins = await startPlugins(config, context)
    const opened = await openDevice({
      storage: plugins.storage.instance,
      transports: plugins.transports.map(({ instance }) => instance),
      crdts: [...plugins.crdts.values()].map(({ instance }) => instance),
      context
    })
    return {
      device: opened,
      async [Symbol.asyncDispose]() {
        await opened[Symbol.asyncDispose]()
        await plugins[Symbol.asyncDispose]()
      }
    }
  }

  test('keeps a document that devices share, through a second process that takes the table over', async () => {
    const first = await serve()
    const [address = ''] = first.server.addresses
    await using ada = await device()
    const document = await ada.device.create({ servers: [formatTicket(new URL(address).href, first.server.id)] })
    const text = (native: unknown) => (native as YjsDoc['native']).getText('text')
    text(document.native).insert(0, 'Down the Rabbit-Hole')
    await document.settled('safe')

    // Another process takes the storage over: the first one is fenced off at its next write, and says so.
    const standby = await serve()
    text(document.native).insert(0, 'Chapter I. ')
    const failure = await first.server.failed
    expect(HeddleError.is(failure, 'STORAGE_CONFLICT')).toBe(true)
    expect(standby.server.id).toEqual(first.server.id)
    await first[Symbol.asyncDispose]()
    await standby[Symbol.asyncDispose]()

    await using second = await serve(address)
    expect(second.server.id).toEqual(first.server.id)
    await document.settled('safe')
    await using bob = await device()
    const copy = await bob.device.join(await document.invite({ role: 'editor' }))
    const page = text(copy.native)
    while (page.length < 31) await new Promise<void>((resolve) => page.observe(() => resolve()))
    expect(page.toString()).toBe('Chapter I. Down the Rabbit-Hole')
  }, 60_000)
})

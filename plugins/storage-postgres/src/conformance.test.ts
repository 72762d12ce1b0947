import { storageSuite } from '@heddle/conformance'
import { systemContext } from '@heddle/core'
import { afterAll, beforeAll, describe, it } from 'vitest'
import postgres from './index.js'
import { parseOptions } from './options.js'
import { TestServer, whyNoServer } from './testing/server.js'

const reason = await whyNoServer()

describe.skipIf(reason !== undefined)(`postgres storage${reason === undefined ? '' : ` (${reason})`}`, () => {
  let server: TestServer
  beforeAll(async () => {
    server = await TestServer.start()
  }, 60_000)
  afterAll(() => server[Symbol.asyncDispose]())

  const checks = storageSuite({
    manifest: postgres.manifest,
    open: (place) => {
      const table = place.replaceAll('-', '_')
      return postgres.create(parseOptions({ connectionString: server.url, table }), systemContext())
    }
  })
  for (const { id, title, run } of checks) it(`${id} ${title}`, run)
})

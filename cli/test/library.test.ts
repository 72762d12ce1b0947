import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type Device, HeddleError, openDevice, serve, type YDocument, yjs } from 'heddle'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type * as Y from 'yjs'
import { build } from './build.js'

const root = fileURLToPath(new URL('../..', import.meta.url))

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'heddle-library-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const startServer = () => serve({ path: join(folder, 'server'), listen: ['ws://127.0.0.1:0'] })

describe('heddle as a library', { timeout: 60_000 }, () => {
  it('opens a device, creates a document and finds it again, typed for yjs', async () => {
    await using server = await startServer()
    const path = join(folder, 'device')
    let id = ''
    {
      await using device = await openDevice({ path })
      const document: YDocument = await device.create({ servers: server.tickets })
      const doc: Y.Doc = document.native
      doc.getText('text').insert(0, 'Hello')
      await document.settled('safe')
      id = document.id
    }
    await using device = await openDevice({ path })
    expect(await device.documents()).toEqual([id])
    expect((await device.open(id)).native.getText('text').toString()).toBe('Hello')
  })

  it('is one device a folder and a process, and frees the folder when it closes', async () => {
    const path = join(folder, 'device')
    const first = await openDevice({ path })
    await expect(openDevice({ path })).rejects.toThrow(/in use by process/)
    await first[Symbol.asyncDispose]()
    await first[Symbol.asyncDispose]()
    const second = await openDevice({ path })
    expect(second.id).toBe(first.id)
    await second[Symbol.asyncDispose]()
  })

  it('leaves the folder free when opening fails', async () => {
    const path = join(folder, 'device')
    const failing = openDevice({ path, storage: '@nobody/nothing' })
    await expect(failing).rejects.toSatisfy((error) => HeddleError.is(error, 'PLUGIN_NOT_FOUND'))
    await (await openDevice({ path }))[Symbol.asyncDispose]()
  })

  it('takes other CRDT backends, and then promises no Y.Doc', async () => {
    const device: Device = await openDevice({ path: join(folder, 'device'), crdts: [yjs({ gc: false })] })
    await device[Symbol.asyncDispose]()
  })
})

describe('documentation', { timeout: 120_000 }, () => {
  it('has an example that runs', async () => {
    await build()
    const { stdout } = await promisify(execFile)(process.execPath, [join(root, 'examples', 'two-devices.mjs')])
    expect(stdout).toBe('Dear all, see you on Sunday.\n')
  })

  it('has five lines in the README that run', async () => {
    await build()
    await using server = await startServer()
    const readme = await readFile(join(root, 'cli', 'README.md'), 'utf8')
    const [, code = ''] = /```js\n([\s\S]*?)```/.exec(readme) ?? []
    const script = `const ticket = process.env.TICKET
      ${code.replace("import { openDevice } from 'heddle'", "const { openDevice } = await import('heddle')")}
      await device[Symbol.asyncDispose]()`
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--input-type=module', '--eval', script.replace('.heddle/device', join(folder, 'device'))],
      { cwd: root, env: { ...process.env, TICKET: server.tickets[0] } }
    )
    expect(stdout).toMatch(/^heddle:[\w-]+\n$/)
  })
})

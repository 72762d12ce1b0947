import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { AutomergeHandle } from '@heddle/crdt-automerge'
import type { LoroCrdtDoc } from '@heddle/crdt-loro'
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

describe('a CRDT backend chosen by the name of its package', { timeout: 60_000 }, () => {
  it('is imported, and what its documents hold is there when they are opened again', async () => {
    await using server = await startServer()
    const path = join(folder, 'device')
    const open = () => openDevice({ path, crdts: ['@heddle/crdt-automerge', ['@heddle/crdt-loro', {}]] })
    const ids: string[] = []
    {
      await using device = await open()
      for (const crdt of ['automerge/1', 'loro/1']) {
        const document = await device.create({ servers: server.tickets, crdt })
        expect(document.crdtType).toBe(crdt)
        ids.push(document.id)
      }
      const automerge = (await device.open(ids[0] ?? '')).native as AutomergeHandle
      automerge.change((draft) => {
        draft.title = 'Hello'
      })
      const loro = (await device.open(ids[1] ?? '')).native as LoroCrdtDoc['native']
      loro.getMap('fields').set('title', 'Hello')
      loro.commit()
      for (const id of ids) await (await device.open(id)).settled('safe')
    }
    await using device = await open()
    const contents = await Promise.all(ids.map(async (id) => (await device.open(id)).toJSON()))
    expect(contents).toEqual([{ title: 'Hello' }, { fields: { title: 'Hello' } }])
  })

  it('is missing where only the default is, which is said', async () => {
    await using server = await startServer()
    const path = join(folder, 'device')
    let id = ''
    {
      await using device = await openDevice({ path, crdts: ['@heddle/crdt-automerge'] })
      id = (await device.create({ servers: server.tickets })).id
    }
    await using device = await openDevice({ path })
    const missing = { code: 'CAPABILITY_MISSING', message: expect.stringContaining('automerge/1') }
    await expect(device.open(id)).rejects.toMatchObject(missing)
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

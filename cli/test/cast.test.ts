import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type * as CastModule from '../src/demo/cast.js'
import { build } from './build.js'

let Cast: typeof CastModule.Cast
let folder = ''
let formerTmp: string | undefined

// The built one: child processes need files that Node can run.
beforeAll(async () => {
  await build()
  const built = new URL('../dist/demo/cast.js', import.meta.url).href
  ;({ Cast } = (await import(built)) as typeof CastModule)
}, 120_000)
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'heddle-cast-'))
  formerTmp = process.env.TMPDIR
  process.env.TMPDIR = folder
})
afterEach(async () => {
  if (formerTmp === undefined) delete process.env.TMPDIR
  else process.env.TMPDIR = formerTmp
  await rm(folder, { recursive: true, force: true })
})

const noCrash = (error: Error) => {
  throw error
}

describe('Cast', { timeout: 60_000 }, () => {
  it('says which process died unasked, and fails its pending calls', async () => {
    const crashes: string[] = []
    await using cast = await Cast.assemble(false, (error) => crashes.push(error.message))
    const server = cast.server('server 1')
    await server.call('start', { path: cast.path('server1'), listen: ['ws://127.0.0.1:0'] })
    process.kill(server.pid ?? 0, 'SIGKILL')
    await server.exited
    expect(crashes).toEqual([expect.stringMatching(/ended that should not: server 1 \(pid \d+\) ended \(SIGKILL\)/)])
    await expect(server.call('stored', {})).rejects.toThrow(/the process server 1 has ended/)
  })

  it('passes on errors of a child with their code and the name of the process', async () => {
    await using cast = await Cast.assemble(false, noCrash)
    const device = cast.device('device A')
    await expect(device.call('reopen', { document: 'x' })).rejects.toMatchObject({
      code: 'INTERNAL',
      message: 'device A: the device is not open'
    })
  })

  it('ends every process and removes its folder, and starts none afterwards', async () => {
    const cast = await Cast.assemble(false, noCrash)
    const server = cast.server('server 1')
    await server.call('start', { path: cast.path('server1'), listen: ['ws://127.0.0.1:0'] })
    expect(await readdir(folder)).toHaveLength(1)
    await cast[Symbol.asyncDispose]()
    expect(server.exit).toEqual({ code: null, signal: 'SIGKILL' })
    expect(await readdir(folder)).toEqual([])
    expect(() => cast.server('server 2')).toThrow(/the demo is over/)
  })

  it('notices a port that is still open', async () => {
    const cast = await Cast.assemble(false, noCrash)
    const other = createServer()
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
    const address = other.address()
    const port = typeof address === 'object' ? (address?.port ?? 0) : 0
    cast.usesPort(port)
    try {
      await expect(cast[Symbol.asyncDispose]()).rejects.toThrow(`left behind: a listener on port ${port}`)
    } finally {
      other.close()
    }
  })

  it('keeps its folder when asked to', async () => {
    const cast = await Cast.assemble(true, noCrash)
    await mkdir(cast.path('server1'))
    await cast[Symbol.asyncDispose]()
    expect(await readdir(cast.folder)).toEqual(['server1'])
  })
})

import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, rmSync, watch } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { heddlePair, relayPair, Stage } from '../src/stage.js'

const package_ = fileURLToPath(new URL('..', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'heddle-bench-test-'))

beforeAll(async () => {
  const compiler = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin', 'tsc')
  await promisify(execFile)(process.execPath, [compiler, '-b', package_]).catch((error: { stdout?: string }) => {
    throw new Error(`the benchmark does not build:\n${error.stdout ?? String(error)}`)
  })
}, 120_000)
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe.each([
  { name: 'devices and servers', pairOf: heddlePair },
  { name: 'the floor', pairOf: relayPair }
])('$name', ({ pairOf }) => {
  it('bring what one types to the other', async () => {
    await using stage = await Stage.open()
    const { writer, reader } = await pairOf(stage)
    const { client, lastClock } = await writer.call('typeFast', { edits: 50 })
    await reader.call('awaitClock', { client, clock: lastClock })
    const text = await reader.call('text', {})
    expect(text).toHaveLength(50)
    expect(text).toBe(await writer.call('text', {}))
    const { messages, bytes } = await writer.call('sent', {})
    expect(messages).toBeGreaterThan(0)
    expect(bytes).toBeGreaterThan(50)
    expect(await stage.cpuMs()).toBeGreaterThan(0)
  }, 60_000)
})

describe('a stage', () => {
  it('leaves no process and no folder, also after a child has failed', async () => {
    const stage = await Stage.open()
    const peer = stage.peer('peer')
    await expect(peer.call('text', {})).rejects.toThrow('peer: there is nothing to edit')
    const waiting = expect(
      peer.call('measureJoin', { path: stage.newFolder(), link: 'x', length: 1 })
    ).rejects.toThrow()
    expect(existsSync(stage.folder)).toBe(true)
    await stage[Symbol.asyncDispose]()
    await waiting
    expect(existsSync(stage.folder)).toBe(false)
    await expect(peer.call('text', {})).rejects.toThrow('the process peer')
  }, 60_000)
})

describe('the command', () => {
  it.each([
    { signal: 'SIGINT', code: 130 },
    { signal: 'SIGTERM', code: 143 }
  ] as const)(
    'leaves nothing behind on $signal',
    async ({ signal, code }) => {
      const temporary = mkdtempSync(join(folder, 'tmp-'))
      const main = join(package_, 'dist', 'main.js')
      const seen = once(watch(temporary), 'change')
      const command = spawn(process.execPath, [main, '--only', 'floor'], {
        stdio: 'ignore',
        env: { ...process.env, TMPDIR: temporary }
      })
      await seen
      expect(readdirSync(temporary)).toHaveLength(1)
      command.kill(signal)
      expect(await once(command, 'exit')).toEqual([code, null])
      expect(readdirSync(temporary)).toEqual([])
    },
    60_000
  )

  it('says what is wrong with its arguments', async () => {
    const main = join(package_, 'dist', 'main.js')
    const run = promisify(execFile)(process.execPath, [main, '--only', 'nothing'])
    await expect(run).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringContaining('there is no scenario "nothing"')
    })
  })
})

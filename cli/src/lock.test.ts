import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { HeddleError } from '@heddle/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { lockFolder } from './lock.js'

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'heddle-lock-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const lockFile = () => join(folder, 'lock')

describe('lockFolder', () => {
  it('creates the folder, holds it, and leaves nothing in it', async () => {
    const path = join(folder, 'deep', 'device')
    const lock = await lockFolder(path)
    expect(await readdir(path)).toEqual(['lock'])
    await lock[Symbol.asyncDispose]()
    expect(await readdir(path)).toEqual([])
  })

  it('lets exactly one of many in', async () => {
    const attempts = await Promise.allSettled(Array.from({ length: 20 }, () => lockFolder(folder)))
    expect(attempts.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    for (const attempt of attempts) {
      if (attempt.status === 'rejected') expect(HeddleError.is(attempt.reason, 'STORAGE_UNAVAILABLE')).toBe(true)
    }
    expect(await readdir(folder)).toEqual(['lock'])
  })

  it.each([
    ['a process that died', '999999999 1700000000000\n'],
    ['an earlier process with the number of this one', `${process.pid} 1700000000000\n`],
    ['nobody that can be read', '\u0000garbage']
  ])('takes the lock over from %s', async (_, content) => {
    await writeFile(lockFile(), content)
    const lock = await lockFolder(folder)
    await lock[Symbol.asyncDispose]()
    expect(await readdir(folder)).toEqual([])
  })

  it('lets exactly one of many take a stale lock over', async () => {
    await writeFile(lockFile(), '999999999 1700000000000\n')
    const attempts = await Promise.allSettled(Array.from({ length: 20 }, () => lockFolder(folder)))
    expect(attempts.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    expect(await readdir(folder)).toEqual(['lock'])
  })

  it('respects a process of somebody else that lives', async () => {
    await writeFile(lockFile(), `${process.ppid} 1700000000000\n`)
    await expect(lockFolder(folder)).rejects.toThrow(`in use by process ${process.ppid}`)
  })
})

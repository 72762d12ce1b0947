import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { findPassages, passagesOf } from './plaintext.js'

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'heddle-plaintext-'))
})
afterEach(() => rm(folder, { recursive: true }))

describe('passagesOf', () => {
  it('takes passages of 12 characters from all over the text, none across a line end', () => {
    const text = `${'The White Rabbit ran. '.repeat(40)}\n${'Oh my ears and whiskers! '.repeat(40)}`
    const passages = passagesOf(text, 20)
    expect(passages).toHaveLength(20)
    for (const passage of passages) expect(passage).toMatch(/^[^\n]{12}$/)
    expect(text.indexOf(passages.at(-1) ?? '')).toBeGreaterThan(text.length / 3)
  })

  it('gives fewer for a short text', () => {
    expect(passagesOf('short', 10)).toEqual([])
  })
})

describe('findPassages', () => {
  it('finds what stands in the bytes of any file below the folder, other bytes around it', async () => {
    await mkdir(join(folder, 'deep'))
    const text = new TextEncoder().encode('Où est ma chatte?')
    await writeFile(join(folder, 'deep', 'data'), new Uint8Array([0, 255, ...text, 0, 7]))
    expect(await findPassages(folder, ['Où est ma ch', 'White Rabbit'])).toEqual(['Où est ma ch'])
  })

  it('finds nothing in other bytes', async () => {
    await writeFile(join(folder, 'data'), new Uint8Array(10_000).fill(65))
    expect(await findPassages(folder, ['White Rabbit'])).toEqual([])
  })
})

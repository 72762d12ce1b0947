/** The wire benchmark: everybody does the same work, and the sizes in the README are those of today. */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import * as wire from '../../core/src/wire/index.js'
import {
  callsPerSecond,
  contenders,
  fillSizes,
  type Libraries,
  loadLibraries,
  measureSizes,
  newContests,
  repository,
  sizeTable,
  wireHomes
} from '../src/wire/index.js'

let folder: string
let libraries: Libraries
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'heddle-bench-wire-'))
  libraries = await loadLibraries(folder, wireHomes)
}, 60_000)
afterAll(() => rm(folder, { recursive: true, force: true }))

describe('contests', () => {
  it('have four contenders who write the same bytes and read the same messages', () => {
    const contests = newContests(wire, libraries)
    expect(contests.map(({ id }) => id)).toEqual(
      ['vote', 'envelope', 'batch', 'snapshot'].flatMap((name) => [`decode.${name}`, `encode.${name}`])
    )
    for (const { tasks } of contests) for (const contender of contenders) expect(tasks[contender]).not.toThrow()
  })

  it('do not begin when one of them reads or writes something else', () => {
    const encode = (message: wire.Vote) => wire.Vote.encode({ ...message, slot: 0n })
    expect(() => newContests({ ...wire, Vote: { ...wire.Vote, encode } }, libraries)).toThrow('a Paxos vote')
  })

  it('give one number a round to each task', () => {
    const rates = callsPerSecond([() => Math.sqrt(2), () => 'x'.repeat(10)], { turnMs: 1, rounds: 3 })
    expect(rates.map((rounds) => rounds.length)).toEqual([3, 3])
    for (const rate of rates.flat()) expect(rate).toBeGreaterThan(0)
  })
})

describe('sizes', () => {
  it('stand in the README as they are; `npm run sizes` puts them there', async () => {
    const measured = await measureSizes(libraries)
    const readme = await readFile(join(repository, 'README.md'), 'utf8')
    expect(readme).toBe(fillSizes(readme, sizeTable(measured)))
    const frames = measured.find(({ id }) => id === 'frames')
    expect(frames?.sizes.heddle.gzipBytes).toBeLessThanOrEqual(10_000)
  }, 60_000)

  it('need a place in the README', () => {
    expect(() => fillSizes('<!-- sizes:begin -->', '')).toThrow('README.md has no')
  })
})

#!/usr/bin/env node
/** `npm run sizes`: measures the sizes again and puts their table between its markers in the repository's README. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { wireHomes } from './contests.js'
import { loadLibraries, repository } from './libraries.js'
import { fillSizes, measureSizes, sizeTable } from './sizes.js'

const folder = await mkdtemp(join(tmpdir(), 'heddle-sizes-'))
try {
  const table = sizeTable(await measureSizes(await loadLibraries(folder, wireHomes)))
  const path = join(repository, 'README.md')
  await writeFile(path, fillSizes(await readFile(path, 'utf8'), table))
  process.stdout.write(`${table}\n`)
} finally {
  await rm(folder, { recursive: true, force: true })
}

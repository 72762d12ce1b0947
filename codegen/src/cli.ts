/**
 * `node codegen/dist/cli.js [--check]`: regenerates core/src/wire/generated and the tables of SPEC.md from proto/, or
 * checks that they are up to date. Exits 1 when the schema has findings or, with --check, when a file differs.
 */
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { compareFiles, generate, generatedFolder, writeFiles } from './generate/index.js'

const repository = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

async function main(args: readonly string[]): Promise<number> {
  const unknown = args.find((arg) => arg !== '--check')
  if (unknown !== undefined) {
    console.error(`codegen: unknown argument ${unknown}; usage: node codegen/dist/cli.js [--check]`)
    return 2
  }
  const { findings, files } = await generate(repository)
  if (findings.length > 0) {
    for (const { rule, file, line, message } of findings) console.error(`proto/${file}:${line}: ${message} [${rule}]`)
    return 1
  }
  return args.includes('--check') ? check(files) : write(files)
}

async function write(files: ReadonlyMap<string, string>): Promise<number> {
  const touched = await writeFiles(repository, generatedFolder, files)
  for (const path of touched) console.log(path)
  console.log(`codegen: ${files.size} files, ${touched.length} changed`)
  return 0
}

async function check(files: ReadonlyMap<string, string>): Promise<number> {
  const drift = await compareFiles(repository, generatedFolder, files)
  const lines = [
    ...drift.changed.map((path) => `differs:  ${path}`),
    ...drift.missing.map((path) => `missing:  ${path}`),
    ...drift.surplus.map((path) => `surplus:  ${path}`)
  ]
  if (lines.length === 0) return 0
  console.error([...lines, 'codegen: run `npm run generate` and commit the result'].join('\n'))
  return 1
}

process.exitCode = await main(process.argv.slice(2)).catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error)
  return 1
})

/**
 * The command: regenerates from proto/ what is generated, or checks that it is up to date; or compares the schema with
 * that of a release (compat-command.ts). Called by cli.ts with the process's arguments, by tests with others.
 */
import { compatCommand } from './compat-command.js'
import { compareFiles, generate, generatedFolders, writeFiles } from './generate/index.js'

/** Where lines for a person go. */
export interface Output {
  readonly log: (line: string) => void
  readonly error: (line: string) => void
}

/**
 * Runs on a repository and returns the exit code: 0 done or up to date, 1 when the schema has findings or, with
 * `--check`, a file differs, 2 for arguments it does not know.
 */
export async function main(args: readonly string[], repository: string, output: Output): Promise<number> {
  if (args[0] === 'compat') return await compatCommand(args.slice(1), repository, output)
  const unknown = args.find((arg) => arg !== '--check')
  if (unknown !== undefined) {
    output.error(`codegen: unknown argument ${unknown}; usage: node codegen/dist/cli.js [--check | compat]`)
    return 2
  }
  const { findings, files } = await generate(repository)
  for (const { rule, file, line, message } of findings) output.error(`proto/${file}:${line}: ${message} [${rule}]`)
  if (findings.length > 0) return 1
  return args.includes('--check') ? check(files, repository, output) : write(files, repository, output)
}

async function write(files: ReadonlyMap<string, string>, repository: string, output: Output): Promise<number> {
  const touched = await writeFiles(repository, generatedFolders, files)
  for (const path of touched) output.log(path)
  output.log(`codegen: ${files.size} files, ${touched.length} changed`)
  return 0
}

async function check(files: ReadonlyMap<string, string>, repository: string, output: Output): Promise<number> {
  const drift = await compareFiles(repository, generatedFolders, files)
  const lines = [
    ...drift.changed.map((path) => `differs:  ${path}`),
    ...drift.missing.map((path) => `missing:  ${path}`),
    ...drift.surplus.map((path) => `surplus:  ${path}`)
  ]
  for (const line of lines) output.error(line)
  if (lines.length === 0) return 0
  output.error('codegen: run `npm run generate` and commit the result')
  return 1
}

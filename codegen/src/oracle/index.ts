/**
 * Door of the oracles: other people's codecs of our schema. The tests and the benchmark compare ours with them; nothing
 * of the product stands on them.
 */
import { execFile } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'

export { bundle } from './bundle.js'

const run = promisify(execFile)
const resolve = createRequire(import.meta.url).resolve

/** Runs buf, the schema compiler, from node_modules. Throws with its words when it fails. */
export async function buf(args: readonly string[], cwd: string): Promise<void> {
  const script = join(dirname(resolve('@bufbuild/buf/package.json')), 'bin', 'buf')
  try {
    await run(process.execPath, [script, ...args], { cwd, maxBuffer: 16 * 1024 * 1024 })
  } catch (cause) {
    const { stderr } = cause as { readonly stderr?: string }
    throw new Error(`codegen: buf ${args.join(' ')} failed:\n${stderr || String(cause)}`, { cause })
  }
}

/**
 * Writes ts-proto's full codecs of one package of a compiled schema into a folder, as TypeScript that imports
 * `@bufbuild/protobuf/wire`. Its messages have the form of ours.
 */
export async function generateTsProto(imagePath: string, packageName: string, into: string): Promise<void> {
  const opt = [
    ...['importSuffix=.js', 'env=browser', 'forceLong=bigint', 'oneof=unions-value', 'useOptionals=none'],
    ...['enumsAsLiterals=true', 'unrecognizedEnum=false', 'emitImportedFiles=false', 'outputJsonMethods=false'],
    ...['outputPartialMethods=false', 'annotateFilesWithVersion=false']
  ]
  const local = ['node', join(dirname(resolve('ts-proto/package.json')), 'protoc-gen-ts_proto')]
  const template = JSON.stringify({ version: 'v2', plugins: [{ local, out: '.', strategy: 'all', opt }] })
  const folder = packageName.replaceAll('.', '/')
  await buf(['generate', imagePath, '--path', folder, '--template', template, '--output', into], dirname(imagePath))
}

/**
 * Runs the programs codegen/ stands on: buf (schema compiler), ts-proto (through buf) and biome (formatter), each from
 * node_modules. All of them read and write temporary folders only.
 */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const resolve = createRequire(import.meta.url).resolve

/** A new folder that is removed with the scope it is opened in. */
export async function temporaryFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'heddle-codegen-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

/** A compiled schema: a FileDescriptorSet with source information. */
export interface Image {
  readonly path: string
  readonly bytes: Uint8Array
}

/** Compiles the schema of a buf workspace into `folder`. Throws with buf's words when it does not compile. */
export async function buildImage(workspace: string, folder: string): Promise<Image> {
  const path = join(folder, 'image.binpb')
  await runNode(bufPath(), ['build', workspace, '--output', path], workspace)
  return { path, bytes: new Uint8Array(await readFile(path)) }
}

/** What `buf breaking` finds from one image to another, a line each. `workspace` gives its configuration. */
export async function bufBreaking(after: string, before: string, workspace: string): Promise<readonly string[]> {
  try {
    await run(process.execPath, [bufPath(), 'breaking', after, '--against', before], { cwd: workspace })
    return []
  } catch (cause) {
    // 100: it found something. Anything else is a failure of its own.
    const { code, stdout } = cause as { readonly code?: number; readonly stdout?: string }
    if (code !== 100 || stdout === undefined)
      throw new Error(`codegen: buf breaking failed: ${String(cause)}`, { cause })
    return stdout.split('\n').filter((line) => line !== '')
  }
}

/** Runs the plugin of buf.gen.yaml over one package; returns its files by name without folder and extension. */
export async function generateTypes(
  repository: string,
  image: Image,
  packageFolder: string,
  into: string
): Promise<ReadonlyMap<string, string>> {
  await runNode(bufPath(), ['generate', image.path, '--path', packageFolder, '--output', into], repository)
  const folder = join(into, packageFolder)
  const files = new Map<string, string>()
  for (const name of (await readdir(folder)).sort()) {
    files.set(name.replace(/\.ts$/, ''), await readFile(join(folder, name), 'utf8'))
  }
  return files
}

/** Formats sources as the repository formats its own; `biomeConfig` is the repository's. */
export async function format(
  sources: ReadonlyMap<string, string>,
  biomeConfig: string,
  folder: string
): Promise<ReadonlyMap<string, string>> {
  // The repository's configuration leaves generated folders alone: take its style, not its file list.
  const { formatter, javascript } = JSON.parse(await readFile(biomeConfig, 'utf8')) as Record<string, unknown>
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, 'biome.json'), JSON.stringify({ root: true, formatter, javascript }))
  for (const [path, source] of sources) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), source)
  }
  await runNode(biomePath(), ['format', '--write', '.'], folder)
  const formatted = new Map<string, string>()
  for (const path of sources.keys()) formatted.set(path, await readFile(join(folder, path), 'utf8'))
  return formatted
}

function bufPath(): string {
  return join(dirname(resolve('@bufbuild/buf/package.json')), 'bin', 'buf')
}

function biomePath(): string {
  return join(dirname(resolve('@biomejs/biome/package.json')), 'bin', 'biome')
}

async function runNode(script: string, args: readonly string[], cwd: string): Promise<void> {
  try {
    await run(process.execPath, [script, ...args], { cwd, maxBuffer: 16 * 1024 * 1024 })
  } catch (cause) {
    const { stderr, stdout } = cause as { readonly stderr?: string; readonly stdout?: string }
    throw new Error(`codegen: ${[script, ...args].join(' ')} failed:\n${stderr || stdout || String(cause)}`, { cause })
  }
}

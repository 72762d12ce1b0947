/** Compiles .proto sources written in a test, or kept in test/fixtures, together with the real options.proto. */
import { cp, mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildImage, type Image, type Model, readModel, temporaryFolder } from '@heddle/codegen'

export const repository = fileURLToPath(new URL('../../../', import.meta.url)).replace(/\/$/, '')
export const fixtures = fileURLToPath(new URL('../fixtures', import.meta.url))

/** The schema of the protocol. */
export async function protocolModel(): Promise<Model> {
  await using folder = await temporaryFolder()
  return readModel((await buildImage(repository, folder.path)).bytes, 'heddle.v1')
}

/** Compiles sources by path into `folder`, which the caller removes. */
export async function compileSources(sources: Readonly<Record<string, string>>, folder: string): Promise<Image> {
  const workspace = await newWorkspace(folder)
  for (const [path, source] of Object.entries(sources)) {
    await mkdir(dirname(join(workspace, 'proto', path)), { recursive: true })
    await writeFile(join(workspace, 'proto', path), source)
  }
  return buildImage(workspace, folder)
}

/** Compiles test/fixtures into `folder`, which the caller removes. */
export async function compileFixtures(folder: string): Promise<Image> {
  const workspace = await newWorkspace(folder)
  await cp(join(fixtures, 'fixture'), join(workspace, 'proto/fixture'), { recursive: true })
  return buildImage(workspace, folder)
}

async function newWorkspace(folder: string): Promise<string> {
  const workspace = join(folder, 'workspace')
  await cp(join(repository, 'proto/heddle/options'), join(workspace, 'proto/heddle/options'), { recursive: true })
  await writeFile(join(workspace, 'buf.yaml'), 'version: v2\nmodules:\n  - path: proto\n')
  return workspace
}

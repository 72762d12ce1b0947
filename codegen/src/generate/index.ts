/**
 * Door of the pipeline: schema to checked model to formatted files. Called by cli.ts; the tests call its parts.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { emitJsonSchemas, emitReportTypes, emitSources, emitSpecTables, fillMarkers } from '../emit/index.js'
import { type Finding, lint } from '../lint/index.js'
import { type Model, readModels } from '../model/index.js'
import { emitBoundaryVectors } from '../vectors/index.js'
import { buildImage, format, generateTypes, type Image, temporaryFolder } from './tools.js'

export { compareFiles, type Drift, writeFiles } from './files.js'
export { checkOutSchema, lastRelease } from './git.js'
export { bufBreaking, buildImage, type Image, temporaryFolder } from './tools.js'

export const wirePackage = 'heddle.v1'
/** JSON that commands print and files hold. */
export const reportPackage = 'heddle.report.v1'
/** Where the codecs are. */
export const generatedFolder = 'core/src/wire/generated'
const vectorsFolder = 'conformance/vectors/v1/wire/boundaries'
const schemasFolder = 'conformance/schemas'
const reportTypesFolder = 'cli/src/generated'
/** The folders codegen owns: what it does not write there does not belong there. */
export const generatedFolders = [generatedFolder, vectorsFolder, schemasFolder, reportTypesFolder] as const
/** The files of reports that the command prints. */
const commandModules = ['command', 'demo'] as const

/** What one run makes of the schema; paths are relative to the repository. */
export interface Generated {
  readonly findings: readonly Finding[]
  readonly files: ReadonlyMap<string, string>
}

/** Compiles and lints the schema of a repository and emits all files. With findings there are no files. */
export async function generate(repository: string): Promise<Generated> {
  await using work = await temporaryFolder()
  const image = await buildImage(repository, work.path)
  const [model, reports] = readSchema(image)
  const findings = [...lint(model), ...lint(reports)]
  if (findings.length > 0) return { findings, files: new Map() }
  const [sources, others] = await Promise.all([
    generateSources(repository, image, model, '../../runtime.js'),
    format(reportFiles(model, reports), join(repository, 'biome.json'), join(work.path, 'format'))
  ])
  const files = new Map([...sources].map(([path, source]) => [`${generatedFolder}/${path}`, source]))
  for (const [path, content] of others) files.set(path, content)
  const spec = await filledSpec(repository, model)
  if (spec !== undefined) files.set('SPEC.md', spec)
  return { findings, files }
}

/**
 * Emits and formats the sources of one package; paths are relative to its generated folder. `runtime` is how a file in
 * its folder codecs/ imports core/src/wire/runtime.ts. `repository` gives the plugin and the style.
 */
export async function generateSources(
  repository: string,
  image: Image,
  model: Model,
  runtime: string
): Promise<ReadonlyMap<string, string>> {
  await using work = await temporaryFolder()
  const packageFolder = model.packageName.replaceAll('.', '/')
  const types = await generateTypes(repository, image, packageFolder, join(work.path, 'types'))
  return await format(emitSources(model, types, runtime), join(repository, 'biome.json'), join(work.path, 'format'))
}

/** The models of what is on the wire and of the reports. */
export function readSchema({ bytes }: Image): readonly [wire: Model, reports: Model] {
  const [wire, reports] = readModels(bytes, [wirePackage, reportPackage])
  if (wire === undefined || reports === undefined)
    throw new Error('codegen: the image gave fewer models than asked for')
  return [wire, reports]
}

/** Vectors, schemas and types that no codec is made of. */
function reportFiles(model: Model, reports: Model): ReadonlyMap<string, string> {
  const files = new Map<string, string>()
  for (const [name, text] of emitBoundaryVectors(model)) files.set(`${vectorsFolder}/${name}`, text)
  for (const [name, text] of emitJsonSchemas(reports)) files.set(`${schemasFolder}/${name}`, text)
  files.set(`${reportTypesFolder}/reports.ts`, emitReportTypes(reports, commandModules))
  return files
}

async function filledSpec(repository: string, model: Model): Promise<string | undefined> {
  try {
    return fillMarkers(await readFile(join(repository, 'SPEC.md'), 'utf8'), emitSpecTables(model))
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw cause
  }
}

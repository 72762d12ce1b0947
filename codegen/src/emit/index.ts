/** Door of the emitters: pure functions from the model to unformatted source and Markdown. */
import type { Model } from '../model/index.js'
import { emitCodecs } from './codecs.js'
import { emitDoor } from './door.js'
import { emitErrors } from './errors.js'
import { emitLimits } from './limits.js'
import { emitRegistries } from './registries.js'
import { refineTypes } from './types.js'

export { emitJsonSchemas, schemaFileName } from './json-schema.js'
export { emitReportTypes } from './report-types.js'
export { emitSpecTables, fillMarkers } from './spec.js'

/**
 * The generated folder: path to unformatted source. `types` are the files of ts-proto by module name, `runtime` is how a
 * file in codecs/ imports the runtime.
 */
export function emitSources(
  model: Model,
  types: ReadonlyMap<string, string>,
  runtime: string
): ReadonlyMap<string, string> {
  return new Map([
    ...[...types].map(([module, source]) => [`types/${module}.ts`, refineTypes(model, module, source)] as const),
    ...[...emitCodecs(model, runtime)].map(([module, source]) => [`codecs/${module}.ts`, source] as const),
    ['errors.ts', emitErrors(model)],
    ['registries.ts', emitRegistries(model, runtime.replace(/^\.\.\//, ''))],
    ['limits.ts', emitLimits(model)],
    ['index.ts', emitDoor(model)]
  ])
}

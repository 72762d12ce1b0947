/** Bundles a module as an app would, with the repository's vite: for sizes, and to run ts-proto's TypeScript. */
import { createRequire } from 'node:module'
import { build } from 'vite'

const resolve = createRequire(import.meta.resolve('@heddle/codegen')).resolve
const entryName = 'heddle-bench-entry'

/** The code of one ES module that contains all that `source`, itself a module, imports by absolute paths. */
export async function bundle(source: string, minify: boolean): Promise<string> {
  const built = await build({
    configFile: false,
    logLevel: 'silent',
    resolve: {
      conditions: ['source'],
      // Generated code lies in a temporary folder, from where the package would not be found.
      alias: [
        { find: '@bufbuild/protobuf/wire', replacement: resolve('@bufbuild/protobuf/wire').replace('/cjs/', '/esm/') }
      ]
    },
    plugins: [
      {
        name: entryName,
        resolveId: (id) => (id === entryName ? `\0${entryName}` : undefined),
        load: (id) => (id === `\0${entryName}` ? source : undefined)
      }
    ],
    build: {
      write: false,
      minify,
      target: 'es2022',
      modulePreload: false,
      rolldownOptions: { input: entryName, preserveEntrySignatures: 'strict', output: { format: 'es' } }
    }
  })
  if (!Array.isArray(built) && !('output' in built)) throw new Error('vite watches instead of building')
  const chunks = [built].flat().flatMap(({ output }) => output)
  const [chunk] = chunks
  if (chunks.length !== 1 || chunk?.type !== 'chunk') throw new Error(`vite made ${chunks.length} files, not one`)
  return chunk.code
}

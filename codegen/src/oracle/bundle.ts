/**
 * Bundles a module into one file of plain JavaScript, as an app's bundler would, with the repository's vite. For code
 * that was generated a moment ago, for what runs in a browser, and for sizes.
 */
import { fileURLToPath } from 'node:url'
import { build } from 'vite'

const entryName = 'heddle-entry'

/**
 * The code of one ES module that contains everything `source`, a module itself, imports by absolute paths. Node's own
 * modules stay imports.
 */
export async function bundle(source: string, options: { readonly minify?: boolean } = {}): Promise<string> {
  const protobufWire = fileURLToPath(import.meta.resolve('@bufbuild/protobuf/wire'))
  const built = await build({
    configFile: false,
    logLevel: 'silent',
    // Generated code lies in a temporary folder, from where the package would not be found.
    resolve: { conditions: ['source'], alias: [{ find: '@bufbuild/protobuf/wire', replacement: protobufWire }] },
    plugins: [
      {
        name: entryName,
        resolveId: (id) => (id === entryName ? `\0${entryName}` : undefined),
        load: (id) => (id === `\0${entryName}` ? source : undefined)
      }
    ],
    build: {
      write: false,
      minify: options.minify ?? false,
      target: 'es2022',
      modulePreload: false,
      rolldownOptions: {
        input: entryName,
        external: /^node:/,
        preserveEntrySignatures: 'strict',
        output: { format: 'es' }
      }
    }
  })
  if (!Array.isArray(built) && !('output' in built)) throw new Error('vite watches instead of building')
  const chunks = [built].flat().flatMap(({ output }) => output)
  const [chunk] = chunks
  if (chunks.length !== 1 || chunk?.type !== 'chunk') throw new Error(`vite made ${chunks.length} files, not one`)
  return chunk.code
}

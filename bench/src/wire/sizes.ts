/**
 * How large the codecs are in an app: bundled and minified by vite, then compressed. The same schema by each library; the
 * limits and the strictness are only in ours. Their table stands in the repository's README.
 */
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { bundle } from '@heddle/codegen/oracle'
import { type Libraries, repository } from './libraries.js'

export interface Size {
  readonly minifiedBytes: number
  readonly gzipBytes: number
}

export interface SizeRow {
  readonly id: 'message' | 'frames'
  readonly label: string
  readonly sizes: Readonly<Record<'heddle' | 'ts-proto' | 'protobufjs', Size>>
}

const rows = [
  { id: 'message', label: 'one small message (`Vote`)', names: ['Vote'] },
  { id: 'frames', label: 'all frames', names: ['Frame'] }
] as const

export async function measureSizes(libraries: Libraries): Promise<readonly SizeRow[]> {
  const measured: SizeRow[] = []
  for (const { id, label, names } of rows) {
    const { tsProto, protobufjs } = libraries.sources(names)
    const own = `export { ${names.join(', ')} } from ${JSON.stringify(join(repository, 'core/src/wire/index.ts'))}`
    const sizes = {
      heddle: await sizeOf(own),
      'ts-proto': await sizeOf(tsProto),
      protobufjs: await sizeOf(protobufjs)
    }
    measured.push({ id, label, sizes })
  }
  return measured
}

async function sizeOf(source: string): Promise<Size> {
  const code = await bundle(source, { minify: true })
  return { minifiedBytes: Buffer.byteLength(code), gzipBytes: gzipSync(code, { level: 9 }).length }
}

/** The table in Markdown, kilobytes of 1000 bytes. */
export function sizeTable(measured: readonly SizeRow[]): string {
  const cell = ({ minifiedBytes, gzipBytes }: Size) => `${kilobytes(minifiedBytes)} / ${kilobytes(gzipBytes)}`
  const lines = measured.map(({ label, sizes }) =>
    ['', label, cell(sizes.heddle), cell(sizes['ts-proto']), cell(sizes.protobufjs), ''].join(' | ').trim()
  )
  return [
    '| minified / gzip, KB | Heddle | ts-proto | protobufjs (light, with the schema as JSON) |',
    '|---|---|---|---|',
    ...lines
  ].join('\n')
}

const begin = '<!-- sizes:begin -->'
const end = '<!-- sizes:end -->'

/** The README with the table in its place. Throws when it has no place for one. */
export function fillSizes(readme: string, table: string): string {
  const from = readme.indexOf(begin)
  const to = readme.indexOf(end, from)
  if (from < 0 || to < 0) throw new Error(`README.md has no ${begin} with an ${end} behind it`)
  return `${readme.slice(0, from + begin.length)}\n\n${table}\n\n${readme.slice(to)}`
}

function kilobytes(bytes: number): string {
  return (bytes / 1000).toFixed(1)
}

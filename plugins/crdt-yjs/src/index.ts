/** CRDT backend on yjs: the app edits a Y.Doc. */
import { type CrdtBackend, type CrdtDoc, definePlugin, type Manifest, schema } from '@heddle/core'
import type { Doc } from 'yjs'
import { YjsDocument } from './document.js'
import { mergeUpdates } from './updates.js'

/** A document of this backend; `native` is the Y.Doc the app edits. */
export type YjsDoc = CrdtDoc<Doc>

export interface YjsOptions {
  /** Drop the content of what was deleted. Default true; false keeps it, for the history functions of yjs. */
  readonly gc?: boolean
}

const manifest: Manifest<'crdt'> = {
  kind: 'crdt',
  name: '@heddle/crdt-yjs',
  version: '0.1.0',
  api: '1.0',
  supports: { mergeUpdates: true, shallowSnapshot: false, detectsCorruption: false, actorIdBits: 32 },
  runtimes: ['node', 'browser', 'deno', 'bun']
}

/** The plugin: `yjs()`, or `yjs({ gc: false })`. */
export const yjs = definePlugin<'crdt', YjsOptions>({
  manifest,
  options: schema(parseOptions),
  create: async ({ gc = true }, { log }): Promise<CrdtBackend<Doc>> => ({
    typeId: 'yjs/1',
    open: async (init) => new YjsDocument(init, gc, log),
    mergeUpdates,
    async [Symbol.asyncDispose]() {}
  })
})
export default yjs

function parseOptions(value: unknown): YjsOptions {
  const { gc, ...rest } = (value ?? {}) as Partial<YjsOptions>
  const unknown = Object.keys(rest)[0]
  if (unknown !== undefined) throw new Error(`unknown option "${unknown}"; there is gc`)
  if (gc === undefined) return {}
  if (typeof gc !== 'boolean') throw new Error('"gc" has to be true or false')
  return { gc }
}

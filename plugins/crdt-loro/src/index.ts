/** CRDT backend on Loro: the app edits a LoroDoc. */
import { type CrdtBackend, type CrdtDoc, definePlugin, type Manifest, noOptions } from '@heddle/core'
import type { LoroDoc as NativeLoroDoc } from 'loro-crdt'
import { LoroDocument } from './document.js'

/** A document of this backend; `native` is the LoroDoc the app edits. */
export type LoroCrdtDoc = CrdtDoc<NativeLoroDoc>

const manifest: Manifest<'crdt'> = {
  kind: 'crdt',
  name: '@heddle/crdt-loro',
  version: '0.1.0',
  api: '1.0',
  supports: { mergeUpdates: false, shallowSnapshot: true, detectsCorruption: true, actorIdBits: 64 },
  runtimes: ['node', 'browser', 'deno', 'bun']
}

/** The plugin: `loro()`. */
export const loro = definePlugin<'crdt', Record<string, never>>({
  manifest,
  options: noOptions,
  create: async (_, { log }): Promise<CrdtBackend<NativeLoroDoc>> => ({
    typeId: 'loro/1',
    open: async (init) => new LoroDocument(init, log),
    async [Symbol.asyncDispose]() {}
  })
})
export default loro

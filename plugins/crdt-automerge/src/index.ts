/** CRDT backend on Automerge: the app edits through a handle, as with automerge-repo. */
import { type CrdtBackend, type CrdtDoc, createCrypto, definePlugin, type Manifest, noOptions } from '@heddle/core'
import { Chunks } from './chunks.js'
import { AutomergeDocument } from './document.js'
import type { AutomergeHandle } from './handle.js'

export type { AutomergeChange, AutomergeHandle, Root } from './handle.js'

/** A document of this backend; `native` is the handle the app edits through. */
export type AutomergeDoc = CrdtDoc<AutomergeHandle>

const manifest: Manifest<'crdt'> = {
  kind: 'crdt',
  name: '@heddle/crdt-automerge',
  version: '0.1.0',
  api: '1.0',
  supports: { mergeUpdates: true, shallowSnapshot: false, detectsCorruption: true, actorIdBits: 128 },
  runtimes: ['node', 'browser', 'deno', 'bun']
}

/** The plugin: `automerge()`. */
export const automerge = definePlugin<'crdt', Record<string, never>>({
  manifest,
  options: noOptions,
  create: async (_, context): Promise<CrdtBackend<AutomergeHandle>> => {
    const { sha256 } = createCrypto(context.random)
    const chunks = new Chunks(sha256)
    return {
      typeId: 'automerge/1',
      open: async (init) => new AutomergeDocument(init, chunks, context),
      mergeUpdates: (updates) => chunks.merge(updates),
      async [Symbol.asyncDispose]() {}
    }
  }
})
export default automerge

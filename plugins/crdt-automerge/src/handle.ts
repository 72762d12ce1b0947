/**
 * What the app edits through. An Automerge document is a value: every change gives a new one. The handle holds the newest,
 * with the methods and names of automerge-repo's DocHandle, so that what is written for those finds its way here.
 */
import type { ChangeFn, ChangeOptions, Doc, Patch, PatchInfo } from '@automerge/automerge'

/** What an app has at the root when it has not said more: fields of any kind. */
export type Root = Record<string, unknown>

/**
 * @example
 * const handle = document.native as AutomergeHandle<{ title: string }>
 * handle.change((draft) => {
 *   draft.title = 'Hello'
 * })
 * handle.doc().title
 */
export interface AutomergeHandle<T = Root> {
  /** The document now: never changed afterwards, and not to be given to `Automerge.change`. */
  doc(): Doc<T>
  /** Changes it. What `fn` throws is thrown, with the document as it was. Throws DISPOSED, CRDT_TAINTED. */
  change(fn: ChangeFn<T>, options?: ChangeOptions<T>): void
  /** Takes in another document with its history: a local change, which is sent. Throws DISPOSED, CRDT_TAINTED. */
  merge(other: Doc<T>): void
  /** Calls back after every change, one's own and others'. The same listener is called once. */
  on(event: 'change', listener: (change: AutomergeChange<T>) => void): void
  off(event: 'change', listener: (change: AutomergeChange<T>) => void): void
}

export interface AutomergeChange<T = Root> {
  readonly handle: AutomergeHandle<T>
  readonly doc: Doc<T>
  /** The way from the document before to this one. */
  readonly patches: readonly Patch[]
  readonly patchInfo: PatchInfo<T>
}

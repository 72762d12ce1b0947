/**
 * One edit of a text, as typists make it and editing histories record it. Positions and lengths count UTF-16 units, as
 * JavaScript and Y.Text do.
 */

export interface Edit {
  /** Where it takes place, from the start of the section it belongs to. */
  readonly at: number
  /** How much is removed there, then what is inserted. */
  readonly remove: number
  readonly insert: string
  /** How long a person waits before it, milliseconds. A hint: who replays scales or ignores it. */
  readonly pauseMs: number
}

/** Whether it is one keystroke: one character more or one character less. Cuts, pastes and word deletions are not. */
export function isSingle(edit: Edit): boolean {
  if (edit.insert === '') return edit.remove > 0 && edit.remove <= 2
  return edit.remove === 0 && Array.from(edit.insert).length === 1
}

/** The text after all edits. Throws RangeError when one lies outside the text. */
export function applyEdits(start: string, edits: readonly Edit[]): string {
  let text = start
  for (const { at, remove, insert } of edits) {
    if (at < 0 || remove < 0 || at + remove > text.length) {
      throw new RangeError(`edit at ${at} removing ${remove} lies outside a text of ${text.length}`)
    }
    text = text.slice(0, at) + insert + text.slice(at + remove)
  }
  return text
}

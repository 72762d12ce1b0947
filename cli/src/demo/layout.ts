/**
 * Where things stand in the demo's one Y.Text: a title, a passage that everybody edits, a section for each of the two
 * writers, and notes. Writers find their place through relative positions, so what the other types never moves or
 * destroys it. Used by the device processes; `expectedParts` by the orchestrator for the final check.
 */
import { HeddleError } from '@heddle/core'
import * as Y from 'yjs'
import type { Edit } from './edit.js'
import type { SharedEdit } from './typist.js'

/** Name of the Y.Text, the one `heddle doc` shows and edits. */
export const textName = 'text'

export type Writer = 'A' | 'B'

const title = 'Alice’s Adventures in Wonderland\n\n'
const headings = { A: '\n\n# I. Down the Rabbit-Hole\n\n', B: '\n\n# II. The Pool of Tears\n\n' } as const
const notesHeading = '\n\n# Notes\n'

/** Writes the headings and the shared passage into the empty text. */
export function layOut(text: Y.Text, sharedPassage: string): void {
  text.insert(0, title + sharedPassage + headings.A + headings.B + notesHeading)
}

/** The parts of a finished text. Throws INTERNAL when a heading is missing. */
export function partsOf(text: string): {
  readonly shared: string
  readonly sections: { readonly [W in Writer]: string }
  readonly notes: string
} {
  const [a, b, notes] = [headings.A, headings.B, notesHeading].map((heading) => startOf(text, heading))
  return {
    shared: text.slice(title.length, a),
    sections: { A: text.slice((a ?? 0) + headings.A.length, b), B: text.slice((b ?? 0) + headings.B.length, notes) },
    notes: text.slice((notes ?? 0) + notesHeading.length)
  }
}

/** One writer's hands on the text. */
export class Desk {
  readonly #text: Y.Text
  readonly #doc: Y.Doc
  readonly #sectionStart: Y.RelativePosition
  readonly #sharedStart: Y.RelativePosition
  readonly #sharedEnd: Y.RelativePosition

  /** Throws INTERNAL when the headings are not there yet. */
  constructor(doc: Y.Doc, writer: Writer) {
    this.#doc = doc
    this.#text = doc.getText(textName)
    const content = this.#text.toString()
    // Fixed to characters of the headings, which nobody deletes: to the one before a start, to the one behind an end.
    this.#sectionStart = this.#fix(startOf(content, headings[writer]) + headings[writer].length, -1)
    this.#sharedStart = this.#fix(title.length, -1)
    this.#sharedEnd = this.#fix(startOf(content, headings.A), 0)
  }

  /** Makes an edit of the writer's own section, as one transaction. */
  edit({ at, remove, insert }: Edit): void {
    const index = this.#find(this.#sectionStart) + at
    this.#doc.transact(() => {
      if (remove > 0) this.#text.delete(index, remove)
      if (insert !== '') this.#text.insert(index, insert)
    })
  }

  /** Makes an edit of the shared passage. False when there was nothing left to remove. */
  editShared({ place, insert }: SharedEdit): boolean {
    const start = this.#find(this.#sharedStart)
    const length = this.#find(this.#sharedEnd) - start
    if (insert !== undefined) this.#text.insert(start + Math.floor(place * (length + 1)), insert)
    else if (length > 0) this.#text.delete(start + Math.floor(place * length), 1)
    else return false
    return true
  }

  /** Adds a line at the very end. */
  note(line: string): void {
    this.#text.insert(this.#text.length, `${line}\n`)
  }

  #fix(index: number, association: number): Y.RelativePosition {
    return Y.createRelativePositionFromTypeIndex(this.#text, index, association)
  }

  #find(position: Y.RelativePosition): number {
    const found = Y.createAbsolutePositionFromRelativePosition(position, this.#doc)
    if (found === null) throw new HeddleError('INTERNAL', 'a heading of the demo document has gone')
    return found.index
  }
}

function startOf(text: string, heading: string): number {
  const index = text.indexOf(heading)
  if (index < 0) throw new HeddleError('INTERNAL', `the demo document lacks the heading "${heading.trim()}"`)
  return index
}

/**
 * Door of the lint room: rules of the schema that `buf lint` cannot know, because they are about our options or about
 * what a strict decoder needs. Pure functions of the model.
 */
import type { Model } from '../model/index.js'
import { fieldFindings } from './field-rules.js'
import type { Finding } from './finding.js'
import { enumFindings, messageFindings } from './message-rules.js'
import { registryFindings } from './registry-rules.js'

export type { Finding } from './finding.js'

/** All findings, by place. An empty list means that code can be generated. */
export function lint(model: Model): readonly Finding[] {
  return [
    ...model.messages.flatMap((message) => [...messageFindings(model, message), ...fieldFindings(model, message)]),
    ...model.enums.flatMap(enumFindings),
    ...registryFindings(model)
  ].sort((a, b) => (a.file === b.file ? a.line - b.line : a.file < b.file ? -1 : 1))
}

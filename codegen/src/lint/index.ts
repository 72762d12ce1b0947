/**
 * Door of the lint room: rules of the schema that `buf lint` cannot know, because they are about our options or about
 * what a strict decoder needs. Pure functions of the model.
 */
import type { Model } from '../model/index.js'
import { unreachableLimit } from '../vectors/index.js'
import { fieldFindings } from './field-rules.js'
import { type Finding, finding } from './finding.js'
import { enumFindings, messageFindings, wireMessageFindings } from './message-rules.js'
import { registryFindings } from './registry-rules.js'
import { reportFindings, wireOnlyFindings } from './report-rules.js'

export type { Finding } from './finding.js'

/** All findings, by place. An empty list means that code can be generated. */
export function lint(model: Model): readonly Finding[] {
  const findings = [
    ...model.messages.flatMap((message) => messageFindings(model, message)),
    ...model.enums.flatMap(enumFindings),
    ...(model.report === true
      ? model.messages.flatMap((message) => reportFindings(model, message))
      : wireFindings(model))
  ]
  // Whether a limit can be reached can be asked of a schema only that is right otherwise.
  if (findings.length === 0 && model.report !== true) return reachFindings(model)
  return findings.sort((a, b) => (a.file === b.file ? a.line - b.line : a.file < b.file ? -1 : 1))
}

function wireFindings(model: Model): readonly Finding[] {
  return [
    ...model.messages.flatMap((message) => [
      ...wireMessageFindings(message),
      ...fieldFindings(model, message),
      ...wireOnlyFindings(message)
    ]),
    ...registryFindings(model)
  ]
}

/** A limit beyond what a max_size has room for limits nothing. */
function reachFindings(model: Model): readonly Finding[] {
  return model.messages.flatMap((message) => {
    const wrong = unreachableLimit(model, message)
    return wrong === undefined ? [] : [finding('unreachable-limit', message, wrong)]
  })
}

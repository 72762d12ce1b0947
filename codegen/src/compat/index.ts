/**
 * Door of the compatibility room: what a change of the schema does to peers of an older release and to what is stored,
 * our own options included, which `buf breaking` does not see. Pure functions of two models. Called by compat-command.ts.
 */
import type { Model } from '../model/index.js'
import { type Change, type Severity, severities } from './change.js'
import { messageChanges, versionOf } from './messages.js'
import { registryChanges } from './registries.js'
import { reportChanges } from './reports.js'

export type { Change, Severity } from './change.js'

/** As proto/heddle/report/v1/compat.proto describes it. */
export interface CompatReport {
  readonly against?: string
  /** Why nothing was compared. */
  readonly skipped?: string
  readonly versionRaised: boolean
  readonly ok: boolean
  readonly changes: readonly Change[]
  /** Findings of `buf breaking`. */
  readonly buf: readonly string[]
}

/** All changes from one schema to the next, the gravest first. */
export function compare(before: Model, after: Model): readonly Change[] {
  const changes =
    after.report === true
      ? reportChanges(before, after)
      : [...messageChanges(before, after), ...registryChanges(before, after)]
  return changes.toSorted((a, b) => severities.indexOf(a.severity) - severities.indexOf(b.severity))
}

/** Whether the later schema names a protocol version that the earlier one does not. */
export function raisesVersion(before: Model, after: Model): boolean {
  return versionOf(after) > versionOf(before)
}

/** Whether the changes may be released. */
export function isAllowed(changes: readonly Change[], versionRaised: boolean): boolean {
  return changes.every(({ severity }) => severity === 'compatible' || (severity === 'new_version' && versionRaised))
}

const headings: Readonly<Record<Severity, string>> = {
  breaking: 'Breaking: never allowed',
  new_version: 'Allowed in a new protocol version only',
  compatible: 'Compatible'
}

/** The report for a person. */
export function compatText({ against, skipped, versionRaised, ok, changes, buf }: CompatReport): string {
  if (skipped !== undefined) return `compat: nothing to compare with: ${skipped}`
  const lines: string[] = []
  for (const severity of severities) {
    const those = changes.filter((change) => change.severity === severity)
    if (those.length === 0) continue
    lines.push(`${headings[severity]}:`)
    for (const { rule, place, message } of those) lines.push(`  ${place}: ${message} [${rule}]`)
  }
  if (buf.length > 0) lines.push('buf breaking:', ...buf.map((line) => `  ${line}`))
  const counts = severities.map((severity) => changes.filter((change) => change.severity === severity).length)
  const version = versionRaised ? 'the protocol version is raised' : 'the protocol version is the same'
  lines.push(
    `compat: ${ok ? 'ok' : 'not ok'} against ${against ?? ''}: ${counts[0]} breaking, ${counts[1]} for a new version, ${counts[2]} compatible; ${version}`
  )
  return lines.join('\n')
}

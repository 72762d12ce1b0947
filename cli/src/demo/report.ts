/** What a demo run found out: its measures, its checks, and how they are shown to a person and to a program. */
import type { Terminal } from '../terminal.js'

/** The line that `heddle demo --json` ends with; the names are a contract. */
export interface Measures {
  /** Both devices hold the same document, down to every Yjs item. */
  readonly converged: boolean
  /** Single-character edits made on both devices. */
  readonly edits: number
  /** Changes of the group decided by the servers. */
  readonly epochs: number
  readonly servers: number
  /** Servers killed with SIGKILL, restarted and found in step again. */
  readonly killed: number
  /** Inserted characters and deletions made on a device and missing on one of them in the end. */
  readonly lost: number
  /** Edits of both over the time from the first keystroke of the fast part until each device had all of it. */
  readonly editsPerSec: number
  /** From an edit on one device to its being in the other device's document, paced part. */
  readonly p50ms: number
  readonly p99ms: number
  /** Bytes of all envelopes the two writers sealed, over their edits. */
  readonly bytesPerEdit: number
}

export interface Check {
  readonly what: string
  readonly ok: boolean
  /** What was found instead. */
  readonly found?: string
}

export interface Report {
  readonly measures: Measures
  readonly checks: readonly Check[]
  /** Further facts for a person. */
  readonly facts: readonly (readonly [name: string, value: string])[]
}

export const failedChecks = (report: Report): readonly Check[] => report.checks.filter(({ ok }) => !ok)

/** Rounded to a tenth: more digits would pretend. */
export const tenth = (value: number): number => Math.round(value * 10) / 10

export function printReport({ measures, checks, facts }: Report, { line, paint }: Terminal): void {
  line()
  const { edits, epochs, servers, killed, lost, editsPerSec, p50ms, p99ms, bytesPerEdit } = measures
  const rows: (readonly [string, string])[] = [
    ['edits', `${count(edits)} single characters by two people at once, ${lost} lost`],
    [
      'speed',
      `${count(editsPerSec)} edits/s, from the first key until each had all of the other's, one of ${servers} servers dead meanwhile`
    ],
    ['latency', `${p50ms} ms p50, ${p99ms} ms p99 from keystroke to the other document`],
    ['size', `${bytesPerEdit} bytes an edit`],
    ['group', `${epochs} changes decided by ${servers} servers, ${killed} of them killed and back`],
    ...facts
  ]
  for (const [name, value] of rows) line(`  ${paint.bold(name.padEnd(9))} ${value}`)
  line()
  for (const { what, ok, found } of checks) {
    const mark = ok ? paint.green('ok  ') : paint.red('FAIL')
    line(`  ${mark} ${what}${ok || found === undefined ? '' : `: ${found}`}`)
  }
}

const count = (value: number): string => value.toLocaleString('en-US')

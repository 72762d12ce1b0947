/** What a demo run found out: its measures, its checks, and how they are shown to a person and to a program. */
import type { DemoReport } from '../generated/reports.js'
import type { Terminal } from '../terminal.js'

export interface Check {
  readonly what: string
  readonly ok: boolean
  /** What was found instead. */
  readonly found?: string
}

export interface Report {
  /** The line that `heddle demo --json` ends with; the names are a contract. */
  readonly measures: DemoReport
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

/** Judges what a demo run left behind: the measures, and the checks that have to hold. Pure, but for looking into folders. */
import type { Cast } from './cast.js'
import { countLost, latenciesMs, percentile } from './evidence.js'
import type { TypedPart } from './device-process.js'
import { partsOf } from './layout.js'
import { findPassages, passagesOf } from './plaintext.js'
import { type Check, type Report, tenth } from './report.js'
import type { Evidence } from './story.js'

/** Edits below which a whole run would be no demonstration. */
const editsMin = 10_000
const serverCount = 3
/** Two members added, keys renewed twice, one member removed. */
const epochsMin = 5

export interface VerdictOptions {
  /** A reduced run types less than `editsMin`. */
  readonly reduced: boolean
  readonly trace: boolean
}

export async function judge(evidence: Evidence, cast: Pick<Cast, 'path'>, options: VerdictOptions): Promise<Report> {
  const { final, beforePowerCut, removed } = evidence
  const made = [final.A.marks, beforePowerCut.marks, final.B.marks]
  const lost = countLost(made, final.A.content) + countLost(made, final.B.content)
  const typed = [...Object.values(evidence.paced), ...Object.values(evidence.fast), ...evidence.others]
  const edits = sum(typed, 'singles')
  const fast = Object.values(evidence.fast)
  const fastMs = evidence.fastArrivedMs - Math.min(...fast.map(({ startedMs }) => startedMs))
  const pacedLatencies = [
    ...latenciesOf(evidence, evidence.paced.A, 'A'),
    ...latenciesOf(evidence, evidence.paced.B, 'B')
  ]
  const fastLatencies = [...latenciesOf(evidence, evidence.fast.A, 'A'), ...latenciesOf(evidence, evidence.fast.B, 'B')]
  const sealedBytes = final.A.sealedBytes + beforePowerCut.sealedBytes + final.B.sealedBytes
  const messages = final.A.messages + final.B.messages
  const leaks = await searchFolders(evidence, cast)
  const text = textChecks(evidence, lost)
  const checks = [
    ...text,
    ...storyChecks(evidence),
    ...removalChecks(evidence),
    ...leaks,
    ...(options.reduced || options.trace
      ? []
      : [check(`at least ${editsMin.toLocaleString('en-US')} single-character edits`, edits >= editsMin, `${edits}`)])
  ]
  const measured = pacedLatencies.length
  const pacedInserts =
    insertsWithin(evidence, evidence.paced.A, 'A').length + insertsWithin(evidence, evidence.paced.B, 'B').length
  checks.push(
    check('every paced keystroke was seen to arrive', measured === pacedInserts, `${measured} of ${pacedInserts}`)
  )
  return {
    measures: {
      converged: text.every(({ ok }) => ok),
      edits,
      epochs: evidence.epochs.A,
      servers: serverCount,
      killed: evidence.restartedServer.storedEnvelopes > 0 ? 1 : 0,
      lost,
      editsPerSec: Math.round((sum(fast, 'singles') / fastMs) * 1000),
      p50ms: tenth(percentile(pacedLatencies, 50)),
      p99ms: tenth(percentile(pacedLatencies, 99)),
      bytesPerEdit: tenth(sealedBytes / edits)
    },
    checks,
    facts: [
      [
        'messages',
        `${messages.toLocaleString('en-US')} envelopes, ${(sealedBytes / 1024).toFixed(0)} KiB, and ${sum(typed, 'blocks')} cuts, pastes and deleted words in them`
      ],
      [
        'fast part',
        `${tenth(percentile(fastLatencies, 50))} ms p50, ${tenth(percentile(fastLatencies, 99))} ms p99 while typing flat out on both sides, one server dying and coming back`
      ],
      [
        'outage',
        `keys renewed in ${evidence.rotationMs.toFixed(0)} ms with a server dead; ${evidence.restartedServer.storedEnvelopes.toLocaleString('en-US')} envelopes stored by it after the restart`
      ],
      [
        'text',
        `${final.A.text.length.toLocaleString('en-US')} characters; removed reader C saw ${removed.textBefore.length.toLocaleString('en-US')} of them`
      ]
    ]
  }
}

/** Together they are `converged`. */
function textChecks({ final, plans, markers }: Evidence, lost: number): readonly Check[] {
  const { sections, notes } = partsOf(final.A.text)
  const wrong = (['A', 'B'] as const).filter((writer) => sections[writer] !== plans[writer].outcome)
  return [
    check(
      'A and B hold the same text',
      final.A.text === final.B.text,
      `${final.A.text.length} and ${final.B.text.length} characters`
    ),
    check('their documents agree in every item and deletion', sameContent(final.A.content, final.B.content)),
    check('both sections are what their writers typed', wrong.length === 0, `not that of ${wrong.join(' and ')}`),
    check(
      'both markers are there, and not an edit is lost',
      notes.includes(markers.A) && notes.includes(markers.B) && lost === 0,
      `${lost} lost`
    )
  ]
}

function storyChecks({ epochs, restartedServer, offline, final, beforePowerCut }: Evidence): readonly Check[] {
  const problems = [...final.A.problems, ...beforePowerCut.problems, ...final.B.problems]
  return [
    check('the killed server came back and stores again', restartedServer.storedEnvelopes > 0),
    check(
      'B was offline while it typed, and A had none of it',
      offline.connection === 'offline' && !offline.reachedA,
      offline.connection
    ),
    check(
      `A and B agree on the epoch, ${epochsMin} or more`,
      epochs.A === epochs.B && epochs.A >= epochsMin,
      `${epochs.A} and ${epochs.B}`
    ),
    check('no device reported a problem', problems.length === 0, problems.join('; '))
  ]
}

function removalChecks({ removed, markers }: Evidence): readonly Check[] {
  const { textBefore, textOfA, textAfter, deliversAfter, attempts } = removed
  const texts = [textAfter, ...attempts.map(({ text }) => text)]
  const admitted = attempts.filter(({ seen }) => seen.refusals === 0 || seen.subscribed > 0 || seen.delivers > 0)
  return [
    check('C could read everything while it was a member', textBefore === textOfA && textBefore.length > 0),
    check(
      'after its removal C received no message and its text stayed as it was',
      textAfter === textBefore && deliversAfter === 0,
      `${deliversAfter} frames of messages`
    ),
    check(
      'every server refused C, asked with its folder from before',
      admitted.length === 0,
      admitted.map(({ server }) => server).join(', ')
    ),
    check(
      'no text of C contains what was written after it',
      texts.every((text) => !text.includes(markers.A) && !text.includes(markers.B))
    )
  ]
}

/** The servers must hold no plaintext; the devices do, which shows that the search finds it. */
async function searchFolders({ plans, markers }: Evidence, cast: Pick<Cast, 'path'>): Promise<readonly Check[]> {
  const passages = [...passagesOf(plans.A.outcome, 60), ...passagesOf(plans.B.outcome, 60), markers.A, markers.B]
  const onServers: string[] = []
  for (let server = 1; server <= serverCount; server++) {
    onServers.push(...(await findPassages(cast.path(`server${server}`), passages)))
  }
  const onDevices = await Promise.all(['deviceA', 'deviceB'].map((name) => findPassages(cast.path(name), passages)))
  const onC = await findPassages(cast.path('deviceC'), [markers.A, markers.B])
  return [
    check(
      `none of ${passages.length} passages of the text stands in the servers' files`,
      onServers.length === 0,
      onServers.join(' | ')
    ),
    check(
      'the same search finds passages on the devices of A and B',
      onDevices.every((found) => found.length > 0)
    ),
    check("what was written after C's removal is not in C's files", onC.length === 0, onC.join(' | '))
  ]
}

function insertsWithin({ final, beforePowerCut }: Evidence, { startedMs, endedMs }: TypedPart, writer: 'A' | 'B') {
  const { inserts } = (writer === 'A' ? final.A : beforePowerCut).marks
  return inserts.filter(({ timeMs }) => timeMs >= startedMs && timeMs <= endedMs)
}

/** From the writer's keystrokes in a part to the other writer's document. */
function latenciesOf(evidence: Evidence, part: TypedPart, writer: 'A' | 'B'): readonly number[] {
  const { arrivals } = writer === 'A' ? evidence.beforePowerCut : evidence.final.A
  return latenciesMs(insertsWithin(evidence, part, writer), arrivals)
}

function sameContent(a: Evidence['final']['A']['content'], b: Evidence['final']['A']['content']): boolean {
  const canonical = ({ clocks, deleted }: typeof a) =>
    JSON.stringify([[...clocks].sort(([x], [y]) => x - y), [...deleted].sort(([x], [y]) => x - y)])
  return canonical(a) === canonical(b)
}

function sum(parts: readonly TypedPart[], field: 'singles' | 'blocks'): number {
  return parts.reduce((total, part) => total + part[field], 0)
}

function check(what: string, ok: boolean, found?: string): Check {
  return found === undefined || found === '' ? { what, ok } : { what, ok, found }
}

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import * as Y from 'yjs'
import { Desk, layOut, textName } from './layout.js'
import { contentOf, Ledger, preciseNow } from './ledger.js'
import { failedChecks } from './report.js'
import type { Evidence } from './story.js'
import { judge } from './verdict.js'

let folder = ''
const path = (...names: readonly string[]) => join(folder, ...names)
const cast = { path }

const plans = {
  A: { steps: 1, outcome: 'Alice was beginning to get very tired of sitting by her sister on the bank.' },
  B: { steps: 1, outcome: 'Curiouser and curiouser! cried Alice, so much surprised that she forgot.' }
}
const markers = { A: 'A was here after C had gone', B: 'B as well, and offline before' }

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'heddle-verdict-'))
  for (const name of ['server1', 'server2', 'server3', 'deviceA', 'deviceB', 'deviceC']) {
    await mkdir(path(name))
    await writeFile(path(name, 'data'), name.startsWith('device') ? plans.A.outcome : 'sealed')
  }
})
afterEach(() => rm(folder, { recursive: true }))

/** What a run leaves in which everything went well, on two live documents. */
function goodRun() {
  const docs = { A: new Y.Doc(), B: new Y.Doc() }
  const ledgers = { A: new Ledger(docs.A), B: new Ledger(docs.B) }
  const exchange = () => {
    Y.applyUpdate(docs.B, Y.encodeStateAsUpdate(docs.A, Y.encodeStateVector(docs.B)))
    Y.applyUpdate(docs.A, Y.encodeStateAsUpdate(docs.B, Y.encodeStateVector(docs.A)))
  }
  layOut(docs.A.getText(textName), 'All in the golden afternoon')
  exchange()
  const desks = { A: new Desk(docs.A, 'A'), B: new Desk(docs.B, 'B') }
  const part = (writer: 'A' | 'B') => {
    const startedMs = preciseNow()
    desks[writer].edit({ at: 0, remove: 0, insert: plans[writer].outcome, pauseMs: 0 })
    return { singles: plans[writer].outcome.length, blocks: 0, startedMs, endedMs: preciseNow() }
  }
  const paced = { A: part('A'), B: part('B') }
  const nothing = { singles: 0, blocks: 0, startedMs: preciseNow(), endedMs: preciseNow() }
  exchange()
  const textBefore = docs.A.getText(textName).toString()
  desks.A.note(markers.A)
  desks.B.note(markers.B)
  exchange()
  const testimony = (writer: 'A' | 'B') => ({
    text: docs[writer].getText(textName).toString(),
    content: contentOf(docs[writer]),
    marks: ledgers[writer].marks(),
    arrivals: ledgers[writer].arrivals(),
    messages: 3,
    sealedBytes: 900,
    problems: [] as string[]
  })
  const evidence = {
    plans,
    paced,
    fast: { A: nothing, B: nothing },
    fastArrivedMs: preciseNow() + 1000,
    others: [],
    markers,
    beforePowerCut: testimony('B'),
    final: { A: testimony('A'), B: testimony('B') },
    epochs: { A: 5, B: 5 },
    rotationMs: 5,
    restartedServer: { storedEnvelopes: 3 },
    offline: { connection: 'offline', reachedA: false },
    removed: {
      textBefore,
      textOfA: textBefore,
      textAfter: textBefore,
      deliversAfter: 0,
      attempts: [1, 2, 3].map((number) => ({
        server: `server ${number}`,
        seen: { subscribes: 1, subscribed: 0, delivers: 0, refusals: 1 },
        text: textBefore
      }))
    }
  } satisfies Evidence
  return { evidence, docs, testimony }
}

const reduced = { reduced: true, trace: false }
const failuresOf = async (evidence: Evidence, options = reduced) =>
  failedChecks(await judge(evidence, cast, options)).map(({ what }) => what)

describe('judge', () => {
  it('finds nothing wrong with a good run', async () => {
    const { evidence } = goodRun()
    const report = await judge(evidence, cast, reduced)
    expect(failedChecks(report)).toEqual([])
    expect(report.measures).toMatchObject({ converged: true, lost: 0, epochs: 5, servers: 3, killed: 1 })
    expect(report.measures.edits).toBe(plans.A.outcome.length + plans.B.outcome.length)
  })

  it('wants 10,000 edits of a whole run', async () => {
    const failures = await failuresOf(goodRun().evidence, { reduced: false, trace: false })
    expect(failures).toEqual(['at least 10,000 single-character edits'])
  })

  it('counts an edit that never arrived as lost', async () => {
    const { evidence, docs, testimony } = goodRun()
    docs.A.getText(textName).insert(3, 'only here')
    const report = await judge({ ...evidence, final: { A: testimony('A'), B: testimony('B') } }, cast, reduced)
    expect(report.measures).toMatchObject({ converged: false, lost: 9 })
  })

  it('counts an edit that was made before the power cut and forgotten', async () => {
    const { evidence } = goodRun()
    const { marks } = evidence.beforePowerCut
    const more = { client: 77, from: 0, to: 4, timeMs: 0 }
    const beforePowerCut = { ...evidence.beforePowerCut, marks: { ...marks, inserts: [...marks.inserts, more] } }
    const report = await judge({ ...evidence, beforePowerCut }, cast, reduced)
    // Missing in both documents.
    expect(report.measures.lost).toBe(8)
    expect(failedChecks(report)).toHaveLength(1)
  })

  it('notices a section that is not what was typed', async () => {
    const { evidence } = goodRun()
    const other = { ...plans, B: { steps: 1, outcome: 'Something else' } }
    expect(await failuresOf({ ...evidence, plans: other })).toContain('both sections are what their writers typed')
  })

  it.each<[string, (evidence: Evidence) => Evidence, RegExp]>([
    ['a server that never came back', (e) => ({ ...e, restartedServer: { storedEnvelopes: 0 } }), /killed server/],
    ['an offline writer who was not', (e) => ({ ...e, offline: { connection: 'online', reachedA: false } }), /offline/],
    ['offline edits that got out', (e) => ({ ...e, offline: { connection: 'offline', reachedA: true } }), /offline/],
    ['different epochs', (e) => ({ ...e, epochs: { A: 6, B: 5 } }), /epoch/],
    ['too few epochs', (e) => ({ ...e, epochs: { A: 4, B: 4 } }), /epoch/],
    ['a marker that is missing', (e) => ({ ...e, markers: { ...markers, B: 'B never wrote this' } }), /markers/],
    [
      'a problem of a device',
      (e) => ({ ...e, final: { ...e.final, A: { ...e.final.A, problems: ['FORK: …'] } } }),
      /problem/
    ],
    [
      'keystrokes that were never seen to arrive',
      (e) => ({ ...e, beforePowerCut: { ...e.beforePowerCut, arrivals: [] } }),
      /paced keystroke/
    ],
    [
      'a reader that could not read',
      (e) => ({ ...e, removed: { ...e.removed, textBefore: '', textAfter: '' } }),
      /C could read/
    ],
    [
      'a reader that still receives',
      (e) => ({ ...e, removed: { ...e.removed, deliversAfter: 1 } }),
      /received no message/
    ],
    [
      'a reader that still reads',
      (e) => ({ ...e, removed: { ...e.removed, textAfter: `x${markers.A}` } }),
      /written after it/
    ],
    [
      'a server that admits the removed',
      (e) => {
        const attempts = e.removed.attempts.map((one) => ({ ...one, seen: { ...one.seen, subscribed: 1 } }))
        return { ...e, removed: { ...e.removed, attempts } }
      },
      /every server refused/
    ]
  ])('notices %s', async (_, spoil, pattern) => {
    const failures = await failuresOf(spoil(goodRun().evidence))
    expect(failures.join('\n')).toMatch(pattern)
  })

  it('notices plaintext on a server, a search that finds nothing anywhere, and a leak to the removed', async () => {
    const { evidence } = goodRun()
    await writeFile(path('server2', 'data'), plans.B.outcome)
    expect(await failuresOf(evidence)).toEqual([expect.stringMatching(/stands in the servers' files/)])
    await writeFile(path('server2', 'data'), 'sealed')
    await writeFile(path('deviceB', 'data'), 'nothing')
    expect(await failuresOf(evidence)).toEqual([expect.stringMatching(/same search finds passages/)])
    await writeFile(path('deviceB', 'data'), plans.B.outcome)
    await writeFile(path('deviceC', 'data'), markers.B)
    expect(await failuresOf(evidence)).toEqual([expect.stringMatching(/not in C's files/)])
  })
})

/**
 * Runs the demo: assembles processes and folders, plays the story under a watchdog, judges the outcome, and cleans up
 * whatever happened. Called by `commands/demo.ts`.
 */
import { writeFile } from 'node:fs/promises'
import { HeddleError } from '@heddle/core'
import { Cast } from './cast.js'
import type { Report } from './report.js'
import { type DemoTransport, play } from './story.js'
import { formatTrace, readTrace, type Trace } from './trace.js'
import { judge } from './verdict.js'

export interface DemoOptions {
  readonly seed: number
  /** How servers are reached. */
  readonly transport: DemoTransport
  /** Leave the folders behind. */
  readonly keep: boolean
  readonly trace?: string
  /** Type about so many characters instead of the whole chapters. */
  readonly characters?: number
  readonly signal: AbortSignal
  /** A line of progress. */
  readonly say: (line: string) => void
}

/** A whole run takes half a minute; one that takes longer than this hangs. */
const watchdogMs = 55_000
/** A long recorded history gets more time: so many steps a second are taken in at the least. */
const stepsPerSecondMin = 1500
const stepsInTime = 40_000

/** Throws what failed; what the run found out is in the report, its failed checks too. */
export async function runDemo(options: DemoOptions): Promise<Report> {
  const { seed, characters } = options
  const trace = options.trace === undefined ? undefined : await readTrace(options.trace)
  const stop = new AbortController()
  const signal = AbortSignal.any([options.signal, stop.signal])
  const cast = await Cast.assemble(options.keep, (error) => stop.abort(error))
  const startMs = performance.now()
  const bark = (limitMs: number) => {
    const leftMs = limitMs - (performance.now() - startMs)
    return setTimeout(() => {
      const lines = cast.states().map((state) => `\n  ${state}`)
      stop.abort(
        new HeddleError(
          'INTERNAL',
          `the demo hangs: it did not end within ${(limitMs / 1000).toFixed(0)} s.${lines.join('')}`
        )
      )
    }, leftMs)
  }
  let watchdog = bark(watchdogMs)
  try {
    const history = trace === undefined ? undefined : cast.path('history.json')
    if (trace !== undefined && history !== undefined) await writeFile(history, formatTrace(trace))
    const evidence = await orAborted(
      play(cast, {
        seed,
        transport: options.transport,
        history,
        charactersMax: characters === undefined ? Number.POSITIVE_INFINITY : Math.ceil(characters / 2),
        say: (line) => options.say(`[${((performance.now() - startMs) / 1000).toFixed(1).padStart(4)} s] ${line}`),
        onPlanned: (steps) => {
          clearTimeout(watchdog)
          watchdog = bark(watchdogMs + (Math.max(0, steps - stepsInTime) / stepsPerSecondMin) * 1000)
        }
      }),
      signal
    )
    await cast.endAll()
    const report = await judge(evidence, cast, { reduced: characters !== undefined, trace: trace !== undefined })
    await cast[Symbol.asyncDispose]()
    const facts = [...report.facts, ...traceFacts(trace)]
    if (options.keep) options.say(`the folders are kept in ${cast.folder}`)
    return { ...report, facts }
  } catch (cause) {
    // What failed first is what matters; what then cannot be cleaned up is said beside it.
    await cast[Symbol.asyncDispose]().catch((error: unknown) => options.say(`cleaning up: ${String(error)}`))
    throw cause
  } finally {
    clearTimeout(watchdog)
  }
}

function traceFacts(trace: Trace | undefined): Report['facts'] {
  if (trace === undefined) return []
  const { authors, edits, mergedAsRecorded } = trace
  const recorded = mergedAsRecorded ? 'as its authors recorded it' : 'merged by Yjs, not as its authors’ program did'
  const how = authors === 1 ? 'replayed by A' : `of ${authors} authors, put in one line and replayed by A`
  return [['history', `${edits.length.toLocaleString('en-US')} edits ${how}; its end is ${recorded}`]]
}

/** The story ends at once when the signal aborts: its pending calls fail when their processes are ended. */
async function orAborted<T>(story: Promise<T>, signal: AbortSignal): Promise<T> {
  let onAbort = (): void => undefined
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason)
    if (signal.aborted) onAbort()
    signal.addEventListener('abort', onAbort)
  })
  try {
    return await Promise.race([story, aborted])
  } finally {
    signal.removeEventListener('abort', onAbort)
    // What still fails in it, once its processes are gone, is a consequence and not news.
    story.catch(() => undefined)
  }
}

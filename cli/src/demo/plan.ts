/**
 * Everything one writer of the demo is going to type, decided beforehand from text and seed, and the pace at which it
 * is typed. Used by the device processes, which make the edits, and by tests.
 */
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { type Edit, isSingle } from './edit.js'
import type { SharedEdit } from './typist.js'

export type Step =
  | { readonly kind: 'own'; readonly edit: Edit }
  | { readonly kind: 'shared'; readonly edit: SharedEdit }

/** Spreads the edits of the shared passage evenly among the writer's own, a word at a time. */
export function interleave(own: readonly Edit[], shared: readonly SharedEdit[]): readonly Step[] {
  const steps: Step[] = []
  const chunk = 8
  const every = Math.max(1, Math.floor(own.length / Math.ceil(shared.length / chunk + 1)))
  let nextShared = 0
  for (const [index, edit] of own.entries()) {
    steps.push({ kind: 'own', edit })
    if ((index + 1) % every !== 0) continue
    for (const visit of shared.slice(nextShared, nextShared + chunk)) steps.push({ kind: 'shared', edit: visit })
    nextShared += chunk
  }
  for (const visit of shared.slice(nextShared)) steps.push({ kind: 'shared', edit: visit })
  return steps
}

/** What typing a part of a plan came to. */
export interface Typed {
  /** Single-character edits made, and the others: cuts, pastes, deleted words. */
  readonly singles: number
  readonly blocks: number
}

/** Makes an edit; false when there was nothing to do. */
export type MakeStep = (step: Step) => boolean

/** Types at `perSecond` edits a second on average, with the bursts and pauses of the plan. Throws when aborted. */
export async function typePaced(
  steps: readonly Step[],
  make: MakeStep,
  perSecond: number,
  signal: AbortSignal
): Promise<Typed> {
  const pauses = steps.map((step) => step.edit.pauseMs)
  const plannedMs = pauses.reduce((sum, pause) => sum + pause, 0)
  const wantedMs = (steps.length / perSecond) * 1000
  // A history without pauses is typed evenly.
  const dueStepMs = (index: number) =>
    plannedMs > 0 ? ((pauses[index] ?? 0) * wantedMs) / plannedMs : 1000 / perSecond
  const startMs = performance.now()
  let dueMs = startMs
  const typed = new Counter()
  for (const [index, step] of steps.entries()) {
    dueMs += dueStepMs(index)
    const waitMs = dueMs - performance.now()
    if (waitMs > 0.5) await sleep(waitMs, undefined, { signal })
    signal.throwIfAborted()
    typed.count(step, make(step))
  }
  return typed.result()
}

/**
 * Types as fast as the device takes it in: the process gets a turn after every edit, and after every `stride` edits
 * `settle` says when to go on. Throws when aborted.
 */
export async function typeFast(
  steps: readonly Step[],
  make: MakeStep,
  stride: number,
  settle: () => Promise<void>,
  signal: AbortSignal
): Promise<Typed> {
  const typed = new Counter()
  for (const [index, step] of steps.entries()) {
    typed.count(step, make(step))
    await nextTurn()
    signal.throwIfAborted()
    if ((index + 1) % stride === 0) await settle()
  }
  return typed.result()
}

class Counter {
  #singles = 0
  #blocks = 0

  count(step: Step, made: boolean): void {
    if (!made) return
    if (step.kind === 'shared' || isSingle(step.edit)) this.#singles++
    else this.#blocks++
  }

  result(): Typed {
    return { singles: this.#singles, blocks: this.#blocks }
  }
}

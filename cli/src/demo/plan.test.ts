import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { interleave, type Step, typeFast, typePaced } from './plan.js'
import { tinker, typeText } from './typist.js'

const text = 'Presently she began again. ‘I wonder if I shall fall right through the earth!’ Down, down.'
const never = new AbortController().signal

describe('interleave', () => {
  it('keeps every edit, in order, of both kinds', () => {
    fc.assert(
      fc.property(fc.integer(), fc.nat(60), (seed, count) => {
        const own = typeText(text, seed)
        const shared = tinker(text, seed, count)
        const steps = interleave(own, shared)
        expect(steps.flatMap((step) => (step.kind === 'own' ? [step.edit] : []))).toEqual(own)
        expect(steps.flatMap((step) => (step.kind === 'shared' ? [step.edit] : []))).toEqual(shared)
      })
    )
  })
})

describe('typePaced', () => {
  it('takes the time its rate says, and counts keystrokes apart from cuts and pastes', async () => {
    const steps: readonly Step[] = [
      ...Array.from(
        { length: 38 },
        (): Step => ({ kind: 'own', edit: { at: 0, remove: 0, insert: 'x', pauseMs: 80 } })
      ),
      { kind: 'own', edit: { at: 0, remove: 30, insert: '', pauseMs: 900 } },
      { kind: 'own', edit: { at: 0, remove: 0, insert: 'pasted', pauseMs: 10 } }
    ]
    const startMs = performance.now()
    expect(await typePaced(steps, () => true, 200, never)).toEqual({ singles: 38, blocks: 2 })
    expect(performance.now() - startMs).toBeGreaterThanOrEqual(195)
  })

  it('stops when it is aborted', async () => {
    const steps = interleave(typeText(text, 1), [])
    await expect(typePaced(steps, () => true, 1, AbortSignal.timeout(20))).rejects.toThrow()
  })
})

describe('typeFast', () => {
  it('makes every edit, lets the process breathe after each, and settles in between', async () => {
    const steps = interleave(typeText(text, 1), tinker(text, 2, 9))
    let made = 0
    let settled = 0
    let turns = 0
    const breathing = setInterval(() => turns++, 0)
    const typed = await typeFast(
      steps,
      () => ++made > 0,
      10,
      async () => void settled++,
      never
    )
    clearInterval(breathing)
    expect(made).toBe(steps.length)
    expect(settled).toBe(Math.floor(steps.length / 10))
    expect(typed.singles + typed.blocks).toBe(steps.length)
    expect(turns).toBeGreaterThan(0)
  })

  it('does not count an edit that found nothing to do', async () => {
    const steps = interleave([], tinker(text, 2, 9))
    expect(
      await typeFast(
        steps,
        () => false,
        10,
        async () => undefined,
        never
      )
    ).toEqual({ singles: 0, blocks: 0 })
  })
})

/** Small helpers of the server's tests. */

import { HeddleError } from '../../errors.js'
import type { BodyOf, News, NewsCase } from '../../net/index.js'
import { Receipt, type Signed } from '../../wire/index.js'

/** Whether news are of this kind and, if asked, fit. */
export const isNews =
  <C extends NewsCase>($case: C, fits: (value: BodyOf<C>['value']) => boolean = () => true) =>
  (news: News): news is BodyOf<C> =>
    news.$case === $case && fits(news.value as BodyOf<C>['value'])

/** The error a promise is rejected with. */
export async function problemOf(promise: Promise<unknown>): Promise<HeddleError> {
  const outcome = await promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error })
  )
  if ('error' in outcome && HeddleError.is(outcome.error)) return outcome.error
  throw new Error(
    `expected a HeddleError, got ${JSON.stringify(outcome, (_, v) => (typeof v === 'bigint' ? `${v}` : v))}`
  )
}

export async function codeOf(promise: Promise<unknown>): Promise<string> {
  return (await problemOf(promise)).code
}

/** The one receipt of an answer, decoded. */
export function receiptOf(receipts: readonly Signed[]): Receipt {
  const [signed] = receipts
  if (signed === undefined || receipts.length !== 1) throw new Error(`${receipts.length} receipts`)
  return Receipt.decode(signed.statement)
}

/** A gate that code waits at until it is opened. */
export function gate(): { readonly passed: Promise<void>; readonly open: () => void } {
  let open = () => {}
  const passed = new Promise<void>((resolve) => {
    open = resolve
  })
  return { passed, open }
}

/** Lets everything that waits for no timer and no gate come to rest. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
}

/** Whether the promise has settled by now. */
export async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let isDone = false
  const done = (): void => {
    isDone = true
  }
  promise.then(done, done)
  await settled()
  return isDone
}

/** Calls from Node what a page offers: each page puts an object of functions on `globalThis.remote`. */
import type { Page } from 'playwright-core'

export type Remote = Readonly<Record<string, (...args: never[]) => unknown>>

/** What a page's function gives, or its error with the code and message of the page. */
export async function call<R extends Remote, K extends keyof R & string>(
  page: Page,
  name: K,
  ...args: Parameters<R[K]>
): Promise<Awaited<ReturnType<R[K]>>> {
  await page.waitForFunction(() => 'remote' in globalThis)
  const outcome = await page.evaluate(
    async ([method, parameters]) => {
      const { remote } = globalThis as unknown as { remote: Record<string, (...args: unknown[]) => unknown> }
      try {
        return { result: await remote[method]?.(...parameters) }
      } catch (error) {
        const { name, code, message } = error as Error & { readonly code?: string }
        return { failure: { name, code, message } }
      }
    },
    [name, args as readonly unknown[]] as const
  )
  if (outcome.failure === undefined) return outcome.result as Awaited<ReturnType<R[K]>>
  const { message, ...rest } = outcome.failure
  throw Object.assign(new Error(message), rest)
}

/**
 * A real Chromium with a profile of its own, started as a process so that tests can kill it. Taken from HEDDLE_CHROMIUM or
 * /usr/bin/chromium; where there is none, tests name `missing` as the reason why they are skipped.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { type BrowserContext, chromium, type Page } from 'playwright-core'

const path = process.env.HEDDLE_CHROMIUM ?? '/usr/bin/chromium'

/** Why there is no Chromium, or undefined. */
export const missing: string | undefined = existsSync(path) ? undefined : `there is no ${path}`

/** The title of a test that needs Chromium, with the reason when it is skipped. */
export const titled = (title: string): string => (missing === undefined ? title : `${title} (skipped: ${missing})`)

export interface Chromium extends AsyncDisposable {
  readonly context: BrowserContext
  /** Opens a tab; what goes wrong in it and is not handled fails the test that looks at `errors`. */
  open(url: string): Promise<Page>
  /** Unhandled errors of all tabs. */
  readonly errors: readonly string[]
  /** SIGKILL to the browser and all its processes; resolves when they are gone. */
  kill(): Promise<void>
}

const flags = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--disable-dev-shm-usage',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--remote-debugging-port=0'
]

/** Starts Chromium on a folder with a profile; the folder stays the caller's. Disposing ends it in an orderly way. */
export async function startChromium(profile: string): Promise<Chromium> {
  // A process group of its own: the browser's children are killed with it.
  const child = spawn(path, [...flags, `--user-data-dir=${profile}`, 'about:blank'], {
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe']
  })
  const ended = once(child, 'exit')
  const browser = await chromium.connectOverCDP(await devToolsUrl(child))
  const [context] = browser.contexts()
  if (context === undefined) throw new Error('Chromium has no window')
  const errors: string[] = []
  const kill = async () => {
    if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGKILL')
    await ended
  }
  return {
    context,
    errors,
    kill,
    async open(url) {
      const page = await context.newPage()
      page.on('pageerror', (error) => errors.push(String(error)))
      page.on('console', (message) => {
        if (message.type() === 'error') errors.push(message.text())
      })
      await page.goto(url)
      return page
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return
      const session = await browser.newBrowserCDPSession()
      // The answer may be lost with the browser.
      await Promise.race([session.send('Browser.close').catch(() => undefined), ended])
      await ended
    }
  }
}

/** Chromium prints where it listens once it does. */
async function devToolsUrl(child: ChildProcess): Promise<string> {
  if (child.stderr === null) throw new Error('Chromium was started without a pipe')
  const seen: string[] = []
  for await (const line of createInterface({ input: child.stderr })) {
    const url = /^DevTools listening on (ws:\S+)/.exec(line)?.[1]
    if (url !== undefined) {
      child.stderr.resume()
      return url
    }
    seen.push(line)
  }
  throw new Error(`Chromium ended before it listened:\n${seen.join('\n')}`)
}

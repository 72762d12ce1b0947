/**
 * The wire room where code cannot be made from strings: in Node with that forbidden, and in a real Chromium on a page
 * whose content security policy allows its own scripts and nothing else. Chromium is taken from HEDDLE_CHROMIUM or
 * /usr/bin/chromium; without one the test is skipped and its name says so.
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { isExported, temporaryFolder } from '@heddle/codegen'
import { bundle } from '@heddle/codegen/oracle'
import { beforeAll, expect, test } from 'vitest'
import * as wire from '../../core/src/wire/index.js'
import type { SelfCheck } from './conformance/self-check.js'
import type { AnyMessage } from './support/arbitraries.js'
import { protocolModel, repository } from './support/compile.js'
import { seededRandom } from './support/mutate.js'
import { randomMessage } from './support/random-message.js'

const run = promisify(execFile)
const chromium = process.env.HEDDLE_CHROMIUM ?? '/usr/bin/chromium'
const skipped = existsSync(chromium) ? undefined : `there is no ${chromium}`
const policy = "default-src 'none'; script-src 'self'"
const messagesPerType = 20

let script: string
let expected: string
beforeAll(async () => {
  const check = await newCheck()
  const module = JSON.stringify(fileURLToPath(new URL('conformance/self-check.ts', import.meta.url)))
  script = await bundle(`
    import { selfCheck } from ${module}
    const verdict = selfCheck(${JSON.stringify(check)})
    if (typeof document === 'undefined') console.log(verdict)
    else document.body.textContent = verdict`)
  expected = `ok: ${check.valid.length} valid, ${check.malformed.length} malformed, code from strings: refused`
}, 60_000)

test('the codecs work in Node where code cannot be made from strings', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'check.mjs')
  await writeFile(path, script)
  const { stdout } = await run(process.execPath, ['--disallow-code-generation-from-strings', path])
  expect(stdout.trim()).toBe(expected)
})

test.skipIf(skipped !== undefined)(
  `the codecs work in Chromium under a strict content security policy${skipped === undefined ? '' : ` (skipped: ${skipped})`}`,
  async () => {
    await using folder = await temporaryFolder()
    await using page = await servePage()
    const args = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run']
    const { stdout } = await run(chromium, [...args, `--user-data-dir=${folder.path}`, '--dump-dom', page.url])
    expect(stdout).toContain(`<body>${expected}</body>`)
  },
  120_000
)

/** Valid messages of every type, and all that is known to be taken by lax decoders. */
async function newCheck(): Promise<SelfCheck> {
  const model = await protocolModel()
  const random = seededRandom(20_261_121)
  const codecs = wire as unknown as Readonly<Record<string, wire.Codec<AnyMessage>>>
  const valid = model.messages.filter(isExported).flatMap((message) =>
    Array.from({ length: messagesPerType }, () => {
      const bytes = codecs[message.name]?.encode(randomMessage(model, message, random)) ?? new Uint8Array(0)
      return [message.name, Buffer.from(bytes).toString('hex')] as const
    })
  )
  const path = join(repository, 'conformance/vectors/v1/wire/regressions.json')
  const { vectors } = JSON.parse(await readFile(path, 'utf8')) as {
    readonly vectors: readonly { readonly message: string; readonly hex: string }[]
  }
  return { valid, malformed: vectors.map(({ message, hex }) => [message, hex] as const) }
}

async function servePage(): Promise<AsyncDisposable & { readonly url: string }> {
  const server = createServer((request, response) => {
    response.setHeader('Content-Security-Policy', policy)
    const isScript = request.url === '/check.js'
    response.setHeader('Content-Type', isScript ? 'text/javascript' : 'text/html; charset=utf-8')
    response.end(isScript ? script : '<!doctype html><body><script type="module" src="/check.js"></script></body>')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    }
  }
}

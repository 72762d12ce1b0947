/**
 * `node codegen/dist/cli.js compat [--against <git ref|image>] [--json]`: compares the schema of the work tree with that
 * of a release, the last one when none is named. Called by main.ts.
 */
import { readFile, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { type CompatReport, compare, compatText, isAllowed, raisesVersion } from './compat/index.js'
import {
  bufBreaking,
  buildImage,
  checkOutSchema,
  type Image,
  lastRelease,
  readSchema,
  temporaryFolder
} from './generate/index.js'
import type { Output } from './main.js'

const usage = 'usage: npm run compat -- [--against <git ref|image>] [--json]'

/** Returns the exit code: 0 when the change may be released, 1 when not, 2 for arguments it does not know. */
export async function compatCommand(args: readonly string[], repository: string, output: Output): Promise<number> {
  const rest = [...args]
  let against: string | undefined
  let json = false
  for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
    if (arg === '--json') json = true
    else if (arg === '--against' && rest[0] !== undefined) against = rest.shift()
    else {
      output.error(`codegen: unknown argument ${arg}; ${usage}`)
      return 2
    }
  }
  const report = await compatReport(repository, against)
  output.log(json ? JSON.stringify(report, undefined, 2) : compatText(report))
  return report.ok ? 0 : 1
}

/** Throws when `against` names neither an image nor a commit, or a schema does not compile. */
export async function compatReport(repository: string, against: string | undefined): Promise<CompatReport> {
  const release = against === undefined ? await lastRelease(repository) : { tag: against }
  if ('reason' in release) return { skipped: release.reason, versionRaised: false, ok: true, changes: [], buf: [] }
  await using work = await temporaryFolder()
  const before = await imageOf(repository, release.tag, work.path)
  const after = await buildImage(repository, work.path)
  const buf = await bufBreaking(after.path, before.path, repository)
  const [old, now] = [readSchema(before), readSchema(after)]
  const pairs = [
    [old[0], now[0]],
    [old[1], now[1]]
  ] as const
  const versionRaised = raisesVersion(old[0], now[0])
  const changes = pairs.flatMap(([from, to]) => compare(from, to))
  const ok = isAllowed(changes, versionRaised) && buf.length === 0
  return { against: release.tag, versionRaised, ok, changes, buf }
}

async function imageOf(repository: string, against: string, work: string): Promise<Image> {
  const path = resolve(repository, against)
  const isFile = await stat(path).then(
    (found) => found.isFile(),
    () => false
  )
  if (isFile) return { path, bytes: new Uint8Array(await readFile(path)) }
  const folder = join(work, 'before')
  await checkOutSchema(repository, against, folder)
  return await buildImage(folder, folder)
}

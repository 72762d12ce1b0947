/** Reads the schema of an earlier commit out of the repository, without touching the work tree. */
import { execFile } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** The latest release tag that the commit checked out descends from, or why there is none. */
export async function lastRelease(repository: string): Promise<{ readonly tag: string } | { readonly reason: string }> {
  const shallow = await git(repository, 'rev-parse', '--is-shallow-repository').catch(() => undefined)
  if (shallow === undefined) return { reason: 'this is no git repository' }
  try {
    return { tag: (await git(repository, 'describe', '--tags', '--match', 'v*', '--abbrev=0')).trim() }
  } catch {
    // git says no more than "no names found".
    return {
      reason:
        shallow.trim() === 'true'
          ? 'the checkout is shallow and has no release tag; fetch the whole history to compare'
          : 'there is no release tag (v*) yet'
    }
  }
}

/** Writes the schema of a commit below `folder`, as a buf workspace. Throws when there is no such commit or schema. */
export async function checkOutSchema(repository: string, ref: string, folder: string): Promise<void> {
  const listed = await git(repository, 'ls-tree', '-r', '-z', '--name-only', ref, '--', 'buf.yaml', 'proto').catch(
    (cause: unknown) => {
      throw new Error(`codegen: ${ref} is neither an image nor a commit of ${repository}`, { cause })
    }
  )
  const paths = listed.split('\0').filter((path) => path !== '')
  if (!paths.includes('buf.yaml')) throw new Error(`codegen: there is no buf.yaml at ${ref}`)
  for (const path of paths) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), await git(repository, 'show', `${ref}:${path}`))
  }
}

async function git(repository: string, ...args: readonly string[]): Promise<string> {
  const { stdout } = await run('git', [...args], { cwd: repository, maxBuffer: 16 * 1024 * 1024 })
  return stdout
}

/** Writes what was generated, or says how the files on disk differ from it. */
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'

/** Paths relative to the repository. */
export interface Drift {
  readonly changed: readonly string[]
  readonly missing: readonly string[]
  /** In a folder that is generated as a whole, and not generated. */
  readonly surplus: readonly string[]
}

export async function compareFiles(
  repository: string,
  folders: string | readonly string[],
  files: ReadonlyMap<string, string>
): Promise<Drift> {
  const changed: string[] = []
  const missing: string[] = []
  for (const [path, content] of files) {
    const current = await readIfPresent(join(repository, path))
    if (current === undefined) missing.push(path)
    else if (current !== content) changed.push(path)
  }
  const surplus = await Promise.all([folders].flat().map((folder) => surplusFiles(repository, folder, files)))
  return { changed, missing, surplus: surplus.flat() }
}

/** Writes the files that differ and removes the surplus. Returns the paths it touched. */
export async function writeFiles(
  repository: string,
  folders: string | readonly string[],
  files: ReadonlyMap<string, string>
): Promise<readonly string[]> {
  const drift = await compareFiles(repository, folders, files)
  for (const path of [...drift.changed, ...drift.missing]) {
    await mkdir(dirname(join(repository, path)), { recursive: true })
    await writeFile(join(repository, path), files.get(path) ?? '')
  }
  for (const path of drift.surplus) await rm(join(repository, path))
  return [...drift.changed, ...drift.missing, ...drift.surplus]
}

async function surplusFiles(
  repository: string,
  folder: string,
  files: ReadonlyMap<string, string>
): Promise<readonly string[]> {
  try {
    const entries = await readdir(join(repository, folder), { recursive: true, withFileTypes: true })
    return entries
      .filter((entry) => entry.isFile())
      .map((entry) =>
        join(entry.parentPath, entry.name)
          .slice(repository.length + 1)
          .replaceAll('\\', '/')
      )
      .filter((path) => !files.has(path))
      .sort()
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw cause
  }
}

async function readIfPresent(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw cause
  }
}

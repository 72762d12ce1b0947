/**
 * Looks for pieces of the demo's text in the bytes of a folder: the servers' folders must contain none, the devices' do,
 * which shows that looking works.
 */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'

const passageLength = 12

/** `count` passages of 12 characters, evenly spread over the text, each within one line. */
export function passagesOf(text: string, count: number): readonly string[] {
  const usable: string[] = []
  for (let start = 0; start + passageLength <= text.length; start += passageLength) {
    const passage = text.slice(start, start + passageLength)
    if (!passage.includes('\n') && isWellFormed(passage)) usable.push(passage)
  }
  const every = Math.max(1, Math.floor(usable.length / count))
  return usable.filter((_, index) => index % every === 0).slice(0, count)
}

/** Which of the passages stand somewhere in a file of the folder, as UTF-8. */
export async function findPassages(folder: string, passages: readonly string[]): Promise<readonly string[]> {
  const found = new Set<string>()
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue
    const bytes = await readFile(join(entry.parentPath, entry.name))
    for (const passage of passages) if (bytes.includes(passage, 0, 'utf8')) found.add(passage)
  }
  return passages.filter((passage) => found.has(passage))
}

/** No half of a surrogate pair at either end. */
function isWellFormed(text: string): boolean {
  return !/^[\uDC00-\uDFFF]|[\uD800-\uDBFF]$/.test(text)
}

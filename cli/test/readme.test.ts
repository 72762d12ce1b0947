import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const readme = fileURLToPath(new URL('../../README.md', import.meta.url))

/** The one TypeScript block of the README, as it stands there. */
async function example(): Promise<string> {
  const blocks = [...(await readFile(readme, 'utf8')).matchAll(/```ts\n([\s\S]*?)```/g)].map((match) => match[1] ?? '')
  expect(blocks).toHaveLength(1)
  return blocks[0] ?? ''
}

it('runs the example of the README to its end', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'heddle-readme-'))
  const code = (await example()).replaceAll("'data/", `'${folder}/`).replaceAll('`data/', `\`${folder}/`)
  const file = fileURLToPath(new URL(`./readme-example-${process.pid}.ts`, import.meta.url))
  await writeFile(file, `${code}\nexport const result = page.toString()\n`)
  try {
    const { result } = (await import(file)) as { result: string }
    expect(result).toBe('Chapter I. Down the Rabbit-Hole')
  } finally {
    await rm(file)
    await rm(folder, { recursive: true })
  }
})

it('keeps the example of the README to about thirty lines', async () => {
  const lines = (await example()).split('\n').filter((line) => line.trim() !== '')
  expect(lines.length).toBeLessThanOrEqual(30)
})

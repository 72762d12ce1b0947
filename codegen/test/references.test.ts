/** What proto/ says of SPEC.md: the clauses its comments cite are there, and its storage keys are those of the table. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isExported, type Model, storageRecords } from '@heddle/codegen'
import { beforeAll, describe, expect, test } from 'vitest'
import { protocolModel, repository } from './support/compile.js'

const spec = readFileSync(join(repository, 'SPEC.md'), 'utf8')
const clauses = new Set([...spec.matchAll(/^- \*\*\[([A-Z]+-\d{3})\]\*\*/gm)].map((match) => match[1]))
const sources = readdirSync(join(repository, 'proto'), { recursive: true, withFileTypes: true })
  .filter((entry) => entry.name.endsWith('.proto'))
  .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'utf8'))

const rooms = new Set([...clauses].map((clause) => clause?.split('-')[0]))

/** The clauses that a text cites; SHA-256 is none. */
const cited = (text: string): readonly string[] =>
  [...text.matchAll(/\b([A-Z]+)-\d{3}\b/g)].flatMap(([clause, room]) => (rooms.has(room) ? [clause] : []))

describe('proto/ and SPEC.md', () => {
  let model: Model
  beforeAll(async () => {
    model = await protocolModel()
  }, 60_000)

  test('clauses that comments cite exist', () => {
    const all = sources.flatMap((source) =>
      source
        .split('\n')
        .filter((line) => /^\s*\/\/.*SPEC /.test(line))
        .flatMap(cited)
    )
    expect(all.length).toBeGreaterThan(60)
    expect(all.filter((clause) => !clauses.has(clause))).toEqual([])
  })

  test('what is signed, sent or stands in the group says under which clause', () => {
    const regulated = model.messages.filter(
      (message) =>
        isExported(message) && (message.frameType ?? message.mlsExtension ?? message.signatureLabel) !== undefined
    )
    expect(regulated.length).toBeGreaterThan(35)
    expect(regulated.filter(({ comment }) => cited(comment).length === 0).map(({ name }) => name)).toEqual([])
  })

  test('the keys of servers are those of the table of keys', () => {
    // | `10` group `08` member | SenderRecord |
    const rows = [...spec.matchAll(/^\| `([0-9a-f]{2})`(?: group `([0-9a-f]{2})`)?\s?([a-z ]*) \| (.*) \|$/gm)]
    const table = rows.map(([, first = '', ofDocument, key = '', value = '']) => ({
      number: Number.parseInt(ofDocument ?? first, 16),
      ofDocument: ofDocument !== undefined,
      key: key.trim(),
      value
    }))
    expect(table.length).toBeGreaterThan(8)
    for (const { message, keeper, place } of storageRecords(model)) {
      if (keeper !== 'server') continue
      const row = table.find(({ number, ofDocument }) => number === place.number && ofDocument === place.ofDocument)
      expect({ ...row, value: row?.value.includes(message.name) }).toEqual({ ...place, value: true })
    }
  })
})

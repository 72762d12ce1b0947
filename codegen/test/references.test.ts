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
  }, 120_000)

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

  test.each([
    ['server', 2],
    ['device', 8]
  ] as const)('a %s stores records under the numbers that the schema gives them', (keeper, least) => {
    const folder = join(repository, 'core/src', keeper)
    const code = readdirSync(folder)
      .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
      .map((name) => readFileSync(join(folder, name), 'utf8'))
      .join('\n')
    // `acceptor: 3,` or `applied: 'a',` in the tables of kinds.
    const kinds = new Map(
      [...code.matchAll(/^ {2}(\w+): (?:(\d+)|'(\w)'),?$/gm)].map(([, name, number, letter]) => {
        return [name, number === undefined ? letter?.charCodeAt(0) : Number(number)] as const
      })
    )
    // `key(parts.acceptor, …), value: AcceptorRecord.encode(` or `key('applied', …), AppliedRecord.encode(`.
    const uses = [...code.matchAll(/key\((?:parts\.|')(\w+)'?[^;]{0,80}?\),(?: value:)?\s+(\w+)\.encode\(/g)]
    const stored = new Map(uses.map(([, kind, record]) => [record, kinds.get(kind)]))
    const said = storageRecords(model).filter((one) => one.keeper === keeper && stored.has(one.message.name))
    expect(said.length).toBeGreaterThan(least)
    for (const { message, place } of said) {
      expect({ name: message.name, number: stored.get(message.name) }).toEqual({
        name: message.name,
        number: place.number
      })
    }
    const registered = new Set(storageRecords(model).map(({ message }) => message.name))
    expect([...stored.keys()].filter((name) => !registered.has(name ?? ''))).toEqual([])
  })
})

/** The emitters on models written by hand: what they write, without descriptors, files or programs. */
import { noLimits } from '@heddle/codegen'
import { describe, expect, test } from 'vitest'
import { emitCodecs } from '../src/emit/codecs.js'
import { emitErrors } from '../src/emit/errors.js'
import { emitJsonSchemas } from '../src/emit/json-schema.js'
import { emitLimits } from '../src/emit/limits.js'
import { emitRegistries } from '../src/emit/registries.js'
import { emitReportTypes } from '../src/emit/report-types.js'
import { emitSpecTables, fillMarkers } from '../src/emit/spec.js'
import { refineTypes } from '../src/emit/types.js'
import { message, model } from './support/plain-model.js'

const at = { file: 'test/v1/plain.proto', line: 1 }
const options = { maxSize: 100, since: 1 }

describe('codecs', () => {
  const source = (...messages: Parameters<typeof model>[0]) =>
    emitCodecs(model(messages), './runtime.js').get('plain') ?? ''

  test('are exported for what is met on its own, and only for that', () => {
    const text = source(message('Outer', [], { topLevel: true, ...options }), message('Inner', []))
    expect(text).toContain('export const Outer: Codec<types.Outer>')
    expect(text).not.toContain('export const Inner')
    expect(text).toContain('export function readInner(')
  })

  test('check the limits of the schema on both ways', () => {
    const limits = { ...noLimits, bytesMin: 3, bytesMax: 70 }
    const text = source(message('Limited', [{ name: 'data', kind: 'bytes', limits }]))
    expect(text).toContain('data = reader.bytes(end, 3, 70, "Limited.data")')
    expect(text).toContain('sink.bytes(message.data, 3, 70, "Limited.data")')
  })

  test('leave a default out unless the field is required', () => {
    const text = source(
      message('Numbers', [{ name: 'free' }, { name: 'bound', limits: { ...noLimits, valueMin: 1n } }])
    )
    expect(text).toContain('if (message.free !== 0) {')
    expect(text).not.toContain('message.bound !== 0')
    expect(text).toContain(`if ((seen & 2) === 0) throw reader.error('required', "Numbers.bound")`)
  })

  test('refuse defaults only where a canonical message can be', () => {
    const inner = message('Inner', [{ name: 'number' }])
    const holder = { name: 'inner', kind: 'message', typeName: 'Inner' } as const
    expect(source(message('Outer', [holder]), inner)).not.toContain('notDefault')
    expect(source(message('Outer', [holder], { canonical: true }), inner)).toContain('notDefault(number === 0')
  })

  test('compare each item of a sorted field with the one before it', () => {
    const limits = { ...noLimits, itemsMax: 9, sortedBy: 'id' }
    const entry = message('Entry', [{ name: 'id', kind: 'bytes', limits: { ...noLimits, bytesMax: 9 } }])
    const holder = message('Holder', [{ name: 'entries', kind: 'message', typeName: 'Entry', repeated: true, limits }])
    const text = source(holder, entry)
    expect(text).toContain('reader.ascending(entries.at(-1)?.id, value.id, "Holder.entries")\nentries.push(value)')
    expect(text).toContain('sink.sorted(message.entries, (item) => item.id, "Holder.entries")')
    const numbers = { name: 'numbers', repeated: true, limits: { ...noLimits, itemsMax: 9, sortedUnique: true } }
    expect(source(message('Plain', [numbers]))).toContain('reader.ascending(numbers.at(-1), value, "Plain.numbers")')
  })

  test('mark what was seen in as many masks as the fields need', () => {
    const fields = Array.from({ length: 33 }, (_, i) => ({ name: `f${i}`, limits: { ...noLimits, valueMin: 1n } }))
    const text = source(message('Wide', fields))
    expect(text).toContain('seen = reader.once(seen, 1073741824, "Wide.f30")')
    expect(text).toContain('seen2 = reader.once(seen2, 1, "Wide.f31")')
    expect(text).toContain(`if ((seen2 & 2) === 0) throw reader.error('required', "Wide.f32")`)
    expect(text).toContain('let seen2 = 0')
    const named = source(message('Wide', [...fields, { name: 'seen2' }]))
    expect(named).toContain('seen2: seen2Field')
  })

  test('spend no bit of the mask on members of a oneof', () => {
    const members = Array.from({ length: 40 }, (_, i) => ({ name: `m${i}`, oneof: 'body' }))
    const oneofs = [{ name: 'body', localName: 'body', comment: 'Body.', at }]
    const text = source(message('Many', [{ name: 'first' }, ...members, { name: 'last' }], { oneofs }))
    expect([...text.matchAll(/once\(seen, (\d+)/g)].map((match) => match[1])).toEqual(['1', '2'])
    expect([...text.matchAll(/unset\(body/g)]).toHaveLength(40)
  })

  test('import what lives in another file', () => {
    const inner = message('Inner', [], { at: { file: 'test/v1/parts.proto', line: 1 } })
    const text = source(message('Outer', [{ name: 'inner', kind: 'message', typeName: 'Inner' }]), inner)
    expect(text).toContain("import { putInner, readInner } from './parts.js'")
    expect(text).toContain("import type * as fromParts from '../types/parts.js'")
  })

  test('name the type that is missing', () => {
    const broken = message('Outer', [{ name: 'x', kind: 'message', typeName: 'Nowhere' }])
    expect(() => source(broken)).toThrow('type Nowhere is not in the package test.v1')
  })
})

describe('types', () => {
  const required = { ...noLimits, required: true }
  const plain = model(
    [
      message('M', [
        { name: 'inner', kind: 'message', typeName: 'Inner', limits: required },
        { name: 'code', kind: 'enum', typeName: 'Code' }
      ])
    ],
    [{ name: 'Code', at, comment: 'Codes.', values: [] }]
  )
  const source =
    'import type { Code } from "./codes.js";\n\nexport interface M {\n  readonly inner:\n    | Inner\n    | undefined;\n  readonly code: Code;\n}\n'

  test('of required messages lose undefined, those of open enums become numbers', () => {
    const refined = refineTypes(plain, 'plain', source)
    expect(refined).toContain('readonly inner:\n    | Inner;')
    expect(refined).toContain('readonly code: number;')
    expect(refined).not.toContain('import')
  })

  test('that look otherwise than expected end the run', () => {
    expect(() => refineTypes(plain, 'plain', source.replace('    | undefined', ''))).toThrow(
      'typed M.inner in an unexpected way'
    )
    expect(() => refineTypes(plain, 'plain', '')).toThrow('wrote no interface M')
  })
})

describe('registries', () => {
  test('of frames are keyed by their case and carry direction and size', () => {
    const question = message('Question', [], { frameType: 10, direction: 'device_to_server', ...options })
    const member = { name: 'ask_it', kind: 'message', typeName: 'Question', oneof: 'body', number: 10 } as const
    const frame = message('Frame', [member], {
      oneofs: [{ name: 'body', localName: 'body', comment: 'B.', at }],
      ...options
    })
    expect(emitRegistries(model([question, frame]), './runtime.js')).toContain(
      'askIt: { type: 10, name: "Question", direction: "device_to_server", maxSize: 100, since: 1 },'
    )
  })

  test('of MLS data are keyed by name without its ending', () => {
    const mlsExtension = { type: 0xf796, contexts: ['leaf_node'], required: true } as const
    const text = emitRegistries(
      model([message('DeviceExtension', [], { mlsExtension, canonical: true, ...options })]),
      './r.js'
    )
    expect(text).toContain('device: { type: 0xF796, name: "DeviceExtension", contexts: ["leaf_node"], required: true,')
    expect(text).toContain("import { DeviceExtension } from './codecs/plain.js'")
  })

  test('of records are keyed by name and say where they are stored', () => {
    const storageRecord = { server: { number: 10, ofDocument: true, key: 'member' }, device: undefined }
    const record = message('SomeRecord', [], { storageRecord, ...options })
    expect(emitRegistries(model([record]), './r.js')).toContain(
      'SomeRecord: { server: { number: 0x0a, ofDocument: true, key: "member" } },'
    )
    expect(emitSpecTables(model([record])).get('storage-records')).toContain(
      '| server | document `0a` member | `SomeRecord` | SomeRecord in words. |'
    )
  })

  test('of errors are keyed by name without its prefix, in order of number', () => {
    const value = (name: string, number: number) =>
      ({
        name,
        number,
        at,
        comment: 'X.',
        error: { retry: 'never', fatal: true, summary: `${name} "quoted".` }
      }) as const
    const values = [value('ERROR_CODE_LATE', 9), value('ERROR_CODE_EARLY', 1)]
    const text = emitErrors(model([], [{ name: 'ErrorCode', at, comment: 'Errors.', values }]))
    expect(text).toContain(
      'EARLY: { code: 1, retry: "never", fatal: true, summary: "ERROR_CODE_EARLY \\"quoted\\"." },'
    )
    expect(text.indexOf('EARLY:')).toBeLessThan(text.indexOf('LATE:'))
  })
})

test('limits keep the type of the field and leave out what is not limited', () => {
  const fields = [
    { name: 'big', kind: 'uint64', limits: { ...noLimits, valueMax: 2n ** 60n } },
    { name: 'small_one', limits: { ...noLimits, valueMin: 1n } },
    { name: 'free' }
  ] as const
  expect(emitLimits(model([message('M', fields, { maxSize: 9 }), message('Free', [{}])]))).toContain(
    'M: { maxSize: 9, big: { valueMax: 1152921504606846976n }, smallOne: { valueMin: 1 } },\n}'
  )
})

describe('SPEC tables', () => {
  const limits = { ...noLimits, bytesMin: 32, bytesMax: 32 }
  const hello = message(
    'Hello',
    [{ name: 'id', kind: 'bytes', typeName: 'bytes', comment: 'An | id.', limits }],
    options
  )
  const tables = emitSpecTables(model([hello]))

  test('say the limits of each field in words', () => {
    expect(tables.get('messages')).toBe(
      '#### Hello\n\nHello in words. At most 100 bytes.\n\n| # | Field | Type | Limits | Meaning |\n|---|---|---|---|---|\n' +
        '| 1 | `id` | `bytes` | required; 32 bytes | An \\| id. |\n'
    )
  })

  test('replace what stands between their markers and nothing else', () => {
    const spec = 'Before.\n<!-- generated:begin messages -->\nold\n<!-- generated:end messages -->\nAfter.\n'
    const filled = fillMarkers(spec, tables)
    expect(filled).toContain('Before.\n<!-- generated:begin messages -->\n\n#### Hello')
    expect(filled).toContain('<!-- generated:end messages -->\nAfter.\n')
    expect(filled).not.toContain('old')
    expect(fillMarkers(filled, tables)).toBe(filled)
    expect(fillMarkers('No markers.', tables)).toBe('No markers.')
  })

  test('refuse markers of an unknown name or without an end', () => {
    expect(() => fillMarkers('<!-- generated:begin nothing -->', tables)).toThrow('asks for the table nothing')
    expect(() => fillMarkers('<!-- generated:begin errors -->', tables)).toThrow('no <!-- generated:end errors -->')
  })
})

describe('reports', () => {
  const value = (name: string, number: number) => ({ name, number, at, comment: `${name}.`, error: undefined }) as const
  const states = ['STATE_UNSPECIFIED', 'STATE_ON', 'STATE_SLOWLY_OFF'].map((name, number) => value(name, number))
  const part = message('Part', [{ name: 'ratio', kind: 'double', typeName: 'double' }])
  const fields = [
    { name: 'id', kind: 'string', json: { pattern: '^[0-9a-f]+$', nullable: false } },
    { name: 'big_count', kind: 'uint64' },
    { name: 'note', kind: 'string', optional: true },
    { name: 'joined', kind: 'string', optional: true, json: { pattern: undefined, nullable: true } },
    { name: 'state', kind: 'enum', typeName: 'State' },
    { name: 'parts', kind: 'message', typeName: 'Part', repeated: true, limits: { ...noLimits, itemsMin: 1 } }
  ] as const
  const status = message('StatusReport', fields, { output: 'status --json' })
  const reports = {
    ...model([status, part], [{ name: 'State', at, comment: 'States.', values: states }]),
    report: true
  }

  test('have a closed schema each, with what is inside them', () => {
    const schemas = emitJsonSchemas(reports)
    expect([...schemas.keys()]).toEqual(['status-report.schema.json'])
    expect(JSON.parse(schemas.get('status-report.schema.json') ?? '')).toEqual({
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      $id: 'heddle:schemas/status-report.schema.json',
      title: 'StatusReport',
      description: 'StatusReport in words. Output of: status --json.',
      type: 'object',
      properties: {
        id: { description: 'id in words.', type: 'string', pattern: '^[0-9a-f]+$' },
        bigCount: { description: 'big_count in words.', type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
        note: { description: 'note in words.', type: 'string' },
        joined: { description: 'joined in words.', anyOf: [{ type: 'string' }, { type: 'null' }] },
        state: { description: 'state in words.', enum: ['on', 'slowly_off'] },
        parts: { description: 'parts in words.', type: 'array', items: { $ref: '#/$defs/Part' }, minItems: 1 }
      },
      required: ['id', 'bigCount', 'joined', 'state', 'parts'],
      additionalProperties: false,
      $defs: {
        Part: {
          description: 'Part in words.',
          type: 'object',
          properties: { ratio: { description: 'ratio in words.', type: 'number' } },
          required: ['ratio'],
          additionalProperties: false
        }
      }
    })
  })

  test('have types for who prints them', () => {
    const types = emitReportTypes(reports, ['plain'])
    for (const line of [
      '/** StatusReport in words. Printed by: status --json. */',
      'export interface StatusReport {',
      '/** big_count in words. */',
      'readonly bigCount: number | bigint',
      'readonly note?: string | undefined',
      'readonly joined: string | null',
      'readonly state: "on" | "slowly_off"',
      'readonly parts: readonly Part[]',
      'export type Report = StatusReport'
    ]) {
      expect(types.split('\n')).toContain(line)
    }
    expect(emitReportTypes(reports, ['other'])).not.toContain('StatusReport')
  })

  test('of a kind without a form in JSON end the run', () => {
    const wrong = message('Wrong', [{ name: 'data', kind: 'bytes' }], { output: 'x' })
    expect(() => emitJsonSchemas(model([wrong]))).toThrow('data is a bytes, which has no form in JSON')
    expect(() => emitReportTypes(model([wrong]), ['plain'])).toThrow('data is a bytes, which has no form in JSON')
  })
})

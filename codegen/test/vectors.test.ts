/** Boundary vectors of models written by hand, byte for byte, and that no limit of the protocol is without a pair. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Field, isRequired, isSorted, type Message, messageNamed, noLimits } from '@heddle/codegen'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { describe, expect, test } from 'vitest'
import { boundaryVectors, emitBoundaryVectors, unreachableLimit, type Vector } from '../src/vectors/index.js'
import { protocolModel, repository } from './support/compile.js'
import { message, model } from './support/plain-model.js'

const at = { file: 'test/v1/plain.proto', line: 1 }
const exported = { topLevel: true, maxSize: 2000, since: 1 }
const plain = (fields: readonly Partial<Field>[], options: Partial<Message> = {}) =>
  message('M', fields, { ...exported, ...options })

/** "name: bytes" of what is taken, "name: bytes, error at place" of what is not; forms of the whole message apart. */
function linesOf(vectors: readonly Vector[], field: string): readonly string[] {
  return vectors
    .filter(({ name }) => name.startsWith(`M ${field}: `))
    .map(({ name, bytes, verdict, error, place }) => {
      const what = name.slice(`M ${field}: `.length)
      return `${what}: ${bytes}${verdict === 'valid' ? '' : `, ${error} at ${place}`}`
    })
}

function fieldVectors(field: Partial<Field>, options: Partial<Message> = {}): readonly string[] {
  const one = plain([{ name: 'f', ...field }], options)
  return linesOf(boundaryVectors(model([one]), one), 'f')
}

describe('vectors stand just inside and just over', () => {
  test('the length of bytes and strings', () => {
    const limits = { ...noLimits, bytesMin: 2, bytesMax: 5 }
    expect(fieldVectors({ kind: 'bytes', limits })).toEqual([
      '2 bytes: 0a 02 0000',
      '5 bytes: 0a 05 00*5',
      '6 bytes: 0a 06 00*6, too_long at M.f',
      '1 bytes: 0a 01 00, too_short at M.f',
      'absent: , required at M.f',
      'a longer varint: 0a 8200 0000'
    ])
    expect(fieldVectors({ kind: 'string', limits: { ...noLimits, bytesMax: 200 } })).toEqual([
      '200 bytes: 0a c801 61*200',
      '201 bytes: 0a c901 61*201, too_long at M.f',
      'a longer varint: 0a 8100 61',
      'a default that is written: 0a 00'
    ])
  })

  test('values', () => {
    const limits = { ...noLimits, valueMin: 1n, valueMax: 300n }
    expect(fieldVectors({ limits })).toEqual([
      '300: 08 ac02',
      '301: 08 ad02, range at M.f',
      '1: 08 01',
      '0: 08 00, range at M.f',
      'absent: , required at M.f',
      'a longer varint: 08 8100'
    ])
    expect(fieldVectors({ kind: 'fixed32', limits: { ...noLimits, valueMax: 258n } })).toContain(
      '259: 0d 03010000, range at M.f'
    )
  })

  test('the number of items, packed or not', () => {
    const limits = { ...noLimits, itemsMin: 1, itemsMax: 3 }
    expect(fieldVectors({ repeated: true, limits })).toEqual([
      '1 items: 0a 01 00',
      '3 items: 0a 03 (00)*3',
      '4 items: 0a 04 (00)*4, too_many at M.f',
      '0 items: , too_few at M.f'
    ])
    expect(fieldVectors({ kind: 'bytes', repeated: true, limits: { ...limits, bytesMin: 1, bytesMax: 1 } })).toContain(
      '4 items: (0a 01 00)*4, too_many at M.f'
    )
  })

  test('ascending order', () => {
    const limits = { ...noLimits, itemsMax: 3, sortedUnique: true }
    expect(fieldVectors({ repeated: true, limits }).slice(2)).toEqual([
      'ascending: 0a 02 00 01',
      'one twice: 0a 02 00 00, unsorted at M.f',
      'descending: 0a 02 01 00, unsorted at M.f',
      'a default that is written: 0a 00'
    ])
  })

  test('ascending order by a field of the items', () => {
    const item = message('Item', [{ name: 'id', kind: 'bytes', limits: { ...noLimits, bytesMin: 3, bytesMax: 3 } }])
    const limits = { ...noLimits, itemsMax: 300, sortedBy: 'id' }
    const list = plain([{ name: 'f', kind: 'message', typeName: 'Item', repeated: true, limits }], { maxSize: 4000 })
    const lines = linesOf(boundaryVectors(model([list, item]), list), 'f')
    expect(lines.at(-1)).toBe('descending: 0a 05 0a 03 00 0001 0a 05 0a 03 00 0000, unsorted at M.f')
    // The 300th item.
    expect(lines[0]).toMatch(/ 0a 05 0a 03 00 012b$/)
  })

  test('the values of an enum', () => {
    const values = [0, 1, 7].map((number) => ({ name: `V${number}`, number, at, comment: '', error: undefined }))
    const enums = [{ name: 'E', at, comment: '', values }]
    const of = (limits: Field['limits']) => {
      const one = plain([{ name: 'f', kind: 'enum', typeName: 'E', limits }])
      return linesOf(boundaryVectors(model([one], enums), one), 'f')
    }
    expect(of({ ...noLimits, definedOnly: true, required: true }).slice(0, 4)).toEqual([
      '7: 08 07',
      '8: 08 08, enum at M.f',
      '0: 08 00, required at M.f',
      'absent: , required at M.f'
    ])
    expect(of(noLimits).slice(0, 2)).toEqual(['8: 08 08', '2147483648: 08 8080808008, range at M.f'])
  })

  test('the size of the message, with an unknown field where the known ones do not reach', () => {
    const one = plain([{ name: 'f' }], { maxSize: 400 })
    const sizes = boundaryVectors(model([one]), one).filter(({ name }) => name.endsWith(' bytes'))
    expect(sizes.map(({ name, bytes, error }) => `${name}: ${bytes} ${error}`)).toEqual([
      'M 400 bytes: a206 8c03 (00)*396 undefined',
      'M 401 bytes: a206 8d03 (00)*397 too_large'
    ])
  })

  test('the size of a message that is full in its least form', () => {
    const limits = { ...noLimits, bytesMin: 10, bytesMax: 10 }
    const one = plain([{ name: 'f', kind: 'bytes', limits }], { maxSize: 12 })
    const sizes = boundaryVectors(model([one]), one).filter(({ name }) => /^M \d+ bytes$/.test(name))
    expect(sizes.map(({ name, bytes, error }) => `${name}: ${bytes} ${error}`)).toEqual([
      'M 12 bytes: 0a 0a 00*10 undefined',
      'M 15 bytes: 0a 0a 00*10 a206 00 too_large'
    ])
    const small = plain([{ name: 'f', kind: 'bytes', limits }], { maxSize: 11 })
    expect(unreachableLimit(model([small]), small)).toContain(
      'M with least fits in no message that has a codec, 12 bytes'
    )
  })

  test('the size of a canonical message that only full items and numbers come up to', () => {
    const limits = { ...noLimits, bytesMax: 9 }
    const item = message('Item', [
      { name: 'n', kind: 'uint64' },
      { name: 'text', kind: 'string', limits }
    ])
    const list = {
      name: 'f',
      kind: 'message',
      typeName: 'Item',
      repeated: true,
      limits: { ...noLimits, itemsMax: 3 }
    } as const
    const sizesOf = (maxSize: number) => {
      const one = plain([list, { name: 'g', limits: { ...noLimits, valueMax: 300n } }], { canonical: true, maxSize })
      const vectors = boundaryVectors(model([one, item]), one)
      return vectors
        .filter(({ name }) => /^M \d+ bytes$/.test(name))
        .map(({ name, bytes, error }) => [name, bytes, error])
    }
    const items = '(0a 16 08 ffffffffffffffffff01 12 09 61*9)*3'
    expect(sizesOf(74)).toEqual([
      ['M 74 bytes', `${items} 10 7f`, undefined],
      ['M 75 bytes', `${items} 10 ac02`, 'too_large']
    ])
  })

  test('the one form of a canonical message', () => {
    const one = plain([{ name: 'f' }, { name: 'g' }], { canonical: true })
    const forms = boundaryVectors(model([one]), one).filter(({ clause }) => clause === 'WIRE-003')
    expect(forms.map(({ name, bytes, error }) => `${name}: ${bytes}: ${error}`)).toEqual([
      'M fields out of order: 10 01 08 01: order',
      'M f: a longer varint: 08 8100 10 01: not_minimal',
      'M f: a default that is written: 08 00: default_value',
      'M an unknown field: a006 01: unknown_field'
    ])
    const free = plain([{ name: 'f' }, { name: 'g' }])
    const taken = boundaryVectors(model([free]), free).filter(({ canonical }) => canonical === false)
    expect(taken.map(({ name }) => name)).toEqual([
      'M 2000 bytes',
      'M fields out of order',
      'M f: a longer varint',
      'M f: a default that is written',
      'M 32 unknown fields'
    ])
  })
})

describe('vectors', () => {
  const limited = { name: 'f', kind: 'bytes', limits: { ...noLimits, bytesMax: 50 } } as const

  test('of an inner message stand in one that has a codec', () => {
    const inner = message('M', [limited])
    const outer = message('Outer', [{ name: 'm', kind: 'message', typeName: 'M' }], exported)
    const [, longest] = boundaryVectors(model([inner, outer]), inner)
    expect(longest).toMatchObject({ message: 'Outer', bytes: '0a 34 0a 32 00*50' })
  })

  test('stand where there is room, or a limit that nobody can reach ends the run', () => {
    const inner = message('M', [limited])
    const holder = (name: string, maxSize: number) =>
      message(name, [{ name: 'm', kind: 'message', typeName: 'M' }], { ...exported, maxSize })
    const [small, large] = [holder('Small', 20), holder('Large', 90)]
    const [, longest] = boundaryVectors(model([small, inner, large]), inner)
    expect(longest).toMatchObject({ message: 'Large', verdict: 'valid' })
    expect(() => boundaryVectors(model([small, inner]), inner)).toThrow(
      'M with f: 50 bytes fits in no message that has a codec, 52 bytes; lower that limit or raise max_size'
    )
  })

  test('of a size that is exceeded first name the message that is too large', () => {
    const one = plain([limited], { maxSize: 52 })
    const over = boundaryVectors(model([one]), one).find(({ name }) => name === 'M f: 51 bytes')
    expect(over).toMatchObject({ error: 'too_large', place: 'M', clause: 'WIRE-002' })
  })

  test('are the same every time, in a file for each .proto file', () => {
    const files = emitBoundaryVectors(model([plain([limited])]))
    expect([...files.keys()]).toEqual(['plain.json'])
    expect(emitBoundaryVectors(model([plain([limited])]))).toEqual(files)
  })
})

test('every limit of the protocol has a vector of both verdicts', async () => {
  const protocol = await protocolModel()
  const missing: string[] = []
  for (const one of protocol.messages) {
    const vectors = boundaryVectors(protocol, one)
    for (const field of one.fields) {
      const names = vectors.map(({ name }) => name)
      const expected = (suffix: string) => {
        if (!names.includes(`${one.name} ${field.name}: ${suffix}`))
          missing.push(`${one.name}.${field.name}: ${suffix}`)
      }
      const { bytesMin, bytesMax, itemsMin, itemsMax, valueMin, valueMax } = field.limits
      for (const [limit, over, unit] of [
        [bytesMax, 1, ' bytes'],
        [bytesMin || undefined, -1, ' bytes'],
        [itemsMax, 1, ' items'],
        [itemsMin || undefined, -1, ' items'],
        [valueMax, 1, ''],
        [valueMin || undefined, -1, '']
      ] as const) {
        if (limit === undefined) continue
        expected(`${limit}${unit}`)
        expected(`${BigInt(limit) + BigInt(over)}${unit}`)
      }
      if (isSorted(field)) for (const order of ['ascending', 'one twice', 'descending']) expected(order)
      if (isRequired(field)) expected('absent')
      if (field.kind === 'message') expect(messageNamed(protocol, field.typeName)).toBeDefined()
    }
    if (one.maxSize === undefined) continue
    // Of these canonical messages the fields come up to max_size, of the others they do not.
    const isReached = !one.canonical || ['Invite', 'Payload', 'StatePayload'].includes(one.name)
    for (const size of [...(isReached ? [one.maxSize] : []), one.maxSize + 1]) {
      if (!vectors.some(({ name }) => name === `${one.name} ${size} bytes`)) missing.push(`${one.name}: ${size} bytes`)
    }
  }
  expect(missing).toEqual([])
})

test('the committed vectors are as their schema says, and small', async () => {
  const schema = JSON.parse(
    await readFile(join(repository, 'conformance/schemas/boundary-vectors.schema.json'), 'utf8')
  )
  const validate = new Ajv2020({ strict: true }).compile(schema as object)
  const folder = join(repository, 'conformance/vectors/v1/wire/boundaries')
  const names = await readdir(folder)
  expect(names).toContain('frame.json')
  let size = 0
  for (const name of names) {
    const text = await readFile(join(folder, name), 'utf8')
    size += text.length
    const content = JSON.parse(text) as { readonly vectors: readonly Vector[] }
    validate(content)
    expect(validate.errors).toBeNull()
    const [first, ...others] = content.vectors
    for (const wrong of [{ verdict: 'maybe' }, { bytes: '0g' }, { surprise: 1 }, { reason: undefined }]) {
      const broken = { ...content, vectors: [JSON.parse(JSON.stringify({ ...first, ...wrong })), ...others] }
      expect({ wrong, valid: validate(broken) }).toEqual({ wrong, valid: false })
    }
  }
  expect(size).toBeLessThan(2_000_000)
})

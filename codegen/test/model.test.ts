/** Reading an image: places, comments, names, limits and options as the schema says them. */
import {
  canonicalReach,
  isExported,
  isRequired,
  messageNamed,
  type Model,
  readModel,
  temporaryFolder
} from '@heddle/codegen'
import { beforeAll, describe, expect, test } from 'vitest'
import { compileFixtures } from './support/compile.js'

describe('the model of the fixtures', () => {
  let model: Model
  beforeAll(async () => {
    await using folder = await temporaryFolder()
    model = readModel((await compileFixtures(folder.path)).bytes, 'fixture.v1')
  }, 120_000)
  const fieldOf = (message: string, name: string) => {
    const field = messageNamed(model, message)?.fields.find((candidate) => candidate.name === name)
    if (field === undefined) throw new Error(`no field ${message}.${name}`)
    return field
  }

  test('has no message of another package', () => {
    expect(messageNamed(model, 'Limits')).toBeUndefined()
    expect(messageNamed(model, 'Choice_Inner')?.canonical).toBe(true)
  })

  test('knows where things are declared and what is said of them', () => {
    expect(messageNamed(model, 'Pair')?.comment).toBe('A pair, to be met inside canonical and other messages.')
    expect(fieldOf('Pair', 'first').at).toEqual({ file: 'fixture/v1/parts.proto', line: 20 })
    expect(messageNamed(model, 'Choice')?.oneofs.map(({ comment }) => comment)).toEqual([
      'What must be chosen.',
      'What may be chosen.'
    ])
  })

  test('has the limits of fields', () => {
    expect(fieldOf('Plain', 'bounded').limits).toMatchObject({ valueMin: 10n, valueMax: 300n, bytesMax: undefined })
    expect(fieldOf('Present', 'data').limits).toMatchObject({ bytesMin: 4, bytesMax: 4 })
    expect(fieldOf('Lists', 'blobs').limits).toMatchObject({ bytesMin: 1, bytesMax: 200, itemsMin: 1, itemsMax: 5 })
    expect(fieldOf('Lists', 'numbers').packed).toBe(true)
  })

  test('tells absence from zero', () => {
    expect(fieldOf('Present', 'number').optional).toBe(true)
    expect(fieldOf('Plain', 'u32').optional).toBe(false)
    expect(isRequired(fieldOf('Plain', 'bounded'))).toBe(true)
    expect(isRequired(fieldOf('Present', 'data'))).toBe(false)
    expect(isRequired(fieldOf('Present', 'pair'))).toBe(true)
    expect(isRequired(fieldOf('Choice', 'bounded'))).toBe(false)
  })

  test('has the options of messages', () => {
    expect(messageNamed(model, 'Question')).toMatchObject({
      frameType: 10,
      direction: 'device_to_server',
      maxSize: 256,
      since: 1
    })
    expect(messageNamed(model, 'RulesExtension')?.mlsExtension).toEqual({
      type: 0xf796,
      contexts: ['group_context'],
      required: true
    })
    expect(messageNamed(model, 'RulesSetProposal')?.mlsProposal).toEqual({ type: 0xf7a0 })
    expect(messageNamed(model, 'SortedRecord')?.storageRecord).toEqual({
      server: { number: 7, ofDocument: false, key: '' },
      device: { number: 0x61, ofDocument: true, key: 'colour' }
    })
    expect(fieldOf('SortedRecord', 'numbers').limits).toMatchObject({ sortedUnique: true, sortedBy: undefined })
    expect(fieldOf('SortedRecord', 'pairs').limits).toMatchObject({ sortedUnique: false, sortedBy: 'second' })
    expect(messageNamed(model, 'Answer')?.signatureLabel).toBe('fixture/1 answer')
    expect(model.enums.find(({ name }) => name === 'ErrorCode')?.values[1]?.error).toEqual({
      retry: 'after_delay',
      fatal: true,
      summary: 'It is broken; wait.'
    })
  })

  test('knows what may be met inside a canonical message', () => {
    expect([...canonicalReach(model)].sort()).toEqual([
      'Answer',
      'Choice_Inner',
      'Lists',
      'Pair',
      'Present',
      'RulesExtension',
      'RulesSetProposal'
    ])
    expect(model.messages.filter(isExported).map(({ name }) => name)).not.toContain('Pair')
  })
})

test('an image without our options is refused', () => {
  expect(() => readModel(new Uint8Array(0), 'fixture.v1')).not.toThrow()
  // One file, "x.proto" of package "x", with a message "M".
  const image = Uint8Array.of(0x0a, 0x11, 0x0a, 7, ...Buffer.from('x.proto'), 0x12, 1, 0x78, 0x22, 3, 0x0a, 1, 0x4d)
  expect(() => readModel(image, 'x')).toThrow('the image has no option heddle.options.v1.')
})

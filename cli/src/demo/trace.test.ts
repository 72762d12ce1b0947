import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { HeddleError } from '@heddle/core'
import { describe, expect, it } from 'vitest'
import { applyEdits } from './edit.js'
import { formatTrace, parseTrace, readTrace } from './trace.js'

const bytes = (value: unknown) => new TextEncoder().encode(JSON.stringify(value))

describe('parseTrace', () => {
  it('reads a sequential history, gzipped or not', () => {
    const history = {
      startContent: 'ab',
      endContent: 'xb!',
      txns: [{ patches: [[0, 1, 'x']] }, { patches: [[2, 0, '!']] }]
    }
    for (const file of [bytes(history), gzipSync(bytes(history))]) {
      const trace = parseTrace(file, 'h')
      expect(applyEdits(trace.startContent, trace.edits)).toBe('xb!')
      expect(trace).toMatchObject({ endContent: 'xb!', authors: 1, mergedAsRecorded: true })
    }
  })

  it('puts a concurrent history in one line whose edits give the merged content', () => {
    const history = {
      kind: 'concurrent',
      endContent: '>hello world<',
      txns: [
        { parents: [], agent: 0, patches: [[0, 0, 'hello world']] },
        { parents: [0], agent: 0, patches: [[11, 0, '<']] },
        // Made without having seen the transaction before: its positions are those of "hello world".
        { parents: [0], agent: 1, patches: [[0, 0, '>>']] },
        { parents: [1, 2], agent: 1, patches: [[1, 1, '']] }
      ]
    }
    const trace = parseTrace(bytes(history), 'h')
    expect(trace).toMatchObject({ endContent: '>hello world<', authors: 2, mergedAsRecorded: true })
    expect(applyEdits('', trace.edits)).toBe('>hello world<')
  })

  it('is the same after it was written down in one line', () => {
    const history = {
      startContent: 'ab',
      endContent: 'xb!',
      txns: [
        {
          patches: [
            [0, 1, 'x'],
            [2, 0, '!']
          ]
        }
      ]
    }
    const trace = parseTrace(bytes(history), 'h')
    expect(parseTrace(new TextEncoder().encode(formatTrace(trace)), 'h')).toEqual(trace)
  })

  it('says when merging gives another content than was recorded', () => {
    const history = { endContent: 'other', txns: [{ parents: [], agent: 0, patches: [[0, 0, 'text']] }] }
    expect(parseTrace(bytes(history), 'h')).toMatchObject({ endContent: 'text', mergedAsRecorded: false })
  })

  it('refuses an author who works in two versions at once', () => {
    const history = {
      endContent: '',
      txns: [
        { parents: [], agent: 0, patches: [[0, 0, 'a']] },
        { parents: [0], agent: 0, patches: [[1, 0, 'b']] },
        { parents: [0], agent: 0, patches: [[1, 0, 'c']] }
      ]
    }
    expect(() => parseTrace(bytes(history), 'h')).toThrow(/transaction 2 .* branches/)
  })

  it.each([
    ['no JSON', new TextEncoder().encode('hello')],
    ['a damaged archive', new Uint8Array([0x1f, 0x8b, 8, 0, 1, 2, 3])],
    ['another JSON', bytes([1, 2])],
    ['no end', bytes({ txns: [] })],
    ['a transaction without patches', bytes({ endContent: '', txns: [{}] })],
    ['a patch of another form', bytes({ endContent: '', txns: [{ patches: [[0, 'x']] }] })],
    ['a negative position', bytes({ endContent: '', txns: [{ patches: [[-1, 0, 'x']] }] })],
    ['a parent from the future', bytes({ endContent: '', txns: [{ parents: [0], patches: [] }] })]
  ])('refuses %s in one sentence that names the file', (_, file) => {
    expect(() => parseTrace(file, 'history.json')).toThrow(/history\.json is no editing history/)
  })

  it('names a file that cannot be read', async () => {
    const error: unknown = await readTrace('/nowhere/history.json').catch((cause: unknown) => cause)
    expect(HeddleError.is(error, 'CONFIG_INVALID')).toBe(true)
    expect(String(error)).toContain('/nowhere/history.json')
  })
})

const folder = process.env.HEDDLE_TRACES
describe.runIf(folder !== undefined)('recorded histories (HEDDLE_TRACES)', async () => {
  const files = folder === undefined ? [] : (await readdir(folder)).filter((name) => name.includes('concurrent'))
  it.each(files)('puts %s in one line', { timeout: 120_000 }, async (file) => {
    const trace = await readTrace(join(folder ?? '', file))
    expect(trace.authors).toBeGreaterThan(1)
    expect(applyEdits(trace.startContent, trace.edits)).toBe(trace.endContent)
  })
})

/**
 * The boundary vectors (conformance/vectors/v1/wire/boundaries): for every limit of the schema a message just inside and
 * one just over it, written by code that shares nothing with these codecs. What is valid decodes and is written again;
 * what is not is refused for the reason the vector names.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import * as wire from './index.js'
import type { Codec } from './runtime.js'

interface Vector {
  readonly name: string
  readonly message: string
  readonly bytes: string
  readonly verdict: 'valid' | 'invalid'
  readonly canonical?: boolean
  readonly error?: string
  readonly place?: string
}

interface VectorFile {
  readonly package: string
  readonly file: string
  readonly vectors: readonly Vector[]
}

const folder = new URL('../../../conformance/vectors/v1/wire/boundaries/', import.meta.url)
const files = readdirSync(folder).map((name) => {
  const content = JSON.parse(readFileSync(new URL(name, folder), 'utf8')) as VectorFile
  return [content.file, content] as const
})
const codecs = wire as unknown as Readonly<Record<string, Codec<unknown> | undefined>>

/** What the text of a vector stands for: digits, "hh*n" and "(items)*n". */
function bytesOf(text: string): Uint8Array {
  const parts: Uint8Array[] = []
  const tokens = /\(([^()]*)\)\*(\d+)|([0-9a-f]{2})\*(\d+)|((?:[0-9a-f]{2})+)| /gy
  for (let at = 0; at < text.length; at = tokens.lastIndex) {
    const [, items, itemsCount, byte, count, digits] = tokens.exec(text) ?? fail(text, at)
    if (items !== undefined) parts.push(repeated(bytesOf(items), Number(itemsCount)))
    else if (byte !== undefined) parts.push(new Uint8Array(Number(count)).fill(Number.parseInt(byte, 16)))
    else if (digits !== undefined) parts.push(Uint8Array.from(Buffer.from(digits, 'hex')))
  }
  return Uint8Array.from(Buffer.concat(parts))
}

function fail(text: string, at: number): never {
  throw new Error(`no bytes from ${at} on: ${text.slice(at, at + 40)}`)
}

function repeated(bytes: Uint8Array, count: number): Uint8Array {
  const all = new Uint8Array(bytes.length * count)
  for (let i = 0; i < count; i++) all.set(bytes, i * bytes.length)
  return all
}

/** What the codec makes of a vector, in the words of the vector; it differs from them when something is wrong. */
function outcomeOf({
  message,
  bytes: text,
  canonical
}: Vector): Pick<Vector, 'verdict' | 'error' | 'place' | 'canonical'> {
  const codec = codecs[message]
  if (codec === undefined) throw new Error(`${message} has no codec`)
  const bytes = bytesOf(text)
  let value: unknown
  try {
    value = codec.decode(bytes)
  } catch (error) {
    if (!(error instanceof wire.WireError)) throw error
    return {
      verdict: 'invalid',
      error: error.code,
      place: error.field === '' ? error.type : `${error.type}.${error.field}`
    }
  }
  const again = codec.encode(value)
  const same = Buffer.compare(again, bytes) === 0
  // A form that no writer makes is written in the one that writers make, and means the same.
  if (canonical === false && !same) expect(codec.encode(codec.decode(again))).toEqual(again)
  return { verdict: 'valid', canonical: same }
}

/** The message whose limit a vector is about: the first word of its name. */
const subjectOf = ({ name }: Vector): string => name.slice(0, name.indexOf(' '))

describe.each(files)('boundaries of %s', (_, { vectors }) => {
  const messages = [...new Set(vectors.map(subjectOf))]
  test.each(messages)('%s', (message) => {
    const wrong: string[] = []
    for (const vector of vectors.filter((one) => subjectOf(one) === message)) {
      const expected = JSON.stringify(
        vector.verdict === 'valid'
          ? { verdict: 'valid', canonical: vector.canonical }
          : { verdict: 'invalid', error: vector.error, place: vector.place }
      )
      const found = JSON.stringify(outcomeOf(vector))
      if (found !== expected) wrong.push(`${vector.name}: ${found}, where ${expected} belongs`)
    }
    expect(wrong).toEqual([])
  })
})

test('every codec has vectors of both verdicts', () => {
  const all = files.flatMap(([, { vectors }]) => vectors)
  const withCodec = Object.keys(codecs).filter(
    (name) => typeof codecs[name] === 'object' && 'decode' in (codecs[name] ?? {})
  )
  for (const verdict of ['valid', 'invalid']) {
    const having = new Set(all.filter((vector) => vector.verdict === verdict).map(({ message }) => message))
    expect(withCodec.filter((name) => !having.has(name))).toEqual([])
  }
  expect(new Set(all.map(({ name }) => name)).size).toBe(all.length)
})

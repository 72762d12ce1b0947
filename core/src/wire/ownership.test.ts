/** Who owns which bytes after decoding and encoding (the docstring of Codec). */
import { describe, expect, test } from 'vitest'
import { MailboxPut, Value } from './index.js'
import { reachableBytes } from './testing/memory.js'

const mailboxPut = {
  group: new Uint8Array(16).fill(1),
  mailbox: new Uint8Array(16).fill(2),
  item: new Uint8Array(100).fill(3)
}

describe('decoded byte arrays', () => {
  test('of up to 64 bytes do not pin the frame they came in', () => {
    const signature = new Uint8Array(64).fill(5)
    const frame = Value.encode({ content: new Uint8Array(100_000).fill(4), signature })
    const decoded = Value.decode(frame)
    expect(decoded.signature.buffer.byteLength).toBe(64)
    frame.fill(0)
    expect(decoded.signature).toEqual(signature)
  })

  test('do not pin it with a length that is longer than need be', () => {
    const { group, mailbox, item } = mailboxPut
    const longLength = (tag: number, content: Uint8Array) => [tag, content.length | 0x80, 0, ...content]
    const frame = Uint8Array.from([...longLength(10, group), ...longLength(18, mailbox), ...[26, item.length], ...item])
    const decoded = MailboxPut.decode(frame)
    expect(decoded).toEqual(mailboxPut)
    expect(decoded.group.buffer.byteLength).toBe(16)
    expect(decoded.mailbox.buffer.byteLength).toBe(16)
  })

  test('of more than 64 bytes are views of the frame', () => {
    const frame = MailboxPut.encode(mailboxPut)
    const { item, group } = MailboxPut.decode(frame)
    expect(item.buffer).toBe(frame.buffer)
    frame.fill(0)
    expect(item).toEqual(new Uint8Array(100))
    expect(group).toEqual(mailboxPut.group)
  })

  test('are plain Uint8Arrays, and copied when short, when the frame is a Buffer', () => {
    const frame = Buffer.from(MailboxPut.encode(mailboxPut))
    const decoded = MailboxPut.decode(frame)
    for (const bytes of Object.values(decoded)) expect(bytes.constructor).toBe(Uint8Array)
    expect(decoded.group.buffer).not.toBe(frame.buffer)
    expect(decoded).toEqual(mailboxPut)
  })

  test('are right when the frame is a view into a larger array', () => {
    const frame = MailboxPut.encode(mailboxPut)
    const slab = new Uint8Array(frame.length + 20).fill(0xff)
    slab.set(frame, 7)
    expect(MailboxPut.decode(slab.subarray(7, 7 + frame.length))).toEqual(mailboxPut)
  })
})

describe('the memory that is kept', () => {
  const frames = 200
  const contentBytes = 100_000
  const signature = new Uint8Array(64).fill(5)
  const value = () => Value.decode(Value.encode({ content: new Uint8Array(contentBytes).fill(4), signature }))

  /** How much more is reachable while one part of each of many decoded messages is. */
  function keptBy(part: (decoded: Value) => unknown): number {
    const before = reachableBytes()
    const kept = Array.from({ length: frames }, () => part(value()))
    const bytes = reachableBytes() - before
    expect(kept).toHaveLength(frames)
    return bytes
  }

  test('with a field of 64 bytes is that of the field', () => {
    expect(keptBy((decoded) => decoded.signature)).toBeLessThan(0.05 * frames * contentBytes)
  })

  test('with a long field is that of its frame, once', () => {
    const bytes = keptBy((decoded) => decoded)
    expect(bytes).toBeGreaterThan(0.95 * frames * contentBytes)
    expect(bytes).toBeLessThan(1.1 * frames * contentBytes)
  })
})

test('encoded bytes fill their own buffer exactly', () => {
  const frame = MailboxPut.encode(mailboxPut)
  expect(frame.constructor).toBe(Uint8Array)
  expect(frame.byteOffset).toBe(0)
  expect(frame.buffer.byteLength).toBe(frame.length)
})

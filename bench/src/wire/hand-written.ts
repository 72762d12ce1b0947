/**
 * The limit of what JavaScript can do: decoders and encoders written by hand for exactly the messages of samples.ts,
 * straight down the fields, with the limits the schema sets and nothing that could be shared. The yardstick of the
 * generated codecs; nobody would write, or could review, seventy of these.
 */
import type { Deliver, Envelope, Frame, Head, StatePayload, Vote } from '../../../core/src/wire/index.js'

const varintMax = 0xffff_ffff_ffff_ffffn
const safeMax = 9_007_199_254_740_991n

/** A place in bytes that are read. */
class Cursor {
  pos = 0
  readonly bytes: Uint8Array
  #buffer: ArrayBufferLike | undefined

  constructor(input: Uint8Array) {
    // What is read from a Buffer must not be a Buffer.
    this.bytes =
      input.constructor === Uint8Array ? input : new Uint8Array(input.buffer, input.byteOffset, input.byteLength)
  }

  /** The next bytes are this tag and this length, and the content is there. */
  fixed(tag: number, length: number): Uint8Array {
    const { bytes, pos } = this
    if (bytes[pos] !== tag || bytes[pos + 1] !== length || bytes.length - pos - 2 < length) throw refused(pos)
    this.pos = pos + 2 + length
    return bytes.slice(pos + 2, this.pos)
  }

  tagged(tag: number): void {
    if (this.bytes[this.pos] !== tag) throw refused(this.pos)
    this.pos++
  }

  /** A length within limits, whose content is there. */
  length(end: number, min: number, max: number): number {
    const length = this.uint32(end)
    if (length < min || length > max || length > end - this.pos) throw refused(this.pos)
    return length
  }

  copied(tag: number, end: number, min: number, max: number): Uint8Array {
    this.tagged(tag)
    const length = this.length(end, min, max)
    const start = this.pos
    this.pos = start + length
    return this.bytes.slice(start, this.pos)
  }

  /** A view, from the limit on a copy is worse than keeping the frame. */
  viewed(tag: number, end: number, min: number, max: number): Uint8Array {
    this.tagged(tag)
    const length = this.length(end, min, max)
    const start = this.pos
    this.pos = start + length
    const { bytes } = this
    if (length <= 64) return bytes.slice(start, this.pos)
    this.#buffer ??= bytes.buffer
    return new Uint8Array(this.#buffer, bytes.byteOffset + start, length)
  }

  /** A minimal varint of at most 32 bits. */
  uint32(end: number): number {
    const { bytes } = this
    let pos = this.pos
    let value = 0
    for (let shift = 0; ; shift += 7) {
      if (pos >= end || shift > 28) throw refused(pos)
      const byte = bytes[pos++] as number
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) {
        if ((byte === 0 && shift > 0) || (shift === 28 && byte > 0x0f)) throw refused(pos)
        this.pos = pos
        return value >>> 0
      }
    }
  }

  /** A minimal varint of at most 64 bits. */
  uint64(end: number): bigint {
    const { bytes } = this
    let pos = this.pos
    let low = 0
    for (let shift = 0; shift < 28; shift += 7) {
      if (pos >= end) throw refused(pos)
      const byte = bytes[pos++] as number
      low |= (byte & 0x7f) << shift
      if (byte < 0x80) {
        if (byte === 0 && shift > 0) throw refused(pos)
        this.pos = pos
        return BigInt(low)
      }
    }
    let value = BigInt(low)
    for (let shift = 28n; shift < 70n; shift += 7n) {
      if (pos >= end) throw refused(pos)
      const byte = bytes[pos++] as number
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) {
        if (byte === 0 || value > varintMax) throw refused(pos)
        this.pos = pos
        return value
      }
    }
    throw refused(pos)
  }

  /** A number that is left out when it is zero. */
  optionalUint64(tag: number, end: number, max: bigint): bigint {
    if (this.pos >= end || this.bytes[this.pos] !== tag) return 0n
    this.pos++
    const value = this.uint64(end)
    if (value === 0n || value > max) throw refused(this.pos)
    return value
  }

  ends(end: number): void {
    if (this.pos !== end) throw refused(this.pos)
  }
}

function refused(at: number): Error {
  return new Error(`refused at byte ${at}`)
}

export function decodeVote(bytes: Uint8Array): Vote {
  const end = bytes.length
  if (end > 256) throw refused(0)
  const cursor = new Cursor(bytes)
  const group = cursor.fixed(10, 16)
  const slot = cursor.optionalUint64(16, end, varintMax)
  const ctx = cursor.fixed(26, 32)
  cursor.tagged(34)
  const ballotEnd = cursor.length(end, 1, 0xffff_ffff) + cursor.pos
  cursor.tagged(8)
  const round = cursor.uint64(ballotEnd)
  if (round < 1n || round > safeMax) throw refused(cursor.pos)
  let leaf = 0
  if (cursor.pos < ballotEnd && bytes[cursor.pos] === 16) {
    cursor.pos++
    leaf = cursor.uint32(ballotEnd)
    if (leaf === 0 || leaf > 1_048_575) throw refused(cursor.pos)
  }
  const incarnation = cursor.optionalUint64(24, ballotEnd, safeMax)
  cursor.ends(ballotEnd)
  const valueHash = cursor.fixed(42, 32)
  const server = cursor.fixed(50, 32)
  cursor.tagged(56)
  const statementSeq = cursor.uint64(end)
  if (statementSeq < 1n) throw refused(cursor.pos)
  cursor.ends(end)
  return { group, slot, ctx, ballot: { round, leaf, incarnation }, valueHash, server, statementSeq }
}

export function decodeEnvelope(bytes: Uint8Array): Envelope {
  const end = bytes.length
  if (end > 15_900_000) throw refused(0)
  const cursor = new Cursor(bytes)
  const header = cursor.viewed(10, end, 1, 192)
  const senderData = cursor.copied(18, end, 16, 64)
  const ciphertext = cursor.viewed(26, end, 16, 15_899_000)
  const signature = cursor.fixed(34, 64)
  cursor.ends(end)
  return { header, senderData, ciphertext, signature }
}

/** A frame that carries a Deliver as its encoder writes it. */
export function decodeBatch(bytes: Uint8Array): Frame {
  const end = bytes.length
  if (end > 16_600_000) throw refused(0)
  const cursor = new Cursor(bytes)
  const request = cursor.optionalUint64(8, end, safeMax)
  if (cursor.uint32(end) !== 210) throw refused(cursor.pos)
  const bodyEnd = cursor.length(end, 0, 16_500_000) + cursor.pos
  const value = readDeliver(cursor, bodyEnd)
  cursor.ends(end)
  return { request, body: { $case: 'deliver', value } }
}

function readDeliver(cursor: Cursor, end: number): Deliver {
  const { bytes } = cursor
  const group = cursor.fixed(10, 16)
  const afterPosition = cursor.optionalUint64(16, end, varintMax)
  const throughPosition = cursor.optionalUint64(24, end, varintMax)
  const envelopes: Uint8Array[] = []
  while (cursor.pos < end && bytes[cursor.pos] === 34) {
    if (envelopes.length >= 4096) throw refused(cursor.pos)
    envelopes.push(cursor.viewed(34, end, 1, 15_900_000))
  }
  let caughtUp = false
  if (cursor.pos < end) {
    cursor.tagged(40)
    const value = cursor.uint32(end)
    if (value > 1) throw refused(cursor.pos)
    caughtUp = value === 1
  }
  cursor.ends(end)
  return { group, afterPosition, throughPosition, envelopes, caughtUp }
}

export function decodeSnapshot(bytes: Uint8Array): StatePayload {
  const end = bytes.length
  if (end > 15_800_000) throw refused(0)
  const cursor = new Cursor(bytes)
  const heads: Head[] = []
  while (cursor.pos < end && bytes[cursor.pos] === 10) {
    if (heads.length >= 8192) throw refused(cursor.pos)
    cursor.pos++
    const headEnd = cursor.length(end, 0, 0xffff_ffff) + cursor.pos
    const member = cursor.fixed(10, 16)
    cursor.tagged(16)
    const seq = cursor.uint64(headEnd)
    if (seq < 1n) throw refused(cursor.pos)
    const hash = cursor.fixed(26, 32)
    cursor.ends(headEnd)
    heads.push({ member, seq, hash })
  }
  const hasState = cursor.pos < end && bytes[cursor.pos] === 18
  const state = hasState ? cursor.viewed(18, end, 1, 15_299_000) : new Uint8Array(0)
  const epochAuthenticator = cursor.pos < end ? cursor.fixed(26, 8) : undefined
  cursor.ends(end)
  return { heads, state, epochAuthenticator }
}

/** A place in bytes that are written; the size was added up before. */
class Pen {
  pos = 0
  readonly out: Uint8Array
  constructor(size: number) {
    this.out = new Uint8Array(size)
  }

  tag(tag: number): void {
    this.out[this.pos++] = tag
  }

  uint32(value: number): void {
    let rest = value
    while (rest > 0x7f) {
      this.out[this.pos++] = (rest & 0x7f) | 0x80
      rest >>>= 7
    }
    this.out[this.pos++] = rest
  }

  uint64(value: bigint): void {
    if (value <= 0xffff_ffffn) {
      this.uint32(Number(value))
      return
    }
    let rest = value
    while (rest > 0x7fn) {
      this.out[this.pos++] = Number(rest & 0x7fn) | 0x80
      rest >>= 7n
    }
    this.out[this.pos++] = Number(rest)
  }

  bytes(tag: number, value: Uint8Array): void {
    this.out[this.pos++] = tag
    this.uint32(value.length)
    this.out.set(value, this.pos)
    this.pos += value.length
  }

  finish(): Uint8Array {
    if (this.pos !== this.out.length) throw new Error('the message changed while it was encoded')
    return this.out
  }
}

function size32(value: number): number {
  if (value < 0x80) return 1
  if (value < 0x4000) return 2
  if (value < 0x20_0000) return 3
  return value < 0x1000_0000 ? 4 : 5
}

function size64(value: bigint, min: bigint, max: bigint): number {
  if (value < min || value > max) throw new Error(`${value} is out of range`)
  if (value <= 0xffff_ffffn) return size32(Number(value))
  let size = 4
  for (let rest = value >> 28n; rest > 0n; rest >>= 7n) size++
  return size
}

function sizeBytes(value: Uint8Array, min: number, max: number): number {
  if (value.length < min || value.length > max) throw new Error(`${value.length} bytes are out of range`)
  return 1 + size32(value.length) + value.length
}

export function encodeVote({ group, slot, ctx, ballot, valueHash, server, statementSeq }: Vote): Uint8Array {
  const { round, leaf, incarnation } = ballot
  if (!Number.isInteger(leaf) || leaf < 0 || leaf > 1_048_575) throw new Error(`${leaf} is out of range`)
  let inner = 1 + size64(round, 1n, safeMax)
  if (leaf !== 0) inner += 1 + size32(leaf)
  if (incarnation !== 0n) inner += 1 + size64(incarnation, 0n, safeMax)
  let size = sizeBytes(group, 16, 16) + sizeBytes(ctx, 32, 32) + sizeBytes(valueHash, 32, 32)
  size += sizeBytes(server, 32, 32) + 2 + inner + 1 + size64(statementSeq, 1n, varintMax)
  if (slot !== 0n) size += 1 + size64(slot, 0n, varintMax)
  if (size > 256) throw new Error(`${size} bytes are too many`)
  const pen = new Pen(size)
  pen.bytes(10, group)
  if (slot !== 0n) {
    pen.tag(16)
    pen.uint64(slot)
  }
  pen.bytes(26, ctx)
  pen.tag(34)
  pen.tag(inner)
  pen.tag(8)
  pen.uint64(round)
  if (leaf !== 0) {
    pen.tag(16)
    pen.uint32(leaf)
  }
  if (incarnation !== 0n) {
    pen.tag(24)
    pen.uint64(incarnation)
  }
  pen.bytes(42, valueHash)
  pen.bytes(50, server)
  pen.tag(56)
  pen.uint64(statementSeq)
  return pen.finish()
}

export function encodeEnvelope({ header, senderData, ciphertext, signature }: Envelope): Uint8Array {
  let size = sizeBytes(header, 1, 192) + sizeBytes(senderData, 16, 64)
  size += sizeBytes(ciphertext, 16, 15_899_000) + sizeBytes(signature, 64, 64)
  if (size > 15_900_000) throw new Error(`${size} bytes are too many`)
  const pen = new Pen(size)
  pen.bytes(10, header)
  pen.bytes(18, senderData)
  pen.bytes(26, ciphertext)
  pen.bytes(34, signature)
  return pen.finish()
}

/** A frame that carries a Deliver. */
export function encodeBatch({ request, body }: Frame): Uint8Array {
  if (body?.$case !== 'deliver') throw new Error('the frame carries something else')
  const { group, afterPosition, throughPosition, envelopes, caughtUp } = body.value
  if (envelopes.length > 4096) throw new Error(`${envelopes.length} envelopes are too many`)
  let inner = sizeBytes(group, 16, 16) + (caughtUp ? 2 : 0)
  if (afterPosition !== 0n) inner += 1 + size64(afterPosition, 0n, varintMax)
  if (throughPosition !== 0n) inner += 1 + size64(throughPosition, 0n, varintMax)
  for (const one of envelopes) inner += sizeBytes(one, 1, 15_900_000)
  if (inner > 16_500_000) throw new Error(`${inner} bytes are too many`)
  let size = 2 + size32(inner) + inner
  if (request !== 0n) size += 1 + size64(request, 0n, safeMax)
  if (size > 16_600_000) throw new Error(`${size} bytes are too many`)
  const pen = new Pen(size)
  if (request !== 0n) {
    pen.tag(8)
    pen.uint64(request)
  }
  pen.uint32(210)
  pen.uint32(inner)
  pen.bytes(10, group)
  if (afterPosition !== 0n) {
    pen.tag(16)
    pen.uint64(afterPosition)
  }
  if (throughPosition !== 0n) {
    pen.tag(24)
    pen.uint64(throughPosition)
  }
  for (const one of envelopes) pen.bytes(34, one)
  if (caughtUp) {
    pen.tag(40)
    pen.tag(1)
  }
  return pen.finish()
}

export function encodeSnapshot({ heads, state, epochAuthenticator }: StatePayload): Uint8Array {
  if (heads.length > 8192) throw new Error(`${heads.length} heads are too many`)
  let size = state.length === 0 ? 0 : sizeBytes(state, 0, 15_299_000)
  if (epochAuthenticator !== undefined) size += sizeBytes(epochAuthenticator, 8, 8)
  for (const head of heads) size += 2 + sizeHead(head)
  if (size > 15_800_000) throw new Error(`${size} bytes are too many`)
  const pen = new Pen(size)
  for (const head of heads) {
    pen.tag(10)
    // Below 128 whatever the sequence number: one byte of length.
    pen.tag(sizeHead(head))
    pen.bytes(10, head.member)
    pen.tag(16)
    pen.uint64(head.seq)
    pen.bytes(26, head.hash)
  }
  if (state.length !== 0) pen.bytes(18, state)
  if (epochAuthenticator !== undefined) pen.bytes(26, epochAuthenticator)
  return pen.finish()
}

function sizeHead({ member, seq, hash }: Head): number {
  return sizeBytes(member, 16, 16) + 1 + size64(seq, 1n, varintMax) + sizeBytes(hash, 32, 32)
}

import { sha256 } from '@noble/hashes/sha2.js'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { concatBytes, toHex, utf8 } from '../bytes.js'
import { checkFingerprint, formatFingerprint, parseFingerprint, safetyNumber } from './safety.js'

const group = new Uint8Array(16).fill(7)
const [ada, bob, eve] = [1, 2, 3].map((n) => new Uint8Array(32).fill(n)) as [Uint8Array, Uint8Array, Uint8Array]
const key = fc.uint8Array({ minLength: 32, maxLength: 32 })
const groupId = fc.uint8Array({ minLength: 16, maxLength: 16 })

describe('GROUP-030: a safety number', () => {
  it('is the last 60 decimal digits of the hash of document and both keys, in groups of five', () => {
    const digest = sha256(concatBytes(utf8('heddle/1 safety number\0'), group, ada, bob))
    const digits = BigInt(`0x${toHex(digest)}`)
      .toString()
      .slice(-60)
    expect(safetyNumber(group, ada, bob).replaceAll(' ', '')).toBe(digits)
    // Fixed for other implementations.
    expect(safetyNumber(group, ada, bob)).toBe(
      '00985 79107 57253 09895 69882 93329 97009 25986 24432 40582 06509 31407'
    )
  })

  it('is the same for both, whoever asks, and another for any other document or key', () => {
    fc.assert(
      fc.property(groupId, key, key, key, groupId, (id, a, b, c, other) => {
        const number = safetyNumber(id, a, b)
        expect(number).toMatch(/^\d{5}( \d{5}){11}$/)
        expect(safetyNumber(id, b, a)).toBe(number)
        if (toHex(c) !== toHex(b)) expect(safetyNumber(id, a, c)).not.toBe(number)
        if (toHex(other) !== toHex(id)) expect(safetyNumber(other, a, b)).not.toBe(number)
      })
    )
  })
})

describe('GROUP-031: a fingerprint', () => {
  it('has only characters of the alphanumeric mode of QR codes, and says document and key', () => {
    // Fixed for other implementations.
    expect(formatFingerprint(group, ada)).toBe(
      'HEDDLE-KEY:1:A4DQOBYHA4DQOBYHA4DQOBYHA4AQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCO52RXEA'
    )
    fc.assert(
      fc.property(groupId, key, (id, leaf) => {
        const text = formatFingerprint(id, leaf)
        expect(text).toMatch(/^[0-9A-Z $%*+\-./:]{97}$/)
        const read = parseFingerprint(text)
        expect(read.documentId).toBe(toHex(id))
        expect(read.signaturePublicKey).toEqual(leaf)
        const memberId = sha256(concatBytes(utf8('heddle/1 member\0'), id, leaf)).slice(0, 16)
        expect(read.memberId).toBe(toHex(memberId))
        expect(parseFingerprint(` ${text.toLowerCase()}\n`)).toEqual(read)
      })
    )
  })

  it('that was changed in any one character is not taken for one', () => {
    const text = formatFingerprint(group, ada)
    const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'
    for (let at = 0; at < text.length; at++) {
      for (const digit of [...digits, ':', '!', '']) {
        if (digit === text[at]) continue
        expect(() => parseFingerprint(text.slice(0, at) + digit + text.slice(at + 1))).toThrow(/fingerprint/)
      }
    }
  })

  it('of a later version is said to be that', () => {
    const later = formatFingerprint(group, ada).replace(':1:', ':2:')
    expect(() => parseFingerprint(later)).toThrow(expect.objectContaining({ code: 'UNSUPPORTED_VERSION' }))
    for (const text of ['', 'heddle:abc', 'HEDDLE-KEY:', `${formatFingerprint(group, ada)}:X`, 'A'.repeat(1_000_000)])
      expect(() => parseFingerprint(text)).toThrow(expect.objectContaining({ code: 'MALFORMED' }))
  })

  it('is told apart: of the member, of another, of nobody here, of another document, unreadable', () => {
    const idOf = (leaf: Uint8Array) => parseFingerprint(formatFingerprint(group, leaf)).memberId
    const members = new Map([ada, bob].map((leaf) => [idOf(leaf), leaf]))
    const check = (text: string, memberId?: string) =>
      checkFingerprint(text, { documentId: toHex(group), memberId, keyOf: (id) => members.get(id) })
    const text = formatFingerprint(group, ada)
    expect(check(text)).toEqual({ result: 'match', memberId: idOf(ada) })
    expect(check(text, idOf(ada))).toEqual({ result: 'match', memberId: idOf(ada) })
    expect(check(text, idOf(bob))).toEqual({ result: 'other-member', memberId: idOf(ada) })
    expect(check(formatFingerprint(group, eve))).toEqual({ result: 'no-member', memberId: idOf(eve) })
    const elsewhere = new Uint8Array(16)
    expect(check(formatFingerprint(elsewhere, ada))).toEqual({ result: 'other-document', documentId: toHex(elsewhere) })
    expect(check(text.slice(0, -1))).toMatchObject({ result: 'unreadable', error: { code: 'MALFORMED' } })
    // Somebody else's key under a member's name shows no match.
    members.set(idOf(ada), eve)
    expect(check(text)).toEqual({ result: 'no-member', memberId: idOf(ada) })
  })
})

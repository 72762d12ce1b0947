/**
 * What two people compare to know that each has the other's key, and that nobody sits between them (SPEC GROUP-030 and
 * GROUP-031): a safety number to read out, and a fingerprint to scan. Pure; called by `document.ts` and by apps.
 */
import { sha256 } from '@noble/hashes/sha2.js'
import { compareBytes, concatBytes, equalBytes, toHex, utf8 } from '../bytes.js'
import { HeddleError } from '../errors.js'
import { memberIdOf } from '../group/index.js'

const safetyLabel = utf8('heddle/1 safety number\0')
const checkLabel = utf8('heddle/1 fingerprint\0')
const safetyDigits = 60
const digitsPerGroup = 5
const fingerprintPrefix = 'HEDDLE-KEY:'
const fingerprintVersion = '1'
const groupBytes = 16
const keyBytes = 32
const checkBytes = 4
/** RFC 4648 section 6. All of it is in the alphanumeric mode of QR codes (ISO/IEC 18004), as are "-" and ":". */
const base32Digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'

/**
 * The number that both of two members see, in 12 groups of 5 digits, whichever of the two asks: 60 digits of the hash of
 * document and both keys. Whoever wants two pairs of keys with the same number needs about 2^100 hashes, and about
 * 2^(8 k) when only the first k groups are compared. Keys are of 32 bytes, the group id of 16.
 */
export function safetyNumber(groupId: Uint8Array, oneKey: Uint8Array, otherKey: Uint8Array): string {
  const keys = compareBytes(oneKey, otherKey) < 0 ? [oneKey, otherKey] : [otherKey, oneKey]
  const number = BigInt(`0x${toHex(sha256(concatBytes(safetyLabel, groupId, ...keys)))}`)
  const digits = (number % 10n ** BigInt(safetyDigits)).toString().padStart(safetyDigits, '0')
  const groups: string[] = []
  for (let at = 0; at < safetyDigits; at += digitsPerGroup) groups.push(digits.slice(at, at + digitsPerGroup))
  return groups.join(' ')
}

/** What a fingerprint says. */
export interface Fingerprint {
  /** 32 hexadecimal digits. */
  readonly documentId: string
  /** 32 hexadecimal digits. */
  readonly memberId: string
  /** Ed25519 key of the member's leaf, 32 bytes. */
  readonly signaturePublicKey: Uint8Array
}

/** A member's key in a document as 97 characters for a QR code in alphanumeric mode. */
export function formatFingerprint(groupId: Uint8Array, signaturePublicKey: Uint8Array): string {
  const said = concatBytes(groupId, signaturePublicKey)
  return `${fingerprintPrefix}${fingerprintVersion}:${toBase32(concatBytes(said, checkOf(said)))}`
}

/**
 * Reads a fingerprint, in upper or lower case, spaces around it not counted. Throws MALFORMED for what is none or was
 * copied wrongly, UNSUPPORTED_VERSION.
 */
export function parseFingerprint(text: string): Fingerprint {
  const upper = text.trim().toUpperCase()
  if (!upper.startsWith(fingerprintPrefix) || upper.length > 1024) throw malformed('it does not begin with HEDDLE-KEY:')
  const [version = '', body = '', ...more] = upper.slice(fingerprintPrefix.length).split(':')
  if (/^[0-9]{1,4}$/.test(version) && version !== fingerprintVersion) {
    throw new HeddleError('UNSUPPORTED_VERSION', `a fingerprint of version ${version}; this device reads version 1`)
  }
  const bytes = version === fingerprintVersion && more.length === 0 ? fromBase32(body) : undefined
  if (bytes?.length !== groupBytes + keyBytes + checkBytes) throw malformed('a part of it is missing or wrong')
  const said = bytes.subarray(0, groupBytes + keyBytes)
  if (!equalBytes(checkOf(said), bytes.subarray(said.length))) throw malformed('its check digits do not fit')
  const groupId = said.slice(0, groupBytes)
  const signaturePublicKey = said.slice(groupBytes)
  const memberId = memberIdOf({ sha256 }, groupId, signaturePublicKey)
  return { documentId: toHex(groupId), memberId: toHex(memberId), signaturePublicKey }
}

/** What a scanned fingerprint shows. Only `match` shows that the member is who showed it. */
export type FingerprintCheck =
  | { readonly result: 'match'; readonly memberId: string }
  /** It is of another member of the document than the one asked about. */
  | { readonly result: 'other-member'; readonly memberId: string }
  /** It is of nobody in the document: its owner was removed, or somebody else stands there in its place. */
  | { readonly result: 'no-member'; readonly memberId: string }
  | { readonly result: 'other-document'; readonly documentId: string }
  /** `error`: MALFORMED or UNSUPPORTED_VERSION. */
  | { readonly result: 'unreadable'; readonly error: HeddleError }

/**
 * Compares what was scanned from another device's screen with the members here. `memberId`: whom it is expected to be;
 * without it any member matches.
 */
export function checkFingerprint(
  text: string,
  expected: {
    readonly documentId: string
    readonly memberId?: string | undefined
    /** Ed25519 key of a member, by member id; undefined for who is none. */
    readonly keyOf: (memberId: string) => Uint8Array | undefined
  }
): FingerprintCheck {
  let scanned: Fingerprint
  try {
    scanned = parseFingerprint(text)
  } catch (error) {
    if (!HeddleError.is(error)) throw error
    return { result: 'unreadable', error }
  }
  const { documentId, memberId, signaturePublicKey } = scanned
  if (documentId !== expected.documentId) return { result: 'other-document', documentId }
  const key = expected.keyOf(memberId)
  if (key === undefined || !equalBytes(key, signaturePublicKey)) return { result: 'no-member', memberId }
  if (expected.memberId !== undefined && memberId !== expected.memberId) return { result: 'other-member', memberId }
  return { result: 'match', memberId }
}

const checkOf = (said: Uint8Array): Uint8Array => sha256(concatBytes(checkLabel, said)).slice(0, checkBytes)

const malformed = (why: string): HeddleError =>
  new HeddleError('MALFORMED', `this is not a whole fingerprint: ${why}; scan or copy it again`)

function toBase32(bytes: Uint8Array): string {
  let text = ''
  let bits = 0
  let value = 0
  for (const byte of bytes) {
    value = (value << 8) | byte
    bits += 8
    for (; bits >= 5; bits -= 5) text += base32Digits[(value >> (bits - 5)) & 31]
    value &= (1 << bits) - 1
  }
  return bits === 0 ? text : text + base32Digits[(value << (5 - bits)) & 31]
}

/** Undefined unless it is the one form that `toBase32` gives. */
function fromBase32(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(Math.floor((text.length * 5) / 8))
  let length = 0
  let bits = 0
  let value = 0
  for (const digit of text) {
    const five = base32Digits.indexOf(digit)
    if (five < 0) return undefined
    value = (value << 5) | five
    bits += 5
    if (bits >= 8) {
      bits -= 8
      bytes[length++] = value >> bits
      value &= (1 << bits) - 1
    }
  }
  return bits < 5 && value === 0 ? bytes : undefined
}

/**
 * Signed statements (SPEC PAXOS): what is signed, how it is parsed, and the list of checks this room hands to its caller,
 * because verifying a signature may be asynchronous. Statements are verified, hashed and stored as the bytes that came.
 */
import { concatBytes, equalBytes, utf8 } from '../bytes.js'
import { HeddleError } from '../errors.js'
import {
  Accept,
  type Codec,
  Prepare,
  Promise as PromiseCodec,
  SIGNATURE_LABELS,
  type Signed,
  Vote,
  WireError
} from '../wire/index.js'

/** A decoded statement with the bytes and the signature it came with. All byte arrays are its own, not views of a frame. */
export interface Statement<T> {
  readonly bytes: Uint8Array
  readonly value: T
  readonly signature: Uint8Array
}

/** Phase 1b; `Promise` on the wire. */
export type PromiseStatement = ReturnType<typeof PromiseCodec.decode>

/** One Ed25519 verification: `signature` by `publicKey` over `signedInput(label, statement)`. */
export interface SignatureCheck {
  readonly publicKey: Uint8Array
  readonly label: string
  readonly statement: Uint8Array
  readonly signature: Uint8Array
}

/** Decoded, bounded and structurally sound; `item` may be used once every check has succeeded. */
export interface ToVerify<T> {
  readonly kind: 'verify'
  readonly checks: readonly SignatureCheck[]
  readonly item: T
}

/** Input that breaks a rule, with the rule for a log. */
export interface Bad {
  readonly kind: 'bad'
  readonly reason: string
}

/** What an Ed25519 signature of a statement is over: the label, a zero byte, the statement. */
export function signedInput(label: string, statement: Uint8Array): Uint8Array {
  return concatBytes(utf8(label), zeroByte, statement)
}

/** Throws MALFORMED, as the other parse functions do. */
export const parsePrepare = (signed: Signed): Statement<Prepare> => parse('Prepare', Prepare, signed)
export const parsePromise = (signed: Signed): Statement<PromiseStatement> => parse('Promise', PromiseCodec, signed)
export const parseAccept = (signed: Signed): Statement<Accept> => parse('Accept', Accept, signed)
export const parseVote = (signed: Signed): Statement<Vote> => parse('Vote', Vote, signed)

export const checkOf = (
  type: 'Prepare' | 'Promise' | 'Accept' | 'Vote',
  publicKey: Uint8Array,
  statement: Statement<unknown>
): SignatureCheck => ({
  publicKey,
  label: SIGNATURE_LABELS[type],
  statement: statement.bytes,
  signature: statement.signature
})

export const toSigned = (statement: Statement<unknown>): Signed => ({
  statement: statement.bytes,
  signature: statement.signature
})

/** Several promises are often backed by one Accept: it is verified once. */
export function distinctChecks(checks: readonly SignatureCheck[]): SignatureCheck[] {
  const out: SignatureCheck[] = []
  for (const check of checks) if (!out.some((other) => sameCheck(other, check))) out.push(check)
  return out
}

/** Runs `parseAll` and turns what the peer got wrong into `Bad`; anything else goes on as it is. */
export function orBad<T>(parseAll: () => T): T | Bad {
  try {
    return parseAll()
  } catch (error) {
    if (HeddleError.is(error, 'MALFORMED')) return { kind: 'bad', reason: error.message }
    throw error
  }
}

const zeroByte = new Uint8Array(1)

function parse<T>(type: string, codec: Codec<T>, signed: Signed): Statement<T> {
  try {
    const bytes = signed.statement.slice()
    return { bytes, value: codec.decode(bytes), signature: signed.signature.slice() }
  } catch (cause) {
    if (!(cause instanceof WireError)) throw cause
    throw new HeddleError('MALFORMED', `a ${type} does not decode: ${cause.message}`, { cause })
  }
}

function sameCheck(a: SignatureCheck, b: SignatureCheck): boolean {
  return (
    a.label === b.label &&
    equalBytes(a.signature, b.signature) &&
    equalBytes(a.publicKey, b.publicKey) &&
    equalBytes(a.statement, b.statement)
  )
}

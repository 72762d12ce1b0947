/**
 * Whether a value may be decided (SPEC SRV, GROUP): it decodes, its author signed all of it, and its commit is one the
 * group allows. The outcome of a good one is kept, for it is asked again when the slot is decided.
 */
import { toHex } from '../bytes.js'
import { HeddleError } from '../errors.js'
import { type PublicGroup, welcomeRefs } from '../group/index.js'
import { signedInput, valueHash } from '../paxos/index.js'
import { SIGNATURE_LABELS, Value, ValueContent, WireError } from '../wire/index.js'
import type { Document } from './document.js'
import { Epoch } from './epoch.js'
import type { ServerParts } from './parts.js'

/** Competing values of one slot whose outcome is kept. */
const valuesMax = 4

export interface CheckedValue {
  /** The epoch it leads to. */
  readonly next: Epoch
  /** References of the key packages its Welcome is for. */
  readonly welcomeRefs: readonly Uint8Array[]
}

export class ValueCache {
  readonly #checked = new Map<string, CheckedValue>()

  get(key: string): CheckedValue | undefined {
    return this.#checked.get(key)
  }

  set(key: string, checked: CheckedValue): void {
    this.#checked.set(key, checked)
    for (const oldest of this.#checked.keys()) {
      if (this.#checked.size <= valuesMax) break
      this.#checked.delete(oldest)
    }
  }

  /** Outcomes belong to one slot. */
  clear(): void {
    this.#checked.clear()
  }
}

export interface CheckOptions {
  /** It is decided already: whether its key packages have expired, or its Welcome is incomplete, does not matter now. */
  readonly decided?: boolean
}

/** Throws MALFORMED, INVALID, FORBIDDEN or BAD_SIGNATURE for a value that breaks a rule in the open slot. */
export async function checkValue(
  document: Document,
  bytes: Uint8Array,
  { decided = false }: CheckOptions = {}
): Promise<CheckedValue> {
  const key = toHex(valueHash(bytes))
  const known = document.values.get(key)
  if (known !== undefined) return known
  const checked = await checkValueIn(document.current.group, bytes, document.parts, { decided })
  document.values.set(key, checked)
  return checked
}

/** The same in any epoch of a group, the outcome not kept. */
export async function checkValueIn(
  group: PublicGroup,
  bytes: Uint8Array,
  { crypto, context }: Pick<ServerParts, 'crypto' | 'context'>,
  { decided = false }: CheckOptions = {}
): Promise<CheckedValue> {
  const { content, signature, commit, welcome } = decodeValue(bytes)
  const author = group.committerOf(commit)
  if (!crypto.verify(author.signaturePublicKey, signedInput(SIGNATURE_LABELS.ValueContent, content), signature))
    throw new HeddleError('BAD_SIGNATURE', "the value is not signed by its commit's sender")
  const next = await group.processCommit(commit, decided ? {} : { nowMs: context.clock.now(), welcome })
  return { next: new Epoch(next), welcomeRefs: welcome.length === 0 ? [] : welcomeRefs(welcome) }
}

function decodeValue(bytes: Uint8Array) {
  try {
    const { content, signature } = Value.decode(bytes)
    const { commit, welcome } = ValueContent.decode(content)
    return { content, signature, commit, welcome }
  } catch (cause) {
    if (!(cause instanceof WireError)) throw cause
    throw new HeddleError('MALFORMED', `a value does not decode: ${cause.message}`, { cause })
  }
}

/**
 * The secret tree of one epoch with its application ratchets (RFC 9420 section 9). Secrets are derived when they are
 * needed, zeroed when they are used up, and every change is told as a small record, so that a message costs bytes and not
 * the group. One owner uses it, one call at a time.
 */

import { left, parent, right, root, toNodeIndex } from 'ts-mls/treemath.js'
import { emptyBytes, utf8 } from '../../bytes.js'
import type { CipherSuite, CryptoProvider } from '../../crypto/index.js'
import { HeddleError } from '../../errors.js'
import { deriveTreeSecret, expandWithLabel, label, SECRET_BYTES } from './kdf.js'
import { FORWARD_GENERATIONS_MAX, SKIPPED_KEYS_MAX } from './limits.js'

const LABEL = {
  tree: label('tree'),
  application: label('application'),
  key: label('key'),
  nonce: label('nonce'),
  secret: label('secret')
}
const SIDE = { left: utf8('left'), right: utf8('right') }
const GENERATION_MAX = 0xffffffff

export interface MessageKey {
  readonly generation: number
  readonly key: Uint8Array
  readonly nonce: Uint8Array
}

/** What is kept of one sender. */
export interface Ratchet {
  /** Generation that `secret` belongs to. */
  generation: number
  secret: Uint8Array
  /** Keys of earlier generations whose messages have not arrived, oldest first. */
  readonly skipped: Map<number, MessageKey>
}

/** What changed since the changes were last taken; a missing value means that the entry is gone. */
export interface SecretTreeChanges {
  readonly nodes: readonly { readonly node: number; readonly secret: Uint8Array | undefined }[]
  readonly ratchets: readonly { readonly leaf: number; readonly generation: number; readonly secret: Uint8Array }[]
  readonly skipped: readonly {
    readonly leaf: number
    readonly generation: number
    readonly key: MessageKey | undefined
  }[]
}

export class SecretTree {
  readonly #crypto: CryptoProvider
  readonly #suite: CipherSuite
  /** Leaves of the full tree, blanks included. */
  readonly leaves: number
  readonly #nodes: Map<number, Uint8Array>
  readonly #ratchets: Map<number, Ratchet>
  readonly #dirty = { nodes: new Set<number>(), leaves: new Set<number>(), skipped: new Map<number, Set<number>>() }

  /** Takes over the maps and the secrets in them. `leaves` is the number of leaves of the full tree, blanks included. */
  constructor(
    leaves: number,
    nodes: Map<number, Uint8Array>,
    ratchets: Map<number, Ratchet>,
    crypto: CryptoProvider,
    suite: CipherSuite
  ) {
    this.leaves = leaves
    this.#nodes = nodes
    this.#ratchets = ratchets
    this.#crypto = crypto
    this.#suite = suite
  }

  /** The tree of a new epoch. Takes over the secret; everything counts as changed. */
  static start(leaves: number, encryptionSecret: Uint8Array, crypto: CryptoProvider, suite: CipherSuite): SecretTree {
    const tree = new SecretTree(leaves, new Map([[root(leaves), encryptionSecret]]), new Map(), crypto, suite)
    tree.#dirty.nodes.add(root(leaves))
    return tree
  }

  /** The next key of the leaf, used up by this call. The caller owns key and nonce. */
  next(leaf: number): MessageKey {
    const { ratchet, admit } = this.#ratchetOf(leaf)
    if (ratchet.generation >= GENERATION_MAX)
      throw new HeddleError('LIMIT_EXCEEDED', 'The sending ratchet of this epoch is used up; rotate the keys')
    admit()
    const key = this.#keyAt(ratchet.secret, ratchet.generation)
    this.#turn(leaf, ratchet, ratchet.generation + 1, this.#after(ratchet.secret, ratchet.generation))
    return key
  }

  /**
   * The key of one generation, to try a message with; nothing is changed until `consume` is called, which must happen
   * before any other call. Throws UNDECRYPTABLE for a generation that was used, has been given up or is too far ahead.
   */
  peek(leaf: number, generation: number): { readonly key: MessageKey; consume(): void } {
    const { ratchet, admit } = this.#ratchetOf(leaf)
    if (generation < ratchet.generation) return this.#peekSkipped(leaf, ratchet, generation)
    const ahead = generation - ratchet.generation
    if (ahead > FORWARD_GENERATIONS_MAX || generation >= GENERATION_MAX)
      throw undecryptable(`generation ${generation} is ${ahead} ahead`)
    const skipped: MessageKey[] = []
    let { secret } = ratchet
    for (let at = ratchet.generation; at < generation; at++) {
      if (generation - at <= SKIPPED_KEYS_MAX) skipped.push(this.#keyAt(secret, at))
      secret = this.#after(secret, at)
    }
    const key = this.#keyAt(secret, generation)
    const after = this.#after(secret, generation)
    return {
      key,
      consume: () => {
        admit()
        for (const one of skipped) this.#setSkipped(leaf, ratchet, one)
        this.#turn(leaf, ratchet, generation + 1, after)
      }
    }
  }

  /** What changed since the last call, secrets copied. */
  takeChanges(): SecretTreeChanges {
    const nodes = [...this.#dirty.nodes].map((node) => ({ node, secret: this.#nodes.get(node)?.slice() }))
    const ratchets = [...this.#dirty.leaves].flatMap((leaf) => {
      const ratchet = this.#ratchets.get(leaf)
      return ratchet === undefined ? [] : [{ leaf, generation: ratchet.generation, secret: ratchet.secret.slice() }]
    })
    const skipped = [...this.#dirty.skipped].flatMap(([leaf, generations]) =>
      [...generations].map((generation) => {
        const key = this.#ratchets.get(leaf)?.skipped.get(generation)
        return { leaf, generation, key: key && { generation, key: key.key.slice(), nonce: key.nonce.slice() } }
      })
    )
    this.#dirty.nodes.clear()
    this.#dirty.leaves.clear()
    this.#dirty.skipped.clear()
    return { nodes, ratchets, skipped }
  }

  /** Zeroes every secret, and tells what there was, so that its records can be deleted. The tree is of no use after it. */
  destroy(): SecretTreeContents {
    const contents = {
      nodes: [...this.#nodes.keys()],
      ratchets: [...this.#ratchets].map(([leaf, { skipped }]) => ({ leaf, skipped: [...skipped.keys()] }))
    }
    for (const secret of this.#nodes.values()) secret.fill(0)
    for (const { secret, skipped } of this.#ratchets.values()) {
      secret.fill(0)
      for (const key of skipped.values()) zero(key)
    }
    this.#nodes.clear()
    this.#ratchets.clear()
    return contents
  }

  #peekSkipped(leaf: number, ratchet: Ratchet, generation: number): { readonly key: MessageKey; consume(): void } {
    const kept = ratchet.skipped.get(generation)
    if (kept === undefined) throw undecryptable(`the key of generation ${generation} was used or given up`)
    return {
      key: { generation, key: kept.key.slice(), nonce: kept.nonce.slice() },
      consume: () => {
        zero(kept)
        ratchet.skipped.delete(generation)
        this.#touchSkipped(leaf, generation)
      }
    }
  }

  /** The leaf's ratchet. When it is derived only now, `admit` puts it in the place of the node secrets above it. */
  #ratchetOf(leaf: number): { readonly ratchet: Ratchet; admit(): void } {
    const known = this.#ratchets.get(leaf)
    if (known !== undefined) return { ratchet: known, admit: () => {} }
    if (!Number.isSafeInteger(leaf) || leaf < 0 || leaf >= this.leaves) throw undecryptable(`there is no leaf ${leaf}`)
    const way: number[] = []
    let at = toNodeIndex(2 * leaf)
    while (!this.#nodes.has(at)) {
      if (at === root(this.leaves)) throw undecryptable(`the secret of leaf ${leaf} is gone`)
      way.unshift(at)
      at = parent(at, this.leaves)
    }
    const top = at
    let secret = this.#nodeSecret(top)
    const derived = new Map<number, Uint8Array>()
    for (const next of way) {
      const [l, r] = [left(at), right(at)]
      const sides = { l: this.#child(secret, SIDE.left), r: this.#child(secret, SIDE.right) }
      if (next === l) derived.set(r, sides.r)
      else derived.set(l, sides.l)
      if (at !== top) secret.fill(0)
      secret = next === l ? sides.l : sides.r
      at = toNodeIndex(next)
    }
    const start = expandWithLabel(this.#crypto, secret, LABEL.application, emptyBytes, SECRET_BYTES)
    if (at !== top) secret.fill(0)
    const ratchet: Ratchet = { generation: 0, secret: start, skipped: new Map() }
    return {
      ratchet,
      admit: () => {
        this.#nodeSecret(top).fill(0)
        this.#nodes.delete(top)
        this.#dirty.nodes.add(top)
        for (const [node, nodeSecret] of derived) {
          this.#nodes.set(node, nodeSecret)
          this.#dirty.nodes.add(node)
        }
        this.#ratchets.set(leaf, ratchet)
        this.#dirty.leaves.add(leaf)
      }
    }
  }

  #nodeSecret(node: number): Uint8Array {
    const secret = this.#nodes.get(node)
    if (secret === undefined) throw undecryptable(`the secret of node ${node} is gone`)
    return secret
  }
  #child(secret: Uint8Array, side: Uint8Array): Uint8Array {
    return expandWithLabel(this.#crypto, secret, LABEL.tree, side, SECRET_BYTES)
  }
  #keyAt(secret: Uint8Array, generation: number): MessageKey {
    return {
      generation,
      key: deriveTreeSecret(this.#crypto, secret, LABEL.key, generation, this.#suite.keyBytes),
      nonce: deriveTreeSecret(this.#crypto, secret, LABEL.nonce, generation, this.#suite.nonceBytes)
    }
  }
  #after(secret: Uint8Array, generation: number): Uint8Array {
    return deriveTreeSecret(this.#crypto, secret, LABEL.secret, generation, SECRET_BYTES)
  }

  #turn(leaf: number, ratchet: Ratchet, generation: number, secret: Uint8Array): void {
    ratchet.secret.fill(0)
    ratchet.secret = secret
    ratchet.generation = generation
    this.#dirty.leaves.add(leaf)
  }
  #setSkipped(leaf: number, ratchet: Ratchet, key: MessageKey): void {
    ratchet.skipped.set(key.generation, key)
    this.#touchSkipped(leaf, key.generation)
    for (const [oldest, kept] of ratchet.skipped) {
      if (ratchet.skipped.size <= SKIPPED_KEYS_MAX) break
      zero(kept)
      ratchet.skipped.delete(oldest)
      this.#touchSkipped(leaf, oldest)
    }
  }
  #touchSkipped(leaf: number, generation: number): void {
    const generations = this.#dirty.skipped.get(leaf) ?? new Set()
    this.#dirty.skipped.set(leaf, generations)
    generations.add(generation)
  }
}

/** What a destroyed tree held. */
export interface SecretTreeContents {
  readonly nodes: readonly number[]
  readonly ratchets: readonly { readonly leaf: number; readonly skipped: readonly number[] }[]
}

function zero({ key, nonce }: MessageKey): void {
  key.fill(0)
  nonce.fill(0)
}

function undecryptable(why: string): HeddleError {
  return new HeddleError('UNDECRYPTABLE', `The message cannot be opened: ${why}`)
}

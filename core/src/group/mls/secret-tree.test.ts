import { consumeRatchet, createSecretTree } from 'ts-mls/secretTree.js'
import { describe, expect, test } from 'vitest'
import { toHex } from '../../bytes.js'
import { testCrypto } from '../testing/world.js'
import { type MessageKey, type Ratchet, SecretTree } from './secret-tree.js'

const crypto = testCrypto(90)
const suite = crypto.suite(1)
const SECRET = new Uint8Array(32).fill(5)
const undecryptable = expect.objectContaining({ code: 'UNDECRYPTABLE' })

const fresh = (leaves = 8): SecretTree => SecretTree.start(leaves, SECRET.slice(), crypto, suite)
const text = ({ generation, key, nonce }: MessageKey): string => `${generation} ${toHex(key)} ${toHex(nonce)}`

function take(tree: SecretTree, leaf: number, generation: number): string {
  const { key, consume } = tree.peek(leaf, generation)
  const found = text(key)
  consume()
  return found
}

/** The tree as its changes were stored, to see that they say everything. */
class Stored {
  readonly nodes = new Map<number, Uint8Array>()
  readonly ratchets = new Map<number, Ratchet>()

  apply(tree: SecretTree): number {
    const { nodes, ratchets, skipped } = tree.takeChanges()
    for (const { node, secret } of nodes) {
      if (secret === undefined) this.nodes.delete(node)
      else this.nodes.set(node, secret)
    }
    for (const { leaf, generation, secret } of ratchets) Object.assign(this.#ratchet(leaf), { generation, secret })
    for (const { leaf, generation, key } of skipped) {
      if (key === undefined) this.#ratchet(leaf).skipped.delete(generation)
      else this.#ratchet(leaf).skipped.set(generation, key)
    }
    return nodes.length + ratchets.length + skipped.length
  }

  load(leaves = 8): SecretTree {
    const ratchets = [...this.ratchets].map(([leaf, ratchet]): [number, Ratchet] => [
      leaf,
      { ...ratchet, secret: ratchet.secret.slice(), skipped: new Map(ratchet.skipped) }
    ])
    const nodes = new Map([...this.nodes].map(([node, secret]) => [node, secret.slice()]))
    return new SecretTree(leaves, nodes, new Map(ratchets), crypto, suite)
  }

  #ratchet(leaf: number): Ratchet {
    let ratchet = this.ratchets.get(leaf)
    if (ratchet === undefined) {
      ratchet = { generation: 0, secret: new Uint8Array(0), skipped: new Map() }
      this.ratchets.set(leaf, ratchet)
    }
    return ratchet
  }
}

describe('a secret tree', () => {
  test.each([1, 2, 8, 32])('of %i leaves has the keys that ts-mls has', async (leaves) => {
    let theirs = await createSecretTree(leaves, SECRET, suite.mls.kdf)
    const ours = fresh(leaves)
    for (const leaf of [0, leaves - 1, leaves >> 1]) {
      for (let i = 0; i < 3; i++) {
        const consumed = await consumeRatchet(theirs, 2 * leaf, 'application', suite.mls)
        theirs = consumed.newTree
        const { generation, key, nonce } = ours.next(leaf)
        // Their nonce has the reuse guard in its first four bytes.
        expect([generation, key, nonce.subarray(4)]).toEqual([
          consumed.generation,
          consumed.key,
          consumed.nonce.subarray(4)
        ])
      }
    }
  })

  test('gives sender and receiver the same keys, each once', () => {
    const [sender, receiver] = [fresh(), fresh()]
    const keys = Array.from({ length: 6 }, () => text(sender.next(3)))
    for (const generation of [0, 4, 2, 5, 1]) expect(take(receiver, 3, generation)).toBe(keys[generation])
    for (const generation of [0, 4, 2, 5, 1]) expect(() => receiver.peek(3, generation)).toThrow(undecryptable)
    expect(take(receiver, 3, 3)).toBe(keys[3])
    expect(new Set([...keys, text(sender.next(2)), text(sender.next(0))]).size).toBe(8)
  })

  test('changes nothing by a peek', () => {
    const tree = fresh()
    tree.takeChanges()
    const first = text(tree.peek(5, 2).key)
    expect(text(tree.peek(5, 2).key)).toBe(first)
    expect(tree.takeChanges()).toEqual({ nodes: [], ratchets: [], skipped: [] })
    expect(take(tree, 5, 2)).toBe(first)
    const { key } = tree.peek(5, 1)
    key.key.fill(0)
    expect(text(tree.peek(5, 1).key)).not.toBe(text(key))
  })

  test('refuses leaves out of the tree and generations out of reach', () => {
    const tree = fresh()
    for (const leaf of [8, 4_000_000, -1, 0.5]) expect(() => tree.peek(leaf, 0)).toThrow(undecryptable)
    expect(() => tree.peek(0, 65_537)).toThrow(undecryptable)
    expect(() => tree.peek(0, 0xffffffff)).toThrow(undecryptable)
    expect(text(tree.peek(0, 65_536).key)).toMatch(/^65536 /)
  })

  test('tells all that is needed to go on after a restart, whenever it is asked', () => {
    const live = fresh()
    const stored = new Stored()
    stored.apply(live)
    for (const [leaf, generation] of [
      [3, 2],
      [3, 0],
      [7, 5],
      [3, 9],
      [0, 0],
      [7, 1],
      [3, 4]
    ] as const) {
      take(live, leaf, generation)
      stored.apply(live)
      const loaded = stored.load()
      for (const other of [0, 3, 5, 7]) {
        expect(text(loaded.peek(other, 20).key)).toBe(text(live.peek(other, 20).key))
        expect(() => stored.load().peek(leaf, generation)).toThrow(undecryptable)
      }
    }
    expect(text(stored.load().peek(3, 6).key)).toBe(text(live.peek(3, 6).key))
  })

  test('keeps no secret from which a used key could be derived', () => {
    const live = fresh()
    const stored = new Stored()
    stored.apply(live)
    expect([...stored.nodes.keys()]).toEqual([7])
    live.next(0)
    stored.apply(live)
    // The copath of leaf 0, and its ratchet; nothing above it.
    expect([...stored.nodes.keys()].sort((a, b) => a - b)).toEqual([2, 5, 11])
    expect([...stored.ratchets.keys()]).toEqual([0])
    for (let leaf = 1; leaf < 8; leaf++) live.next(leaf)
    stored.apply(live)
    expect(stored.nodes.size).toBe(0)
    expect(stored.ratchets.size).toBe(8)
  })

  test('writes one entry for a message once the sender is known', () => {
    const live = fresh(1024)
    const stored = new Stored()
    stored.apply(live)
    live.next(700)
    expect(stored.apply(live)).toBe(12)
    live.next(700)
    expect(stored.apply(live)).toBe(1)
    for (let i = 0; i < 50; i++) live.next(700)
    expect(stored.apply(live)).toBe(1)
  })

  test('gives up the oldest missing keys beyond 1024', () => {
    const tree = fresh()
    const stored = new Stored()
    take(tree, 1, 1500)
    stored.apply(tree)
    expect(stored.ratchets.get(1)?.skipped.size).toBe(1024)
    expect(() => tree.peek(1, 475)).toThrow(undecryptable)
    take(tree, 1, 476)
    take(tree, 1, 1503)
    stored.apply(tree)
    expect(stored.ratchets.get(1)?.skipped.size).toBe(1024)
    expect(() => tree.peek(1, 477)).toThrow(undecryptable)
    expect(() => stored.load().peek(1, 477)).toThrow(undecryptable)
    expect(text(stored.load().peek(1, 478).key)).toMatch(/^478 /)
  })

  test('zeroes what it gives up', () => {
    const secret = SECRET.slice()
    const tree = SecretTree.start(2, secret, crypto, suite)
    tree.next(0)
    expect(secret).toEqual(new Uint8Array(32))
    const contents = tree.destroy()
    expect(contents).toEqual({ nodes: [2], ratchets: [{ leaf: 0, skipped: [] }] })
    expect(() => tree.next(0)).toThrow(undecryptable)
  })
})

/**
 * A member of a group in a process of its own, driven over the channel that `fork` opens, so that a test can look into all
 * of its memory. What it would store goes to the test, masked: an unmasked copy would be found.
 */
import { createCrypto } from '../../crypto/index.js'
import { generateKeyPackage, MemberGroup, type MessageToOpen, type OwnKeyPackage, type StoredRecord } from '../index.js'

export interface StoredChange {
  readonly key: Uint8Array
  /** Masked. */
  readonly value: Uint8Array | undefined
}

export type Order =
  | { readonly do: 'keyPackage' }
  | { readonly do: 'join'; readonly welcome: Uint8Array; readonly tree: Uint8Array }
  | { readonly do: 'open'; readonly message: MessageToOpen }
  | { readonly do: 'seal'; readonly plaintext: Uint8Array }
  | { readonly do: 'process'; readonly commit: Uint8Array }
  | { readonly do: 'rotate' }
  /** Forgets the group and goes on from its records, their values masked. */
  | { readonly do: 'reload'; readonly records: readonly StoredRecord[] }
  | { readonly do: 'expire'; readonly nowMs: number }
  /** Works on other things for a while, so that memory that was given back is used again. */
  | { readonly do: 'work' }

export interface Done {
  readonly changes: readonly StoredChange[]
  /** Key package, sealed message or commit. */
  readonly result?: unknown
}

/** There and back. */
export function mask(bytes: Uint8Array): Uint8Array {
  return bytes.map((byte) => byte ^ 0x5c)
}

export async function main(): Promise<void> {
  let nowMs = 1_760_000_000_000
  const crypto = createCrypto((length) => globalThis.crypto.getRandomValues(new Uint8Array(length)))
  const deps = { crypto, now: () => nowMs }
  let keyPackage: OwnKeyPackage | undefined
  let group: MemberGroup | undefined
  const member = (): MemberGroup => {
    if (group === undefined) throw new Error('not joined')
    return group
  }
  const carryOut = async (order: Order): Promise<unknown> => {
    switch (order.do) {
      case 'keyPackage': {
        const device = { endpointId: crypto.randomBytes(32), crdtTypes: ['yjs/1'] }
        keyPackage = await generateKeyPackage({ crypto, device, nowMs })
        return keyPackage.message
      }
      case 'join':
        if (keyPackage === undefined) throw new Error('no key package')
        group = await MemberGroup.join({ welcome: order.welcome, tree: order.tree, keyPackage }, deps)
        for (const secret of Object.values(keyPackage.secrets)) secret.fill(0)
        return undefined
      case 'open':
        await member().decrypt(order.message)
        return undefined
      case 'seal':
        return member().encrypt(order.plaintext, new Uint8Array(0))
      case 'process': {
        const processed = await member().processCommit(order.commit)
        if (!processed.removed) group = processed.group
        return undefined
      }
      case 'rotate': {
        const { commit, pending } = await member().buildCommit()
        group = await member().adopt(pending)
        pending.fill(0)
        return commit
      }
      case 'reload': {
        const records = order.records.map(({ key, value }) => ({ key: new Uint8Array(key), value: mask(value) }))
        group = MemberGroup.load(records, deps)
        for (const { value } of records) value.fill(0)
        return undefined
      }
      case 'expire':
        nowMs = order.nowMs
        member().expireEpochs()
        return undefined
      case 'work':
        await work()
        return undefined
    }
  }
  await new Promise<void>((resolve) => {
    process.on('disconnect', resolve)
    process.on('message', async (order: Order) => {
      const result = await carryOut(order)
      const changes = (group?.takeDirtyRecords() ?? []).map(({ key, value }) => {
        const change = { key, value: value && mask(value) }
        value?.fill(0) // as the device does once it is stored
        return change
      })
      process.send?.({ changes, result } satisfies Done)
    })
    process.send?.('ready')
  })
}

async function work(): Promise<void> {
  for (let round = 0; round < 4; round++) {
    const kept: Uint8Array[] = []
    for (let i = 0; i < 200_000; i++) {
      const bytes = new Uint8Array(8 * (1 + (i % 32))).fill(round + 1)
      if (i % 4 === 0) kept.push(bytes)
    }
    await new Promise((resolve) => setImmediate(resolve))
    globalThis.gc?.()
  }
}

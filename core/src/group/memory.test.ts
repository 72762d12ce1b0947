/**
 * What is left of old secrets in a real process: all of its memory is read and searched for them (SPEC GROUP-009). On
 * systems other than Linux a process cannot be read like that.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import { platform } from 'node:os'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, test } from 'vitest'
import { toHex, utf8 } from '../bytes.js'
import type { StoredRecord } from './index.js'
import { readRecords } from './persistence.js'
import { type Done, mask, type Order } from './testing/member-process.js'
import { ADMIN, createMember, NOW_MS } from './testing/world.js'

const DAY_MS = 86_400_000
/** What is searched for: 96 bits are no coincidence, and not less than half of any secret here. */
const PIECE_BYTES = 12

const children: ChildProcess[] = []
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

describe.skipIf(platform() !== 'linux')('the memory of a process', () => {
  test('GROUP-009: holds no secret of an epoch whose days are over, and no key that was replaced', async () => {
    const a = await createMember(71)
    const remote = await Remote.start()
    const keyPackage = new Uint8Array((await remote.order({ do: 'keyPackage' })) as Uint8Array)
    const { welcome, tree } = await a.commit({ adds: [{ keyPackage, role: ADMIN }] })
    if (welcome === undefined) throw new Error('no Welcome')
    await remote.order({ do: 'join', welcome, tree })
    const oldEpoch = a.group.epoch
    const aad = new Uint8Array(0)
    const messages = []
    for (const text of ['0', '1', '2', '3', '4'])
      messages.push({ ...(await a.group.encrypt(utf8(text), aad)), epoch: oldEpoch, aad })
    // Out of order, so that keys wait for messages that never come.
    for (const message of [messages[3], messages[1]]) if (message) await remote.order({ do: 'open', message })
    await remote.reload()
    await remote.order({ do: 'seal', plaintext: utf8('mine') })
    await a.process(new Uint8Array((await remote.order({ do: 'rotate' })) as Uint8Array))
    await remote.order({ do: 'process', commit: (await a.commit()).commit })
    await remote.order({ do: 'work' })

    // That the search finds what is there.
    const live = secretsIn(remote.records.values())
    const foundBefore = remote.find(live)
    expect([...live.keys()].filter((name) => !foundBefore.has(name))).toEqual([])
    expect([...live.keys()].filter((name) => name.endsWith(`of epoch ${oldEpoch}`)).length).toBeGreaterThan(3)

    await remote.order({ do: 'expire', nowMs: NOW_MS + 31 * DAY_MS })
    await remote.order({ do: 'work' })
    const kept = new Set([...secretsIn(remote.records.values()).values()].map(toHex))
    const gone = new Map([...remote.secrets].filter(([, secret]) => !kept.has(toHex(secret))))
    for (const name of [`key 0 of leaf 0 of epoch ${oldEpoch}`, `sender data secret of epoch ${oldEpoch}`])
      expect([...gone.keys()]).toContain(name)
    expect([...remote.find(gone)]).toEqual([])
    const stored = Buffer.concat([...remote.records.values()].map(({ value }) => value))
    expect([...gone].filter(([, secret]) => stored.includes(Buffer.from(secret)))).toEqual([])
  }, 120_000)
})

/** A member in a process of its own, and its storage, which is here. */
class Remote {
  readonly records = new Map<string, StoredRecord>()
  /** Every secret that was ever stored. */
  readonly secrets = new Map<string, Uint8Array>()
  readonly #child: ChildProcess

  private constructor(child: ChildProcess) {
    this.#child = child
  }

  static async start(): Promise<Remote> {
    const path = (name: string) => fileURLToPath(new URL(`./testing/${name}`, import.meta.url))
    const child = fork(path('run.mjs'), [path('member-process.ts')], {
      execArgv: ['--expose-gc'],
      serialization: 'advanced'
    })
    children.push(child)
    await once(child, 'message')
    return new Remote(child)
  }

  async order(order: Order): Promise<unknown> {
    this.#child.send(order)
    const [{ changes, result }] = (await once(this.#child, 'message')) as [Done]
    for (const { key, value } of changes) {
      if (value === undefined) this.records.delete(toHex(key))
      else this.records.set(toHex(key), { key: new Uint8Array(key), value: mask(new Uint8Array(value)) })
    }
    if (this.records.size > 0)
      for (const [name, secret] of secretsIn(this.records.values())) this.secrets.set(name, secret)
    return result
  }

  async reload(): Promise<void> {
    const records = [...this.records.values()].map(({ key, value }) => ({ key, value: mask(value) }))
    await this.order({ do: 'reload', records })
  }

  /** How often each of the secrets lies in the memory of the process; either half of it counts. */
  find(secrets: ReadonlyMap<string, Uint8Array>): ReadonlyMap<string, number> {
    const found = new Map<string, number>()
    const pieces = [...secrets].flatMap(([name, secret]) => [
      { name, piece: secret.subarray(0, PIECE_BYTES) },
      { name, piece: secret.subarray(-PIECE_BYTES) }
    ])
    for (const part of memoryOf(this.#child.pid ?? 0))
      for (const name of search(part, pieces)) found.set(name, (found.get(name) ?? 0) + 1)
    return found
  }
}

/** Names of the pieces that lie in the memory, at any offset, once for each time. One pass for all of them. */
function search(memory: Buffer, pieces: readonly { name: string; piece: Uint8Array }[]): readonly string[] {
  const starts = new Uint8Array(65_536)
  for (const { piece } of pieces) starts[((piece[0] ?? 0) << 8) | (piece[1] ?? 0)] = 1
  const found: string[] = []
  let two = 0
  for (let at = 0; at - 1 + PIECE_BYTES <= memory.length; at++) {
    two = ((two << 8) | (memory[at] as number)) & 0xffff
    if (starts[two] === 0) continue
    const start = at - 1
    for (const { name, piece } of pieces)
      if (memory[start + 2] === piece[2] && memory.compare(piece, 0, PIECE_BYTES, start, start + PIECE_BYTES) === 0)
        found.push(name)
  }
  return found
}

/** All writable memory of a process that no file stands behind. */
function* memoryOf(pid: number): Generator<Buffer> {
  const memory = openSync(`/proc/${pid}/mem`, 'r')
  try {
    for (const line of readFileSync(`/proc/${pid}/maps`, 'latin1').split('\n')) {
      const [, start, end, access, inode] = /^(\w+)-(\w+) (\S+) \S+ \S+ (\d+)/.exec(line) ?? []
      if (start === undefined || end === undefined || !access?.startsWith('rw') || inode !== '0') continue
      const from = BigInt(`0x${start}`)
      const part = Buffer.alloc(Number(BigInt(`0x${end}`) - from))
      try {
        readSync(memory, part, 0, part.length, from)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EIO') throw error // reserved, not in use
        continue
      }
      yield part
    }
  } finally {
    closeSync(memory)
  }
}

/** Every secret in the records, by a name that tells what it is. */
function secretsIn(records: Iterable<StoredRecord>): Map<string, Uint8Array> {
  const { state, epochs } = readRecords(records)
  const secrets = new Map<string, Uint8Array>()
  for (const [node, key] of state.member.privateKeys)
    secrets.set(`private key of node ${node} in epoch ${state.epoch}`, key)
  // A resumption PSK opens no message, and stays as long as a commit may name it: by epochs, not by days.
  const { resumptionPsk: _, senderDataSecret: __, ...others } = state.member.secrets
  for (const [name, secret] of Object.entries(others)) secrets.set(`${name} in epoch ${state.epoch}`, secret)
  for (const [epoch, { saved, nodes, ratchets }] of epochs) {
    if (saved !== undefined) secrets.set(`sender data secret of epoch ${epoch}`, saved.senderDataSecret)
    for (const [node, secret] of nodes) secrets.set(`tree node ${node} of epoch ${epoch}`, secret)
    for (const [leaf, { generation, secret, skipped }] of ratchets) {
      secrets.set(`ratchet ${generation} of leaf ${leaf} of epoch ${epoch}`, secret)
      for (const { generation: at, key, nonce } of skipped.values()) {
        secrets.set(`key ${at} of leaf ${leaf} of epoch ${epoch}`, key)
        secrets.set(`nonce ${at} of leaf ${leaf} of epoch ${epoch}`, nonce)
      }
    }
  }
  return secrets
}

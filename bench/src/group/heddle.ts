/** Heddle's group room as `group` measures it: members loaded from their records, one process, no device around them. */
import type { CryptoProvider } from 'heddle'
import { type Contender, timed } from './contender.js'
import { type LargeGroup, type LargeGroupParts, newKeyPackage } from './large-group.js'
import type { GroupRooms, MemberGroup, OwnKeyPackage } from './rooms.js'

/** About the header of an envelope. */
const aad = new Uint8Array(120).fill(3)

export class HeddleContender implements Contender {
  readonly name = 'heddle'
  readonly #group: LargeGroup
  readonly #parts: LargeGroupParts
  readonly #sender: MemberGroup
  readonly #receiver: MemberGroup

  constructor(group: LargeGroup, parts: LargeGroupParts) {
    this.#group = group
    this.#parts = parts
    this.#sender = group.member(0)
    this.#receiver = group.member(group.size - 1)
  }

  async messages(plaintextBytes: number, count: number) {
    const plaintext = new Uint8Array(plaintextBytes).fill(5)
    const sealed: Awaited<ReturnType<MemberGroup['encrypt']>>[] = []
    const encrypt = await timed(async () => {
      for (let i = 0; i < count; i++) sealed.push(await this.#sender.encrypt(plaintext, aad))
    })
    const { epoch } = this.#sender
    const decrypt = await timed(async () => {
      for (const message of sealed) await this.#receiver.decrypt({ ...message, epoch, aad })
    })
    const [first] = sealed
    const bytes = (first?.ciphertext.length ?? 0) + (first?.senderData.length ?? 0)
    return {
      encryptPerSecond: (1000 * count) / encrypt.ms,
      decryptPerSecond: (1000 * count) / decrypt.ms,
      overheadBytes: bytes - plaintextBytes
    }
  }

  async update() {
    const group = this.#group
    const create = await timed(() => this.#sender.buildCommit())
    const { commit } = create.value
    const member = group.member(group.size - 1)
    const process = await timed(() => member.processCommit(commit))
    const observer = group.observer()
    const observe = await timed(() => observer.processCommit(commit))
    return { createMs: create.ms, processMs: process.ms, observeMs: observe.ms, commitBytes: commit.length }
  }

  async join() {
    const { rooms, crypto } = this.#parts
    const keyPackage = await newKeyPackage(this.#parts)
    const { welcome, tree } = await invite(this.#group, keyPackage, rooms, crypto)
    const { initKey, leafKey } = keyPackage.secrets
    const suite = crypto.suite(1)
    const { leafRules } = rooms.extensions
    const { ms } = await timed(async () => {
      const secrets = { initKey, leafKey: leafKey.slice() }
      const parts = { crypto, suite, leafRules, tree }
      const decoded = rooms.engine.decodeWelcome(welcome)
      const joined = await rooms.engine.joinByWelcome(decoded, keyPackage.keyPackage, secrets, parts)
      rooms.group.PublicGroup.of(joined.public, { crypto }).save()
    })
    return { joinMs: ms, welcomeBytes: welcome.length + tree.length }
  }

  async stored() {
    const group = this.#group
    const sender = group.member(0)
    const receiver = group.member(group.size - 1)
    let stored = { sentBytes: 0, receivedBytes: 0 }
    // The first message of the epoch derives its sender's ratchet; those after it are the rule.
    for (let i = 0; i < 2; i++) {
      const message = await sender.encrypt(new Uint8Array(100), aad)
      await receiver.decrypt({ ...message, epoch: sender.epoch, aad })
      stored = { sentBytes: dirtyBytes(sender), receivedBytes: dirtyBytes(receiver) }
    }
    return stored
  }
}

export function dirtyBytes(member: MemberGroup): number {
  return member.takeDirtyRecords().reduce((sum, { key, value }) => sum + key.length + (value?.length ?? 0), 0)
}

async function invite(group: LargeGroup, joiner: OwnKeyPackage, rooms: GroupRooms, crypto: CryptoProvider) {
  const { engine } = rooms
  const suite = crypto.suite(1)
  const signatureKey = group.signatureKeyOf(0)
  const member = group.stateOf(0)
  const state = group.observer().state
  const { keyPackage } = joiner
  const proposals = [{ proposalType: 'add', add: { keyPackage } } as const]
  const rules = { suite, leafRules: rooms.extensions.leafRules }
  const built = await engine.buildEpoch(member, state, proposals, signatureKey, rules, crypto)
  const welcome = await engine.createWelcome(built, [keyPackage], signatureKey, [], suite)
  return { welcome: engine.encodeWelcome(welcome), tree: engine.encodeTree(built.public.tree.nodes) }
}

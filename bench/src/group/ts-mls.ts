/** ts-mls' own group state on the same tree, with either provider: what Heddle's group room is compared with. */
import {
  type CiphersuiteImpl,
  type ClientState,
  createApplicationMessage,
  createCommit,
  decodeMlsMessage,
  emptyPskIndex,
  encodeGroupState,
  encodeMlsMessage,
  joinGroup,
  processPrivateMessage,
  processPublicMessage
} from 'ts-mls'
import { defaultClientConfig } from 'ts-mls/clientConfig.js'
import { createSecretTree } from 'ts-mls/secretTree.js'
import { type Contender, type ContenderName, timed } from './contender.js'
import { type LargeGroup, type LargeGroupParts, newKeyPackage } from './large-group.js'

const aad = new Uint8Array(120).fill(3)

export class TsMlsContender implements Contender {
  readonly name: ContenderName
  readonly #parts: LargeGroupParts
  readonly #suite: CiphersuiteImpl
  #sender: ClientState
  #receiver: ClientState

  private constructor(
    name: ContenderName,
    parts: LargeGroupParts,
    suite: CiphersuiteImpl,
    sender: ClientState,
    receiver: ClientState
  ) {
    this.name = name
    this.#parts = parts
    this.#suite = suite
    this.#sender = sender
    this.#receiver = receiver
  }

  static async make(name: ContenderName, group: LargeGroup, parts: LargeGroupParts, suite: CiphersuiteImpl) {
    const [sender, receiver] = [await stateOf(group, 0, suite), await stateOf(group, group.size - 1, suite)]
    return new TsMlsContender(name, parts, suite, sender, receiver)
  }

  async messages(plaintextBytes: number, count: number) {
    const plaintext = new Uint8Array(plaintextBytes).fill(5)
    const sent: Uint8Array[] = []
    const encrypt = await timed(async () => {
      for (let i = 0; i < count; i++) {
        const made = await createApplicationMessage(this.#sender, plaintext, this.#suite, aad)
        this.#sender = made.newState
        const { privateMessage } = made
        sent.push(encodeMlsMessage({ version: 'mls10', wireformat: 'mls_private_message', privateMessage }))
      }
    })
    const decrypt = await timed(async () => {
      for (const bytes of sent) {
        const message = decoded(bytes)
        if (message.wireformat !== 'mls_private_message') throw new Error('not a message')
        const result = await processPrivateMessage(this.#receiver, message.privateMessage, emptyPskIndex, this.#suite)
        this.#receiver = result.newState
      }
    })
    return {
      encryptPerSecond: (1000 * count) / encrypt.ms,
      decryptPerSecond: (1000 * count) / decrypt.ms,
      overheadBytes: (sent[0]?.length ?? 0) - plaintextBytes - aad.length
    }
  }

  async update() {
    const create = await timed(async () => {
      const { commit } = await createCommit(
        { state: this.#sender, cipherSuite: this.#suite },
        { wireAsPublicMessage: true }
      )
      return encodeMlsMessage(commit)
    })
    const process = await timed(async () => {
      const message = decoded(create.value)
      if (message.wireformat !== 'mls_public_message') throw new Error('not a commit')
      await processPublicMessage(this.#receiver, message.publicMessage, emptyPskIndex, this.#suite)
    })
    return { createMs: create.ms, processMs: process.ms, observeMs: undefined, commitBytes: create.value.length }
  }

  async join() {
    const own = await newKeyPackage(this.#parts)
    const add = { proposalType: 'add', add: { keyPackage: own.keyPackage } } as const
    const { welcome } = await createCommit(
      { state: this.#sender, cipherSuite: this.#suite },
      { wireAsPublicMessage: true, ratchetTreeExtension: true, extraProposals: [add] }
    )
    if (welcome === undefined) throw new Error('adding a member made no Welcome')
    const bytes = encodeMlsMessage({ version: 'mls10', wireformat: 'mls_welcome', welcome })
    const privateKeys = {
      initPrivateKey: own.secrets.initKey,
      hpkePrivateKey: own.secrets.leafKey,
      signaturePrivateKey: own.signatureKey
    }
    const { ms } = await timed(async () => {
      const message = decoded(bytes)
      if (message.wireformat !== 'mls_welcome') throw new Error('not a Welcome')
      await joinGroup(message.welcome, own.keyPackage, privateKeys, emptyPskIndex, this.#suite)
    })
    return { joinMs: ms, welcomeBytes: bytes.length }
  }

  async stored() {
    return {
      sentBytes: encodeGroupState(this.#sender).length,
      receivedBytes: encodeGroupState(this.#receiver).length
    }
  }
}

function decoded(bytes: Uint8Array) {
  const [message] = decodeMlsMessage(bytes, 0) ?? []
  if (message === undefined) throw new Error('ts-mls does not decode what it encoded')
  return message
}

async function stateOf(group: LargeGroup, leafIndex: number, suite: CiphersuiteImpl): Promise<ClientState> {
  const { context, tree, keySchedule, confirmationTag } = group
  const leaves = (tree.nodes.length + 1) / 2
  return {
    groupContext: context,
    keySchedule,
    secretTree: await createSecretTree(leaves, group.encryptionSecret(), suite.kdf),
    ratchetTree: tree.nodes,
    privatePath: { leafIndex, privateKeys: Object.fromEntries(group.privateKeysOf(leafIndex)) },
    signaturePrivateKey: group.signatureKeyOf(leafIndex),
    unappliedProposals: {},
    confirmationTag,
    historicalReceiverData: new Map(),
    groupActiveState: { kind: 'active' },
    clientConfig: defaultClientConfig
  }
}

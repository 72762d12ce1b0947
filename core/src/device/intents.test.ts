import { describe, expect, it } from 'vitest'
import { equalBytes } from '../bytes.js'
import { createCrypto } from '../crypto/index.js'
import { HeddleError } from '../errors.js'
import { generateKeyPackage, memberIdOf } from '../group/index.js'
import { chainBefore, StateVector } from '../sync/index.js'
import { Role } from '../wire/index.js'
import { worthOf } from './intents.js'
import type { Room } from './room.js'

describe('DEV-021: new keys that nobody asked for', () => {
  it('are given up when another commit was decided first, and those asked for are not', async () => {
    // All that such an intent is judged by.
    const room = { group: { epoch: 5n } } as unknown as Room
    const worth = (sinceEpoch: bigint, automatic: boolean) =>
      worthOf({ $case: 'rotate', value: { sinceEpoch, automatic } }, room)
    expect(await worth(5n, true)).toBe('open')
    expect(await worth(4n, true)).toBe('done')
    expect(await worth(4n, false)).toBe('open')
  })
})

describe('JOIN-003: a key package that waits to be added', () => {
  it('is of no use once its owner was a member, and done while it is one', async () => {
    let made = 0
    const crypto = createCrypto((length) => new Uint8Array(length).fill(++made))
    const groupId = new Uint8Array(16).fill(1)
    const nowMs = 1_700_000_000_000
    const device = { endpointId: new Uint8Array(32), crdtTypes: ['yjs/1'], identity: undefined }
    const { message, signatureKey } = await generateKeyPackage({ crypto, device, nowMs })
    const joiner = memberIdOf(crypto, groupId, crypto.publicKeyOf(signatureKey))
    const worth = async ({ isIn = false, wasIn = false, wrote = false }) => {
      const room = {
        groupId,
        crypto,
        context: { clock: { now: () => nowMs } },
        vector: new StateVector(wrote ? [{ ...chainBefore(joiner), seq: 1n }] : []),
        group: {
          me: { role: Role.ROLE_ADMIN },
          wasMember: (id: Uint8Array) => wasIn && equalBytes(id, joiner),
          public: { member: (id: Uint8Array) => (isIn && equalBytes(id, joiner) ? {} : undefined) }
        }
      } as unknown as Room
      const add = { keyPackage: message, role: Role.ROLE_EDITOR, mailbox: new Uint8Array(16) }
      const outcome = await worthOf({ $case: 'add', value: add }, room)
      return HeddleError.is(outcome) ? outcome.code : outcome
    }
    expect(await worth({})).toBe('open')
    expect(await worth({ isIn: true, wasIn: true, wrote: true })).toBe('done')
    expect(await worth({ wasIn: true })).toBe('INVITE_USED')
    expect(await worth({ wrote: true })).toBe('INVITE_USED')
  })
})

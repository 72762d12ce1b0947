/**
 * This device's messages on their way to one server (SPEC SYNC-006), and whether the server knows more of them than this
 * device does (DEV-008). Called by `following.ts`.
 */
import { equalBytes } from '../bytes.js'
import { HeddleError } from '../errors.js'
import type { DeviceChannel } from '../net/index.js'
import { parseEnvelope } from '../sync/index.js'
import type { ServerStatus } from './api.js'
import type { ServerLink } from './links.js'
import type { Outbox } from './outbox.js'
import type { Room } from './room.js'

const uploadBytesMax = 512 * 1024

/** A server that is being brought what it lacks. */
export interface UploadTarget {
  readonly link: ServerLink
  /** Set while subscribed on this channel. */
  readonly channel: DeviceChannel | undefined
  /** This device's messages up to here were sent to it on this channel. */
  uploadedSeq: bigint
  /** Times in a row that it refused the subscription or an upload, and what it said last. */
  refusals: number
  refusedWith: ServerStatus['lastError'] | undefined
}

/** Uploads until the server has receipted all there is, or the channel is not the target's any more. Throws what it says. */
export async function uploadTo(target: UploadTarget, { groupId }: Room, outbox: Outbox): Promise<void> {
  const { channel, link } = target
  while (channel !== undefined && target.channel === channel) {
    const envelopes = outbox.envelopesAfter(target.uploadedSeq, uploadBytesMax)
    if (envelopes.length === 0) return
    const { value } = await channel.request({ $case: 'upload', value: { group: groupId, envelopes } })
    for (const receipt of value.receipts) outbox.takeReceipt(link.publicKey, receipt)
    const receipted = outbox.receiptedSeq(link.id)
    if (receipted <= target.uploadedSeq) throw new HeddleError('INTERNAL', 'the receipt does not cover the upload')
    target.uploadedSeq = receipted
    target.refusals = 0
    target.refusedWith = undefined
  }
}

/**
 * A server claims messages of this device that it has not sealed: true when it has one with this device's own signature,
 * so that storage was set back, false when that is a lie.
 */
export async function isRolledBack(channel: DeviceChannel, room: Room, ownSeq: bigint): Promise<boolean> {
  const { groupId, group, crypto } = room
  const fromSeq = ownSeq + 1n
  const { value } = await channel.request({
    $case: 'fetch',
    value: { group: groupId, member: group.memberId, fromSeq, max: 1 }
  })
  const [bytes] = value.envelopes
  const envelope = bytes && parseEnvelope(bytes)
  return (
    envelope !== undefined &&
    equalBytes(envelope.header.group, groupId) &&
    equalBytes(envelope.header.member, group.memberId) &&
    envelope.header.seq >= fromSeq &&
    crypto.verify(group.me.signaturePublicKey, envelope.signed, envelope.signature)
  )
}

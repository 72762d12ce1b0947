/** `heddle doc invites|revoke`: the invites of this device that can still be followed, and taking one back. */
import { type Document, HeddleError } from '@heddle/core'
import { Command } from 'commander'
import type { DocInvitesReport } from '../generated/reports.js'
import { type DeviceOptions, refresh, type Surroundings, withDeviceOptions, withDocument } from '../session.js'
import { change } from './doc-change.js'

export function invitesCommand(surroundings: Surroundings): Command {
  const command = new Command('invites')
    .description('print the invites this device has made that can still be followed')
    .argument('<doc>', 'id of the document, or its beginning')
    .action(async (doc: string, options: DeviceOptions) => {
      await withDocument(doc, options, async (document) => {
        const { terminal } = surroundings
        const invites = document.invites()
        if (options.json) return terminal.json<DocInvitesReport>({ document: document.id, invites: [...invites] })
        for (const { id, role, expiresAtMs } of invites)
          terminal.line(`${id} ${role} until ${new Date(expiresAtMs).toISOString()}`)
      })
    })
  return withDeviceOptions(command)
}

export function revokeCommand(surroundings: Surroundings): Command {
  const command = new Command('revoke')
    .description('take an invite of this device back: nobody is added by it any more')
    .argument('<doc>', 'id of the document, or its beginning')
    .argument('<invite>', 'its link, its id as "heddle doc invites" prints it, or the beginning of that')
    .action(async (doc: string, invite: string, options: DeviceOptions) => {
      await change(doc, options, surroundings, async (document, signal) => {
        await document.revokeInvite(findInvite(document, invite))
        // The servers close its mailbox.
        await refresh(document, signal)
        return 'The invite is revoked.'
      })
    })
  return withDeviceOptions(command)
}

/** Throws NOT_FOUND, INVALID. */
function findInvite(document: Document, invite: string): string {
  if (invite.startsWith('heddle:')) return invite
  const [found, another] = document.invites().filter(({ id }) => id.startsWith(invite))
  if (found === undefined) return invite
  if (another !== undefined)
    throw new HeddleError('INVALID', `more than one invite begins with "${invite}"; name more of it`)
  return found.id
}

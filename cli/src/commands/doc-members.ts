/** `heddle doc members|set-role|remove|leave|rotate`: who is in a document, and changing that. */
import { type Document, HeddleError, type RoleName } from '@heddle/core'
import { Argument, Command } from 'commander'
import type { DocLeaveReport, DocMembersReport } from '../generated/reports.js'
import { type DeviceOptions, refresh, type Surroundings, withDeviceOptions, withDocument } from '../session.js'
import { change } from './doc-change.js'

export function membersCommand(surroundings: Surroundings): Command {
  const command = new Command('members')
    .description('print the members of a document and their roles')
    .argument('<doc>', 'id of the document, or its beginning')
    .action(async (doc: string, options: DeviceOptions) => {
      await withDocument(doc, options, async (document) => {
        await refresh(document, surroundings.signal)
        const { terminal } = surroundings
        const members = document.members()
        if (options.json) {
          // What an app claims is bytes that only an app can read.
          const printed = members.map(({ identity: _, ...member }) => member)
          return terminal.json<DocMembersReport>({ document: document.id, members: printed })
        }
        for (const { id, role, isSelf } of members) {
          terminal.line(`${id} ${role}${isSelf ? terminal.paint.dim(' (this device)') : ''}`)
        }
      })
    })
  return withDeviceOptions(command)
}

export function roleCommand(surroundings: Surroundings): Command {
  const command = new Command('set-role')
    .description('give a member another role (admins only)')
    .argument('<doc>', 'id of the document, or its beginning')
    .argument('<member>', 'id of the member, or its beginning')
    .addArgument(new Argument('<role>', 'the new role').choices(['admin', 'editor', 'reader']))
    .action(async (doc: string, member: string, role: RoleName, options: DeviceOptions) => {
      await change(doc, options, surroundings, async (document, signal) => {
        const id = findMember(document, member)
        await document.setRole(id, role, signal)
        return `Member ${id} is ${role} now.`
      })
    })
  return withDeviceOptions(command)
}

export function removeCommand(surroundings: Surroundings): Command {
  const command = new Command('remove')
    .description('remove a member, who can read nothing written from then on (admins only)')
    .argument('<doc>', 'id of the document, or its beginning')
    .argument('<member>', 'id of the member, or its beginning')
    .action(async (doc: string, member: string, options: DeviceOptions) => {
      await change(doc, options, surroundings, async (document, signal) => {
        const id = findMember(document, member)
        await document.remove(id, signal)
        return `Member ${id} is removed.`
      })
    })
  return withDeviceOptions(command)
}

export function rotateCommand(surroundings: Surroundings): Command {
  const command = new Command('rotate')
    .description('renew the keys of this device')
    .argument('<doc>', 'id of the document, or its beginning')
    .action(async (doc: string, options: DeviceOptions) => {
      await change(doc, options, surroundings, async (document, signal) => {
        await document.rotate(signal)
        return 'The keys of this device are new.'
      })
    })
  return withDeviceOptions(command)
}

export function leaveCommand(surroundings: Surroundings): Command {
  const command = new Command('leave')
    .description("leave a document: this device takes no more edits, and an admin's device removes it")
    .argument('<doc>', 'id of the document, or its beginning')
    .option('--no-wait', 'end when enough servers have the request, not when the removal is decided')
    .action(async (doc: string, options: DeviceOptions & { readonly wait: boolean }) => {
      await withDocument(doc, options, async (document) => {
        const { terminal, signal } = surroundings
        await refresh(document, signal)
        const waiting = setTimeout(() => {
          if (!options.json)
            terminal.note(
              "Waiting for an admin's device to come online. Ctrl-C ends the waiting; the leaving itself goes on."
            )
        }, 3000)
        try {
          // Asked for before, it may have been done meanwhile.
          if (document.status().role !== 'removed')
            await document.leave({ until: options.wait ? 'removed' : 'requested' }, signal)
        } finally {
          clearTimeout(waiting)
        }
        const removed = document.status().role === 'removed'
        if (options.json) terminal.json<DocLeaveReport>({ document: document.id, removed })
        else
          terminal.note(removed ? 'This device has left.' : "Asked for; an admin's device does it when it is online.")
      })
    })
  return withDeviceOptions(command)
}

/** Id of the member whose id begins so. Throws NOT_FOUND. */
export function findMember(document: Document, prefix: string): string {
  const found = document.members().filter(({ id }) => id.startsWith(prefix.toLowerCase()))
  const [only, ...others] = prefix === '' ? [] : found
  if (only !== undefined && others.length === 0) return only.id
  const message =
    only === undefined
      ? `document ${document.id} has no member ${prefix}; "heddle doc members" lists them`
      : `${found.length} members begin with ${prefix}; write more of the id`
  throw new HeddleError('NOT_FOUND', message)
}

/** `heddle doc members|role|remove|rotate`: who is in a document, and changing that. */
import { type Document, HeddleError, type RoleName } from '@heddle/core'
import { Argument, Command } from 'commander'
import type { DocChangeReport, DocMembersReport } from '../generated/reports.js'
import { type DeviceOptions, refresh, type Surroundings, withDeviceOptions, withDocument } from '../session.js'

export function membersCommand(surroundings: Surroundings): Command {
  const command = new Command('members')
    .description('print the members of a document and their roles')
    .argument('<doc>', 'id of the document, or its beginning')
    .action(async (doc: string, options: DeviceOptions) => {
      await withDocument(doc, options, async (document) => {
        await refresh(document, surroundings.signal)
        const { terminal } = surroundings
        if (options.json) return terminal.json<DocMembersReport>({ document: document.id, members: document.members() })
        for (const { id, role, isSelf } of document.members()) {
          terminal.line(`${id} ${role}${isSelf ? terminal.paint.dim(' (this device)') : ''}`)
        }
      })
    })
  return withDeviceOptions(command)
}

export function roleCommand(surroundings: Surroundings): Command {
  const command = new Command('role')
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

/** A change of the group waits for a quorum of servers; somebody at a terminal learns when that takes long. */
async function change(
  doc: string,
  options: DeviceOptions,
  surroundings: Surroundings,
  make: (document: Document, signal: AbortSignal) => Promise<string>
): Promise<void> {
  const { terminal, signal } = surroundings
  await withDocument(doc, options, async (document) => {
    await refresh(document, signal)
    const waiting = setTimeout(() => {
      if (!options.json)
        terminal.note(
          'Too few servers answer to decide this; waiting. Ctrl-C ends the waiting, the change itself is kept and goes on whenever the document is open.'
        )
    }, 3000)
    try {
      const done = await make(document, signal)
      if (options.json) terminal.json<DocChangeReport>({ document: document.id, epoch: document.status().epoch })
      else terminal.note(done)
    } finally {
      clearTimeout(waiting)
    }
  })
}

function findMember(document: Document, prefix: string): string {
  const found = document.members().filter(({ id }) => id.startsWith(prefix.toLowerCase()))
  const [only, ...others] = prefix === '' ? [] : found
  if (only !== undefined && others.length === 0) return only.id
  const message =
    only === undefined
      ? `document ${document.id} has no member ${prefix}; "heddle doc members" lists them`
      : `${found.length} members begin with ${prefix}; write more of the id`
  throw new HeddleError('NOT_FOUND', message)
}

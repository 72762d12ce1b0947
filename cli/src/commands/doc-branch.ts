/** `heddle doc branch`: a new document out of one, with those of its members who are there. */
import { Command } from 'commander'
import { parseDuration } from '../duration.js'
import type { DocBranchReport } from '../generated/reports.js'
import { type DeviceOptions, refresh, settle, type Surroundings, withDeviceOptions, withDocument } from '../session.js'
import { findMember } from './doc-members.js'

interface Options extends DeviceOptions {
  readonly member?: readonly string[]
  readonly wait: string
}

/** How long the command waits until the content is on enough servers. */
const settleTimeoutMs = 30_000

export function branchCommand(surroundings: Surroundings): Command {
  const command = new Command('branch')
    .description('begin a new document with the content and members of one, and print its id (admins only)')
    .argument('<doc>', 'id of the document, or its beginning')
    .option('--member <member...>', 'members to ask along, by id or its beginning; default: all')
    .option('--wait <duration>', 'how long their devices have time to answer', '10s')
    .action(async (doc: string, options: Options) => {
      const timeoutMs = parseDuration(options.wait)
      await withDocument(doc, options, async (document) => {
        const { terminal, signal } = surroundings
        await refresh(document, signal)
        const members = options.member?.map((member) => findMember(document, member))
        const branch = await document.branch({ timeoutMs, ...(members === undefined ? {} : { members }) }, signal)
        // Who comes along gets the content from this device: not before that is on the servers may it go.
        await settle(branch, signal, settleTimeoutMs)
        const count = branch.members().length
        if (options.json) {
          const report = { document: document.id, branch: branch.id, member: branch.memberId, members: count }
          return terminal.json<DocBranchReport>(report)
        }
        terminal.line(branch.id)
        terminal.note(`${count} of ${document.members().length} members are in it; invite the others to it.`)
      })
    })
  return withDeviceOptions(command)
}

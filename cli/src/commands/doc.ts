/** `heddle doc`: the group of commands that work on the documents of one device. */
import { Command } from 'commander'
import type { Surroundings } from '../session.js'
import { branchCommand } from './doc-branch.js'
import { createCommand } from './doc-create.js'
import { editCommand } from './doc-edit.js'
import { inviteCommand } from './doc-invite.js'
import { invitesCommand, revokeCommand } from './doc-invites.js'
import { joinCommand } from './doc-join.js'
import { listCommand } from './doc-list.js'
import { leaveCommand, membersCommand, removeCommand, roleCommand, rotateCommand } from './doc-members.js'
import { policyCommand } from './doc-policy.js'
import { addServerCommand, removeServerCommand, replaceServerCommand } from './doc-servers.js'
import { showCommand } from './doc-show.js'
import { statusCommand } from './doc-status.js'
import { verifyCommand } from './doc-verify.js'

export function docCommand(surroundings: Surroundings): Command {
  const doc = new Command('doc').description('create, share, read and edit documents on this device')
  const commands = [
    createCommand,
    inviteCommand,
    invitesCommand,
    revokeCommand,
    joinCommand,
    listCommand,
    showCommand,
    editCommand,
    statusCommand,
    membersCommand,
    verifyCommand,
    roleCommand,
    removeCommand,
    leaveCommand,
    branchCommand,
    rotateCommand,
    addServerCommand,
    removeServerCommand,
    replaceServerCommand,
    policyCommand
  ]
  for (const command of commands) doc.addCommand(command(surroundings))
  return doc.addHelpText(
    'after',
    `
A document is named by its id or the beginning of it. A device is a folder (--data); two
terminals that act as two devices need two folders.

Examples:
  $ heddle doc create --server "$TICKET1" --server "$TICKET2" --server "$TICKET3"
  $ heddle doc edit 3f2a --append "Dear all,"
  $ heddle doc invite 3f2a --role editor --expires 1h --wait
  $ heddle doc join "heddle:…" --data other/device
  $ heddle doc show 3f2a --follow --data other/device`
  )
}

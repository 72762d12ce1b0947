/** `heddle doc status`: connection, epoch, role, and how far the edits of this device have got. */
import { Command } from 'commander'
import type { DocStatusReport } from '../generated/reports.js'
import { type DeviceOptions, refresh, type Surroundings, withDeviceOptions, withDocument } from '../session.js'
import type { Paint } from '../terminal.js'
import { policyLines } from './doc-policy.js'

export function statusCommand(surroundings: Surroundings): Command {
  const command = new Command('status')
    .description('print connection, role, epoch, and how safe the edits of this device are')
    .argument('<doc>', 'id of the document, or its beginning')
    .action(async (doc: string, options: DeviceOptions) => {
      await withDocument(doc, options, async (document) => {
        const { terminal, signal } = surroundings
        await refresh(document, signal)
        const status = document.status()
        if (options.json)
          return terminal.json<DocStatusReport>({ document: document.id, member: document.memberId, ...status })
        const { paint } = terminal
        terminal.line(`document    ${document.id}`)
        terminal.line(`member      ${document.memberId} (${status.role})`)
        if (status.branchOf !== undefined) terminal.line(`branch of   ${status.branchOf}`)
        terminal.line(`suite       ${status.suite}`)
        terminal.line(`epoch       ${status.epoch}, ${document.members().length} members`)
        terminal.line(`connection  ${connection(status.connection, paint)}`)
        for (const { id, address, state, lastError } of status.servers) {
          terminal.line(
            `  ${id.slice(0, 8)} ${address} ${state}${lastError === undefined ? '' : `: ${lastError.message}`}`
          )
        }
        terminal.line(
          `own edits   ${status.unsent} unsent, ${status.unsafe} messages not yet safe, ${status.sent} sent in all`
        )
        terminal.line(`received    ${status.applied} messages applied since it was opened, ${status.waiting} waiting`)
        for (const id of status.divergent) {
          const text = `member ${id} is in another epoch ${status.epoch} than this device: the servers may have led the two apart, or it lies. Nothing is sent from here until it is removed, or this device is`
          terminal.line(paint.red(`split       ${text}`))
        }
        for (const id of status.forked)
          terminal.line(paint.red(`forked      member ${id} signed two chains: nothing more of it is taken; remove it`))
        if (status.lacking > 0)
          terminal.line(
            paint.yellow(
              `lacking     content of ${status.lacking} members that no server has; the others were asked for it`
            )
          )
        if (status.stuck !== undefined)
          terminal.line(paint.red(`stuck       ${status.stuck.recovery}: ${status.stuck.message}`))
        if (status.closed)
          terminal.line(
            paint.red('closed      by an admin, for good: what is edited stays on this device and is not sent')
          )
        const blocked = status.blocked ? '; too few servers answer to decide them' : ''
        if (status.leaving) terminal.line("leaving     asked for; an admin's device removes this one when it is online")
        terminal.line(`changes     ${status.pendingChanges} of the group pending${blocked}`)
        for (const line of policyLines(status.policy)) terminal.line(line)
      })
    })
  return withDeviceOptions(command)
}

function connection(state: 'online' | 'degraded' | 'offline' | 'removed', paint: Paint): string {
  switch (state) {
    case 'online':
      return paint.green('online')
    case 'degraded':
      return paint.yellow('degraded: too few servers answer')
    case 'offline':
      return paint.yellow('offline: edits are kept here until a server answers')
    case 'removed':
      return paint.red('removed: this device is no member any more')
  }
}

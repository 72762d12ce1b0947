/** `heddle doc join`: follows an invite link. */
import { Command } from 'commander'
import type { DocJoinReport } from '../generated/reports.js'
import { type DeviceOptions, refresh, type Surroundings, withDevice, withDeviceOptions } from '../session.js'

export function joinCommand(surroundings: Surroundings): Command {
  const command = new Command('join')
    .description('follow an invite link and print the id of the document')
    .argument('<link>', 'the whole link, from "heddle:" on')
    .action(async (link: string, options: DeviceOptions) => {
      await withDevice(options, async (device) => {
        const { terminal, signal } = surroundings
        const waiting = setTimeout(() => {
          if (!options.json)
            terminal.note(
              'Waiting for a device of the inviter to come online. Ctrl-C stops; the same command goes on later.'
            )
        }, 2000)
        try {
          const document = await device.join(link, signal)
          await refresh(document, signal)
          const { role } = document.status()
          if (options.json) terminal.json<DocJoinReport>({ document: document.id, member: document.memberId, role })
          else terminal.line(document.id)
        } finally {
          clearTimeout(waiting)
        }
      })
    })
  return withDeviceOptions(command)
}

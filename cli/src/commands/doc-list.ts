/** `heddle doc list`: the documents this device has. */
import { Command } from 'commander'
import type { DocListReport } from '../generated/reports.js'
import { type DeviceOptions, type Surroundings, withDevice, withDeviceOptions } from '../session.js'

export function listCommand(surroundings: Surroundings): Command {
  const command = new Command('list')
    .description('print the ids of the documents on this device')
    .action(async (options: DeviceOptions) => {
      await withDevice(options, async (device) => {
        const documents = await device.documents()
        if (options.json) surroundings.terminal.json<DocListReport>({ documents })
        else for (const id of documents) surroundings.terminal.line(id)
      })
    })
  return withDeviceOptions(command)
}

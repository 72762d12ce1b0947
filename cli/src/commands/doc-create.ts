/** `heddle doc create`: makes a document on servers. */
import { HeddleError, type Suite } from '@heddle/core'
import { Command, InvalidArgumentError, Option } from 'commander'
import type { DocCreateReport } from '../generated/reports.js'
import { type DeviceOptions, type Surroundings, withDevice, withDeviceOptions } from '../session.js'

interface Options extends DeviceOptions {
  readonly server: readonly string[]
  readonly tolerate: 0 | 1 | 2
  readonly defaultRole: 'editor' | 'reader'
  readonly suite: Suite
}

export function createCommand(surroundings: Surroundings): Command {
  const command = new Command('create')
    .description('create a document on 1 to 7 servers and print its id')
    .requiredOption('--server <ticket...>', 'servers, as "heddle serve" prints them')
    .option('--tolerate <f>', 'how many servers may lie: 0, 1 (4 or more servers) or 2 (7)', faultBound, 0)
    .addOption(
      new Option('--default-role <role>', 'role of members added without one')
        .choices(['editor', 'reader'])
        .default('editor')
    )
    .addOption(
      new Option('--suite <suite>', 'cipher suite, for good')
        .choices(['x25519', 'x25519-chacha20', 'post-quantum'])
        .default('x25519')
    )
    .action(async (options: Options) => {
      await withDevice(options, async (device) => {
        const { server: servers, tolerate, defaultRole, suite } = options
        if (servers.length < 3 * tolerate + 1) {
          const message = `--tolerate ${tolerate} needs ${3 * tolerate + 1} servers or more; ${servers.length} were given`
          throw new HeddleError('CONFIG_INVALID', message)
        }
        const document = await device.create({ servers, faultBound: tolerate, defaultRole, suite }, surroundings.signal)
        if (options.json)
          surroundings.terminal.json<DocCreateReport>({ document: document.id, member: document.memberId })
        else surroundings.terminal.line(document.id)
      })
    })
  return withDeviceOptions(command)
}

function faultBound(text: string): 0 | 1 | 2 {
  if (text === '0' || text === '1' || text === '2') return Number(text) as 0 | 1 | 2
  throw new InvalidArgumentError('It is 0, 1 or 2.')
}

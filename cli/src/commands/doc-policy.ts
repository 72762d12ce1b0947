/** `heddle doc policy`: what all devices and servers of a document go by, and changing that. */
import type { DocumentPolicy } from '@heddle/core'
import { Command, InvalidArgumentError, Option } from 'commander'
import type { DocPolicyReport } from '../generated/reports.js'
import { type DeviceOptions, refresh, type Surroundings, withDeviceOptions, withDocument } from '../session.js'
import { patiently } from './doc-change.js'

interface Options extends DeviceOptions {
  readonly retainedEpochs?: number
  readonly retainedDays?: number
  readonly removalMode?: DocumentPolicy['removalMode']
  readonly rotationHours?: number
}

export function policyCommand(surroundings: Surroundings): Command {
  const command = new Command('policy')
    .description('print the policy of a document; with options, change it first (admins only)')
    .argument('<doc>', 'id of the document, or its beginning')
    .option('--retained-epochs <n>', 'past epochs whose keys are kept for late messages, 1 to 64', wholeNumber)
    .option('--retained-days <n>', 'days after which they are deleted in any case, 1 to 365', wholeNumber)
    .addOption(
      new Option(
        '--removal-mode <mode>',
        "which of a removed member's last messages count: those others vouch for, or those its remover had"
      ).choices(['vouched', 'strict'])
    )
    .option('--rotation-hours <n>', 'hours after which keys are renewed if nobody did; 0: only when asked', wholeNumber)
    .action(async (doc: string, options: Options) => {
      await withDocument(doc, options, async (document) => {
        const { terminal, signal } = surroundings
        await refresh(document, signal)
        const changes = changesIn(options)
        if (Object.keys(changes).length > 0)
          await patiently(document, () => document.setPolicy(changes, signal), options, surroundings)
        const policy = document.policy()
        if (options.json) return terminal.json<DocPolicyReport>({ document: document.id, policy })
        for (const line of policyLines(policy)) terminal.line(line)
      })
    })
  return withDeviceOptions(command)
}

/** What it means, a line each. */
export function policyLines({ retainedEpochs, retainedDays, removalMode, rotationHours }: DocumentPolicy): string[] {
  return [
    `old keys    kept for ${retainedEpochs} epochs and ${retainedDays} days at most`,
    `new keys    ${rotationHours === 0 ? 'only when asked for' : `after ${rotationHours} hours without a commit`}`,
    `removal     ${removalMode}: of a removed member's last messages those count that ${
      removalMode === 'vouched' ? 'a remaining member vouches for' : 'its remover had'
    }`
  ]
}

function changesIn({ retainedEpochs, retainedDays, removalMode, rotationHours }: Options): Partial<DocumentPolicy> {
  return {
    ...(retainedEpochs !== undefined && { retainedEpochs }),
    ...(retainedDays !== undefined && { retainedDays }),
    ...(removalMode !== undefined && { removalMode }),
    ...(rotationHours !== undefined && { rotationHours })
  }
}

function wholeNumber(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text)
  throw new InvalidArgumentError('It is a whole number.')
}

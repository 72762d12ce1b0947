/** `heddle doc show`: prints the text of a document and, with --follow, what is edited in it from then on. */
import { Command } from 'commander'
import type { DocShowReport } from '../generated/reports.js'
import {
  type DeviceOptions,
  eventually,
  refresh,
  type Surroundings,
  textOf,
  withDeviceOptions,
  withDocument
} from '../session.js'
import { printChanges } from '../text-changes.js'

interface Options extends DeviceOptions {
  readonly follow?: true
}

export function showCommand(surroundings: Surroundings): Command {
  const command = new Command('show')
    .description('print the text of a document')
    .argument('<doc>', 'id of the document, or its beginning')
    .option('--follow', 'stay, and show what others insert and delete')
    .action(async (doc: string, options: Options) => {
      await withDocument(doc, options, async (document) => {
        const { terminal, signal } = surroundings
        const reached = await refresh(document, signal)
        const text = textOf(document)
        const content = text.toString()
        if (options.json)
          terminal.json<DocShowReport>({ document: document.id, text: content, epoch: document.status().epoch })
        else terminal.write(content === '' || content.endsWith('\n') ? content : `${content}\n`)
        if (!reached && !options.json) terminal.note('No server answers: this is what this device has.')
        if (!options.follow) return
        const changes = printChanges(text, terminal, options.json === true)
        const branches = document.subscribe((event) => {
          if (event.type === 'branch' && event.joined && !options.json)
            terminal.note(`Member ${event.by} has begun a branch; this device has it: ${event.documentId}`)
        })
        try {
          await eventually(document, (event) => event?.type === 'removed', signal)
          if (!options.json) terminal.note('This device was removed from the document; nothing more comes.')
        } catch (cause) {
          // Ctrl-C is how following ends.
          if (!signal.aborted) throw cause
        } finally {
          branches[Symbol.dispose]()
          changes[Symbol.dispose]()
        }
      })
    })
  return withDeviceOptions(command)
}

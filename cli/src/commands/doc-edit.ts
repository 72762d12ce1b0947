/**
 * `heddle doc edit`: one change given on the command line, or live: lines typed are appended while others' changes are
 * shown.
 */
import { createInterface } from 'node:readline'
import { HeddleError } from '@heddle/core'
import { Command } from 'commander'
import type * as Y from 'yjs'
import type { DocEditReport } from '../generated/reports.js'
import type { YDocument } from '../device.js'
import {
  type DeviceOptions,
  refresh,
  settle,
  type Surroundings,
  textOf,
  withDeviceOptions,
  withDocument
} from '../session.js'
import { printChanges } from '../text-changes.js'

interface Options extends DeviceOptions {
  readonly append?: string
  readonly insert?: readonly string[]
  readonly delete?: readonly string[]
}

/** How long a single change waits for the servers before the command leaves it to the next one. */
const settleTimeoutMs = 10_000

export function editCommand(surroundings: Surroundings): Command {
  const command = new Command('edit')
    .description('change the text of a document; without a change given, append the lines you type, live')
    .argument('<doc>', 'id of the document, or its beginning')
    .option('--append <text>', 'add text at the end')
    .option('--insert <pos-text...>', 'insert at a position: --insert 0 "Dear all, "')
    .option('--delete <pos-count...>', 'delete from a position: --delete 0 10')
    .action(async (doc: string, options: Options) => {
      const change = parseChange(options)
      await withDocument(doc, options, async (document) => {
        const reached = await refresh(document, surroundings.signal)
        if (document.status().role === 'reader') {
          const message = 'this device may only read the document; ask an admin for the role of an editor'
          throw new HeddleError('FORBIDDEN', message)
        }
        if (document.status().leaving) {
          const message = 'this device is leaving the document and takes no more edits'
          throw new HeddleError('FORBIDDEN', message)
        }
        if (change === undefined) await editLive(document, options, surroundings)
        else await editOnce(document, change, reached, options, surroundings)
      })
    })
  return withDeviceOptions(command)
}

/** Changes the text, and returns what it did. Throws CONFIG_INVALID when the position lies outside. */
type Change = (text: Y.Text) => void

function parseChange({ append, insert, delete: remove }: Options): Change | undefined {
  if ([append, insert, remove].filter((option) => option !== undefined).length > 1) {
    throw new HeddleError('CONFIG_INVALID', 'give one of --append, --insert and --delete')
  }
  if (append !== undefined) return (text) => text.insert(text.length, append)
  if (insert !== undefined) {
    const [position = '', content, ...rest] = insert
    const at = count(position, '--insert takes a position and a text, like --insert 0 "Dear all, "')
    if (content === undefined || rest.length > 0) {
      throw new HeddleError('CONFIG_INVALID', '--insert takes a position and a text; put the text in quotes')
    }
    return (text) => {
      checkInside(at, text)
      text.insert(at, content)
    }
  }
  if (remove === undefined) return undefined
  const usage = '--delete takes a position and a number of characters, like --delete 0 10'
  const [from = '', length = '', ...rest] = remove
  if (rest.length > 0) throw new HeddleError('CONFIG_INVALID', usage)
  const [at, characters] = [count(from, usage), count(length, usage)]
  return (text) => {
    checkInside(at + characters, text)
    text.delete(at, characters)
  }
}

function count(text: string, usage: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text)
  throw new HeddleError('CONFIG_INVALID', usage)
}

function checkInside(position: number, text: Y.Text): void {
  if (position <= text.length) return
  throw new HeddleError(
    'CONFIG_INVALID',
    `position ${position} lies behind the end: the text has ${text.length} characters`
  )
}

async function editOnce(
  document: YDocument,
  change: Change,
  reached: boolean,
  options: Options,
  { terminal, signal }: Surroundings
): Promise<void> {
  change(textOf(document))
  const safe = await settle(document, signal, reached ? settleTimeoutMs : 0)
  if (options.json) {
    terminal.json<DocEditReport>({
      document: document.id,
      level: safe ? 'safe' : 'stored',
      length: textOf(document).length
    })
  } else if (safe) {
    terminal.note('Saved here and on enough servers.')
  } else {
    terminal.note('Saved here; too few servers answer, it is sent the next time this document is open and they do.')
  }
}

async function editLive(
  document: YDocument,
  options: Options,
  { terminal, signal, stdin }: Surroundings
): Promise<void> {
  const text = textOf(document)
  const json = options.json === true
  if (!json) {
    terminal.write(text.toString())
    terminal.note(terminal.paint.dim('Type lines to append them; others’ changes show as they come. Ctrl-D ends.'))
  }
  const changes = printChanges(text, terminal, json)
  const lines = createInterface({ input: stdin, signal })
  try {
    for await (const line of lines) {
      const gap = text.length > 0 && !text.toString().endsWith('\n') ? '\n' : ''
      text.insert(text.length, `${gap}${line}\n`)
    }
  } finally {
    lines.close()
    changes[Symbol.dispose]()
  }
  const safe = await settle(document, new AbortController().signal, settleTimeoutMs)
  if (json)
    terminal.json<DocEditReport>({ document: document.id, level: safe ? 'safe' : 'stored', length: text.length })
  else terminal.note(safe ? 'Saved here and on enough servers.' : 'Saved here; the servers get it the next time.')
}

/**
 * What the `doc` commands have in common: opening the device of the data folder, finding the document somebody means,
 * waiting until it is up to date. Called by the files in `commands/`.
 */
import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { type Document, type DocumentEvent, HeddleError } from '@heddle/core'
import type { Command } from 'commander'
import type * as Y from 'yjs'
import { openDevice, type YDevice, type YDocument } from './device.js'
import type { Terminal } from './terminal.js'

/** What every command gets besides its own arguments. */
export interface Surroundings {
  readonly terminal: Terminal
  /** Aborts on Ctrl-C and SIGTERM. */
  readonly signal: AbortSignal
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean }
}

export interface DeviceOptions {
  readonly data: string
  readonly json?: true
}

/** Name of the Y.Text that `heddle doc` shows and edits. */
export const textName = 'text'

export const textOf = (document: YDocument): Y.Text => document.native.getText(textName)

/** The options of every `doc` command. */
export function withDeviceOptions(command: Command): Command {
  return command
    .option('--data <dir>', 'folder of this device; one process at a time uses it', '.heddle/device')
    .option('--json', 'print one JSON object a line')
}

/** Opens the device, lets `use` work with it and closes it, whatever happens. */
export async function withDevice<T>({ data }: DeviceOptions, use: (device: YDevice) => Promise<T>): Promise<T> {
  const device = await openDevice({ path: data })
  try {
    return await use(device)
  } finally {
    await device[Symbol.asyncDispose]()
  }
}

/** The same with a document that the device has; `id` may be the beginning of its id. */
export async function withDocument<T>(
  id: string,
  options: DeviceOptions,
  use: (document: YDocument, device: YDevice) => Promise<T>
): Promise<T> {
  // Without this, a mistyped folder would become a new and empty device.
  await access(join(options.data, 'store')).catch((cause: unknown) => {
    const message = `there is no device in ${options.data}; name its folder with --data, or run "heddle doc create" or "heddle doc join" first`
    throw new HeddleError('CONFIG_INVALID', message, { cause })
  })
  return await withDevice(options, async (device) => {
    const document = await device.open(await findDocument(id, device, options.data))
    return await use(document, device)
  })
}

async function findDocument(id: string, device: YDevice, data: string): Promise<string> {
  const documents = await device.documents()
  const found = documents.filter((known) => known.startsWith(id.toLowerCase()))
  const [only, ...others] = id === '' ? [] : found
  if (only !== undefined && others.length === 0) return only
  const known = documents.length === 0 ? 'it has none' : `it has ${documents.join(', ')}`
  const message =
    only === undefined
      ? `the device in ${data} has no document ${id}; ${known}`
      : `${found.length} documents begin with ${id}; write more of the id`
  throw new HeddleError('NOT_FOUND', message)
}

/** setTimeout takes 31 bits: a longer delay would fire at once. */
const timerDelayMsMax = 2 ** 31 - 1

/** Resolves true when the condition holds, false after `timeoutMs`. Looks again at every event. Throws when aborted. */
export async function eventually(
  document: Document,
  condition: (event?: DocumentEvent) => boolean,
  signal: AbortSignal,
  timeoutMs?: number
): Promise<boolean> {
  signal.throwIfAborted()
  if (condition()) return true
  return await new Promise<boolean>((resolve, reject) => {
    const finish = (settle: () => void) => {
      subscription[Symbol.dispose]()
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
      settle()
    }
    const onAbort = () => finish(() => reject(signal.reason))
    const subscription = document.subscribe((event) => {
      if (condition(event)) finish(() => resolve(true))
    })
    const timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(() => finish(() => resolve(false)), Math.min(timeoutMs, timerDelayMsMax))
    signal.addEventListener('abort', onAbort, { once: true })
  })
}

/** Nothing new for so long after a server answered: what the servers have has most likely arrived. */
const quietMs = 300

/**
 * Waits until what the servers have has arrived, for at most `timeoutMs`. False when no server answered in that time:
 * then the document is as this device left it.
 */
export async function refresh(document: Document, signal: AbortSignal, timeoutMs = 5000): Promise<boolean> {
  const deadlineMs = performance.now() + timeoutMs
  const reached = () => ['online', 'degraded', 'removed'].includes(document.status().connection)
  if (!(await eventually(document, reached, signal, timeoutMs))) return false
  let news = true
  while (news && performance.now() < deadlineMs) {
    news = await eventually(document, (event) => event?.type === 'applied' || event?.type === 'epoch', signal, quietMs)
  }
  return true
}

/** Waits until local edits are on enough servers, for at most `timeoutMs`. False when that was too short. */
export async function settle(document: Document, signal: AbortSignal, timeoutMs: number): Promise<boolean> {
  await document.settled('stored', signal)
  const timeout = AbortSignal.timeout(timeoutMs)
  try {
    await document.settled('safe', AbortSignal.any([signal, timeout]))
    return true
  } catch (cause) {
    if (timeout.aborted && !signal.aborted) return false
    throw cause
  }
}

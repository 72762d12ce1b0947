/**
 * One who edits, as a process of its own: with a Heddle device (LMDB in a folder, WebSocket), or with a bare Y.Doc whose
 * updates go through the relay. Typing and watching are the same code for both.
 */
import { once } from 'node:events'
import { openDevice, type YDevice, type YDocument } from 'heddle'
import { WebSocket } from 'ws'
import * as Y from 'yjs'
import { readTraceEdits } from '../trace-file.js'
import { clockOf, scattered, type Typed, type TypedPaced, textOf, typeFast, typePaced } from '../typing.js'
import { nowMs, serveCalls } from './calls.js'
import { logToStderr } from './log.js'

/** What this process has sent so far. */
export interface Sent {
  readonly messages: number
  readonly bytes: number
}

/** When the document had reached a clock of the watched client. */
export interface Arrivals {
  readonly clocks: Float64Array
  readonly atMs: Float64Array
}

interface Editing {
  readonly doc: Y.Doc
  sent(): Sent
}

/** Edits of a long history between two looks at whether the device has stored what it was given. */
const strideEdits = 256

let device: YDevice | undefined
let document: YDocument | undefined
let editing: Editing | undefined
let arrivals: { readonly clocks: number[]; readonly atMs: number[] } = { clocks: [], atMs: [] }

const calls = {
  // ── Opening ────────────────────────────────────────────────────────────────────────────────────────────────────────

  async openDevice({ path }: { readonly path: string }): Promise<void> {
    device = await openDevice({ path, log: logToStderr })
  },

  async create({ servers }: { readonly servers: readonly string[] }): Promise<{ readonly document: string }> {
    return { document: edit(await opened().create({ servers })).id }
  },

  async invite(_: Nothing): Promise<string> {
    return await current().invite()
  },

  async join({ link }: { readonly link: string }): Promise<void> {
    edit(await opened().join(link))
  },

  async open({ document: id }: { readonly document: string }): Promise<void> {
    edit(await opened().open(id))
  },

  async connectRelay({ url }: { readonly url: string }): Promise<void> {
    const socket = new WebSocket(url, { perMessageDeflate: false })
    const doc = new Y.Doc()
    let messages = 0
    let bytes = 0
    doc.on('update', (update: Uint8Array, origin: unknown) => {
      if (origin === socket) return
      messages++
      bytes += update.length
      socket.send(update)
    })
    socket.on('message', (data: Buffer) => Y.applyUpdate(doc, data, socket))
    await once(socket, 'open')
    editing = { doc, sent: () => ({ messages, bytes }) }
  },

  async close(_: Nothing): Promise<void> {
    await device?.[Symbol.asyncDispose]()
  },

  // ── Typing ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  async typeFast({ edits }: { readonly edits: number }): Promise<Typed> {
    return await typeFast(doc(), edits)
  },

  async typePaced({ edits, perSecond }: { readonly edits: number; readonly perSecond: number }): Promise<TypedPaced> {
    return await typePaced(doc(), edits, perSecond)
  },

  /** Fills the document as fast as it goes, within one transaction or an edit at a time. */
  async fill({ edits, seed, atOnce }: { edits: number; seed: number; atOnce: boolean }): Promise<void> {
    const typing = scattered(doc(), edits, seed)
    if (atOnce) doc().transact(() => [...typing])
    else for (const _ of typing) await new Promise((resolve) => setImmediate(resolve))
  },

  /** Replays a recorded history; resolves with how many edits it has. */
  async replay({ path, editsMax }: { path: string; editsMax: number }): Promise<Typed & { readonly edits: number }> {
    const edits = (await readTraceEdits(path)).slice(0, editsMax)
    const text = textOf(doc())
    const client = doc().clientID
    const firstClock = clockOf(doc(), client) + 1
    const startedMs = nowMs()
    for (const [i, { at, remove, insert }] of edits.entries()) {
      doc().transact(() => {
        if (remove > 0) text.delete(at, remove)
        if (insert !== '') text.insert(at, insert)
      })
      await new Promise((resolve) => setImmediate(resolve))
      if (i % strideEdits === 0) await document?.settled('stored')
    }
    const lastClock = clockOf(doc(), client)
    return { client, firstClock, lastClock, startedMs, endedMs: nowMs(), edits: edits.length }
  },

  // ── Watching ───────────────────────────────────────────────────────────────────────────────────────────────────────

  async settled({ level }: { readonly level: 'stored' | 'safe' }): Promise<{ readonly atMs: number }> {
    await current().settled(level)
    return { atMs: nowMs() }
  },

  /** Resolves when the document contains the client's edits up to this clock. */
  async awaitClock({ client, clock }: { readonly client: number; readonly clock: number }): Promise<{ atMs: number }> {
    await reached(doc(), () => clockOf(doc(), client) >= clock)
    return { atMs: nowMs() }
  },

  /** Notes from now on when the client's edits come in. */
  async watch({ client }: { readonly client: number }): Promise<void> {
    const seen = { clocks: [] as number[], atMs: [] as number[] }
    arrivals = seen
    let last = clockOf(doc(), client)
    doc().on('afterTransaction', ({ afterState }: Y.Transaction) => {
      const clock = afterState.get(client) ?? 0
      if (clock === last) return
      last = clock
      seen.clocks.push(clock)
      seen.atMs.push(nowMs())
    })
  },

  async arrivals(_: Nothing): Promise<Arrivals> {
    return { clocks: Float64Array.from(arrivals.clocks), atMs: Float64Array.from(arrivals.atMs) }
  },

  /** As whom this process writes, and how far it has come. */
  async position(_: Nothing): Promise<{ readonly client: number; readonly clock: number }> {
    const { clientID: client } = doc()
    return { client, clock: clockOf(doc(), client) }
  },

  async text(_: Nothing): Promise<string> {
    return textOf(doc()).toString()
  },

  async sent(_: Nothing): Promise<Sent> {
    return editing?.sent() ?? { messages: 0, bytes: 0 }
  },

  // ── Cold starts ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** From a closed folder to the whole text. */
  async measureReopen({ path, document: id }: { path: string; document: string }): Promise<Loaded> {
    const startedMs = nowMs()
    device = await openDevice({ path, log: logToStderr })
    const { native } = edit(await device.open(id))
    const text = textOf(native).toString()
    return { ms: nowMs() - startedMs, text }
  },

  /** From an empty folder and an invite to a text of this length. */
  async measureJoin({ path, link, length }: { path: string; link: string; length: number }): Promise<Loaded> {
    const startedMs = nowMs()
    device = await openDevice({ path, log: logToStderr })
    const { native } = edit(await device.join(link))
    await reached(native, () => textOf(native).length >= length)
    const text = textOf(native).toString()
    return { ms: nowMs() - startedMs, text }
  },

  /** What yjs alone needs for the same edits as `fill`: one update each, applied within one transaction. */
  async measureYjs({ edits, seed }: { readonly edits: number; readonly seed: number }): Promise<Loaded> {
    const source = new Y.Doc()
    const updates: Uint8Array[] = []
    source.on('update', (update: Uint8Array) => updates.push(update))
    for (const _ of scattered(source, edits, seed)) {
      // Each edit is a transaction and so an update.
    }
    const startedMs = nowMs()
    const target = new Y.Doc()
    target.transact(() => {
      for (const update of updates) Y.applyUpdate(target, update)
    })
    const text = textOf(target).toString()
    return { ms: nowMs() - startedMs, text }
  },

  /** Renews the keys so many times, one after another; milliseconds each took until it was decided. */
  async measureCommits({ count }: { readonly count: number }): Promise<Float64Array> {
    const took = new Float64Array(count)
    for (let i = 0; i < count; i++) {
      const startedMs = nowMs()
      await current().rotate()
      took[i] = nowMs() - startedMs
    }
    return took
  }
}

export interface Loaded {
  readonly ms: number
  readonly text: string
}
type Nothing = Readonly<Record<never, never>>
export type PeerCalls = typeof calls

serveCalls(calls, async () => device?.[Symbol.asyncDispose]())

function edit(opened: YDocument): YDocument {
  document = opened
  opened.subscribe((event) => {
    if (event.type === 'problem') process.stderr.write(`problem ${event.error.code}: ${event.error.message}\n`)
  })
  editing = {
    doc: opened.native,
    sent: () => ({ messages: opened.status().sent, bytes: sealedBytesOf(opened) })
  }
  return opened
}

function opened(): YDevice {
  if (device === undefined) throw new Error('the device is not open')
  return device
}

function current(): YDocument {
  if (document === undefined) throw new Error('no document is open')
  return document
}

function doc(): Y.Doc {
  if (editing === undefined) throw new Error('there is nothing to edit')
  return editing.doc
}

/** Resolves after the first transaction that makes the condition true. */
async function reached(doc: Y.Doc, condition: () => boolean): Promise<void> {
  if (condition()) return
  await new Promise<void>((resolve) => {
    const look = () => {
      if (!condition()) return
      doc.off('afterTransaction', look)
      resolve()
    }
    doc.on('afterTransaction', look)
  })
}

/** The open document counts them; the API for apps has no use for that number. */
function sealedBytesOf(opened: YDocument): number {
  const { sealedBytes } = opened as { readonly sealedBytes?: unknown }
  if (typeof sealedBytes === 'number') return sealedBytes
  throw new Error('this core does not count the bytes it seals')
}

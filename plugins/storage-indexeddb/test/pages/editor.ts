/** A page with a text field on a document: a whole device in the browser, as an app has it. */
import { type Device, type Document, type DocumentEvent, openDevice, startPlugins, systemContext } from '@heddle/core'
import { yjs } from '@heddle/crdt-yjs'
import { indexedDbStorage } from '@heddle/storage-indexeddb'
import { websocket } from '@heddle/transport-websocket'
import type { Doc, Text } from 'yjs'

const context = systemContext()
const field = document.createElement('textarea')
field.rows = 8
field.cols = 60
const state = document.createElement('p')
document.body.append(field, state)

const device: Promise<Device> = start()
let open: Document<Doc> | undefined
const problems: string[] = []

/** With "#one-tab" in its address, the page waits until no other tab has the device, and keeps it until it is left. */
async function start(): Promise<Device> {
  if (location.hash === '#one-tab') {
    await new Promise<void>((resolve) => {
      void navigator.locks.request('editor device', () => {
        resolve()
        return new Promise<never>(() => undefined)
      })
    })
  }
  const config = { crdts: [yjs()], storage: indexedDbStorage({ name: 'editor' }), transports: [websocket()] }
  const plugins = await startPlugins(config, context)
  return openDevice({
    context,
    storage: plugins.storage.instance,
    transports: plugins.transports.map(({ instance }) => instance),
    crdts: [...plugins.crdts.values()].map(({ instance }) => instance)
  })
}

function show(doc: Document): void {
  open = doc as Document<Doc>
  const { native } = open
  const text = native.getText('text')
  const refresh = () => {
    if (field.value !== text.toString()) field.value = text.toString()
  }
  text.observe(refresh)
  field.oninput = () => edit(text, field.value)
  const tell = (event?: DocumentEvent) => {
    if (event?.type === 'problem') problems.push(`${event.error.code}: ${event.error.message}`)
    const { connection, epoch, unsafe, unsent } = doc.status()
    state.textContent = `${connection}, epoch ${epoch}, ${unsent + unsafe} edits not safe yet`
  }
  doc.subscribe(tell)
  refresh()
  tell()
}

/** Makes the text what the field holds, by one deletion and one insertion where they differ. */
function edit(text: Text, after: string): void {
  const before = text.toString()
  let start = 0
  while (start < Math.min(before.length, after.length) && before[start] === after[start]) start += 1
  let same = 0
  const most = Math.min(before.length, after.length) - start
  while (same < most && before.at(-1 - same) === after.at(-1 - same)) same += 1
  text.doc?.transact(() => {
    text.delete(start, before.length - start - same)
    text.insert(start, after.slice(start, after.length - same))
  })
}

function shown(): Document<Doc> {
  if (open === undefined) throw new Error('the page shows no document')
  return open
}

const remote = {
  async create(servers: readonly string[]): Promise<string> {
    const doc = await (await device).create({ servers })
    show(doc)
    return doc.id
  },
  /** Opens what the storage holds and returns its text as it is before anything else can happen. */
  async reopen(): Promise<{ readonly ids: readonly string[]; readonly text: string }> {
    const ids = await (await device).documents()
    show(await (await device).open(ids[0] ?? ''))
    return { ids, text: shown().native.getText('text').toString() }
  },
  settled: (level: 'stored' | 'sent' | 'safe') => shown().settled(level),
  invite: () => shown().invite(),
  connection: () => shown().status().connection,
  problems: () => problems
}
export type EditorPage = typeof remote
Object.assign(globalThis, { remote })

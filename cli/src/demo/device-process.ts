/**
 * A person's device in the demo, as a process of its own: an ordinary device on LMDB and WebSocket, with a gate in front
 * of the network. The orchestrator (`story.ts`) says what it does and asks what it holds; `DeviceCalls` is all it can say.
 */
import { readFile } from 'node:fs/promises'
import {
  type Device,
  type Document,
  type DocumentEvent,
  disposeAll,
  HeddleError,
  openDevice,
  type RoleName,
  startPlugins,
  systemContext
} from '@heddle/core'
import { yjs } from '@heddle/crdt-yjs'
import { lmdbStorage } from '@heddle/storage-lmdb'
import { iroh } from '@heddle/transport-iroh'
import { websocket } from '@heddle/transport-websocket'
import * as Y from 'yjs'
import type { Edit } from './edit.js'
import type { ArrivalMark, Content, Marks } from './evidence.js'
import { GatedTransport } from './gate.js'
import { logToParent, reportProgress, serveCalls } from './ipc.js'
import { Desk, layOut, textName, type Writer } from './layout.js'
import { contentOf, Ledger, preciseNow } from './ledger.js'
import { interleave, type Step, type Typed, typeFast, typePaced } from './plan.js'
import { notAMember, sniff } from './sniff.js'
import { readTrace, type Trace } from './trace.js'
import { tinker, typeText } from './typist.js'

/** What a writer types: a text with a seed, or a recorded history; and what goes into the shared passage. */
export interface PlanSource {
  readonly writer: Writer
  readonly seed: number
  /** File of the text that is typed, and of the sequential history that is replayed instead, if any. */
  readonly text: string
  readonly history: string | undefined
  readonly sharedEdits: number
  /** Only so much of the text, cut between words. */
  readonly charactersMax: number
}

export interface PlanSummary {
  readonly steps: number
  /** What the writer's section is in the end. */
  readonly outcome: string
}

export interface TypedPart extends Typed {
  readonly startedMs: number
  readonly endedMs: number
}

/** Everything a device can testify. */
export interface Testimony {
  readonly text: string
  readonly content: Content
  readonly marks: Marks
  readonly arrivals: readonly ArrivalMark[]
  readonly messages: number
  readonly sealedBytes: number
  readonly problems: readonly string[]
}

/** Of the addresses a process uses. */
export type Scheme = 'ws' | 'iroh'

/** What came over the wire since the device was opened, counted by `sniff.ts`. */
export interface SeenOnWire {
  readonly subscribes: number
  readonly subscribed: number
  readonly delivers: number
  readonly refusals: number
}

export interface DeviceState {
  readonly epoch: number
  readonly connection: string
}

interface Session {
  readonly device: Device
  readonly gate: GatedTransport
  readonly opened: readonly AsyncDisposable[]
  document: Document<Y.Doc> | undefined
  ledger: Ledger | undefined
  steps: readonly Step[]
  desk: Desk | undefined
}

/** Edits of the fast part between two looks at whether the device has stored what it was given. */
const strideEdits = 256
/** Between two lines of progress that nothing but an event caused. */
const reportIntervalMs = 100

/** Calls go on until they are done or the process is ended. */
const never = new AbortController().signal
const nothingSeen: SeenOnWire = { subscribes: 0, subscribed: 0, delivers: 0, refusals: 0 }
const wire = { ...nothingSeen }
const problems: string[] = []
let stepsTyped = 0
let reportedMs = 0
const looks = new Set<() => void>()
let session: Session | undefined

interface DeviceStart {
  readonly path: string
  readonly scheme: Scheme
  readonly onlyServers?: readonly string[]
}

const calls = {
  /** `scheme`: of the transport it has; `onlyServers`: addresses the device can reach, without it all. */
  async open({ path, scheme, onlyServers }: DeviceStart): Promise<void> {
    const context = systemContext({ log: logToParent })
    const plugins = await startPlugins(
      { crdts: [yjs()], storage: lmdbStorage({ path }), transports: [scheme === 'iroh' ? iroh() : websocket()] },
      context
    )
    const [transport] = plugins.transports
    if (transport === undefined) throw new HeddleError('INTERNAL', 'the device has no transport')
    const gate = new GatedTransport(transport.instance, countFrame)
    if (onlyServers !== undefined) await gate.closeGate(onlyServers)
    const crdts = [...plugins.crdts.values()].map(({ instance }) => instance)
    const device = await openDevice({ storage: plugins.storage.instance, transports: [gate], crdts, context })
    const opened = [plugins, device]
    Object.assign(wire, nothingSeen)
    session = { device, gate, opened, document: undefined, ledger: undefined, steps: [], desk: undefined }
  },

  /** Creates the document with headings and the shared passage. */
  async create({
    servers,
    sharedFile
  }: {
    servers: readonly string[]
    sharedFile: string
  }): Promise<{ document: string }> {
    const shared = await readFile(sharedFile, 'utf8')
    const document = attach(await current().device.create({ servers }))
    layOut(document.native.getText(textName), shared.trimEnd())
    return { document: document.id }
  },

  async join({ link }: { link: string }): Promise<{ document: string; member: string }> {
    const document = attach(await current().device.join(link))
    return { document: document.id, member: document.memberId }
  },

  async reopen({ document: id }: { document: string }): Promise<void> {
    attach(await current().device.open(id))
  },

  async invite({ role }: { role: RoleName }): Promise<string> {
    return await document().invite({ role, expiresInMs: 60_000 })
  },

  /** Decides what will be typed. */
  async plan({ writer, seed, text, history, sharedEdits, charactersMax }: PlanSource): Promise<PlanSummary> {
    const opened = current()
    const content = beginningOf((await readFile(text, 'utf8')).trimEnd(), charactersMax)
    const trace = history === undefined ? undefined : await readTrace(history)
    const own = trace === undefined ? typeText(content, seed) : replayOf(trace)
    opened.steps = interleave(own, tinker(content, seed + 1000, sharedEdits))
    opened.desk = new Desk(document().native, writer)
    return { steps: opened.steps.length, outcome: trace?.endContent ?? content }
  },

  /** Makes the steps from `from` to `to` of the plan, at a pace or as fast as the device takes them in. */
  async type({ from, to, perSecond }: { from: number; to: number; perSecond?: number }): Promise<TypedPart> {
    const { steps, desk } = current()
    if (desk === undefined) throw new HeddleError('INTERNAL', 'there is no plan to type')
    const make = (step: Step): boolean => {
      if (++stepsTyped % 100 === 0) reportProgress(`typed ${stepsTyped}, up to ${to}, ${stateText()}`, stepsTyped)
      if (step.kind === 'shared') return desk.editShared(step.edit)
      desk.edit(step.edit)
      return true
    }
    const part = steps.slice(from, to)
    const startedMs = preciseNow()
    const stored = () => document().settled('stored')
    const typed =
      perSecond === undefined
        ? await typeFast(part, make, strideEdits, stored, never)
        : await typePaced(part, make, perSecond, never)
    reportProgress(`typed all up to ${to}, ${stateText()}`, stepsTyped)
    return { ...typed, startedMs, endedMs: preciseNow() }
  },

  /** Adds a line to the notes at the end. */
  async note({ line }: { line: string }): Promise<void> {
    const { desk } = current()
    if (desk === undefined) throw new HeddleError('INTERNAL', 'there is no plan, so no place to write')
    desk.note(line)
  },

  async rotate(_: Nothing): Promise<void> {
    await document().rotate()
  },

  async remove({ member }: { member: string }): Promise<void> {
    await document().remove(member)
  },

  /** Cuts the network off; resolves when the document says so too. */
  async goOffline(_: Nothing): Promise<void> {
    await current().gate.closeGate()
    await until(() => document().status().connection === 'offline')
  },

  async settled({ level }: { level: 'stored' | 'sent' | 'safe' }): Promise<void> {
    await document().settled(level)
  },

  /** How far the document contains what each Yjs client wrote. */
  async clocks(_: Nothing): Promise<ReadonlyMap<number, number>> {
    return clocksOf(document())
  },

  /** Resolves when the document contains everything below these clocks. */
  async awaitContent({ clocks }: { clocks: ReadonlyMap<number, number> }): Promise<void> {
    await until(() => {
      const reached = clocksOf(document())
      return [...clocks].every(([client, clock]) => (reached.get(client) ?? 0) >= clock)
    })
  },

  /** Resolves when so many servers are connected. */
  async awaitServers({ count, exactly = false }: { count: number; exactly?: boolean }): Promise<void> {
    await until(() => (exactly ? connectedServers(document()) === count : connectedServers(document()) >= count))
  },

  async awaitRemoved(_: Nothing): Promise<void> {
    await until(() => document().status().role === 'removed')
  },

  /** Resolves when a server has said that this device is no member. */
  async awaitRefusal(_: Nothing): Promise<void> {
    await until(() => wire.refusals > 0)
  },

  async state(_: Nothing): Promise<DeviceState> {
    const { epoch, connection } = document().status()
    return { epoch: Number(epoch), connection }
  },

  async self(_: Nothing): Promise<{ member: string }> {
    return { member: document().memberId }
  },

  async testify(_: Nothing): Promise<Testimony> {
    const { ledger } = current()
    const { native } = document()
    return {
      text: native.getText(textName).toString(),
      content: contentOf(native),
      marks: ledger?.marks() ?? { inserts: [], deletes: [] },
      arrivals: ledger?.arrivals() ?? [],
      messages: document().status().sent,
      sealedBytes: sealedBytesOf(document()),
      problems
    }
  },

  async seenOnWire(_: Nothing): Promise<SeenOnWire> {
    return { ...wire }
  },

  /** Closes the device in order; the process ends when the orchestrator lets go of it. */
  async close(_: Nothing): Promise<void> {
    const { opened, ledger } = current()
    ledger?.[Symbol.dispose]()
    await disposeAll(opened)
    session = undefined
  }
}

type Nothing = Readonly<Record<never, never>>
export type DeviceCalls = typeof calls

serveCalls(calls)

function current(): Session {
  if (session === undefined) throw new HeddleError('INTERNAL', 'the device is not open')
  return session
}

function document(): Document<Y.Doc> {
  const { document: open } = current()
  if (open === undefined) throw new HeddleError('INTERNAL', 'the device has no document open')
  return open
}

function attach(opened: Document): Document<Y.Doc> {
  const typed = opened as Document<Y.Doc>
  const open = current()
  open.document = typed
  open.ledger = new Ledger(typed.native)
  typed.subscribe((event: DocumentEvent) => {
    if (event.type === 'problem' && problems.length < 20) problems.push(`${event.error.code}: ${event.error.message}`)
    // Enough for somebody who looks at a run that failed.
    if (preciseNow() < reportedMs + reportIntervalMs) return
    reportedMs = preciseNow()
    reportProgress(stateText())
  })
  return typed
}

/** Resolves when the condition holds; looks again at every event, every change of the text and every refusal. */
async function until(condition: () => boolean): Promise<void> {
  const open = document()
  if (condition()) return
  await new Promise<void>((resolve) => {
    const check = () => {
      if (!condition()) return
      subscription[Symbol.dispose]()
      open.native.off('afterTransaction', check)
      looks.delete(check)
      resolve()
    }
    const subscription = open.subscribe(check)
    open.native.on('afterTransaction', check)
    looks.add(check)
  })
}

function connectedServers(open: Document): number {
  return open.status().servers.filter(({ state }) => state === 'connected').length
}

const clocksOf = ({ native }: Document<Y.Doc>): Map<number, number> => Y.decodeStateVector(Y.encodeStateVector(native))

/** The start of a history is pasted, then its edits are made. */
function replayOf({ startContent, edits }: Trace): readonly Edit[] {
  return startContent === '' ? edits : [{ at: 0, remove: 0, insert: startContent, pauseMs: 0 }, ...edits]
}

function beginningOf(text: string, charactersMax: number): string {
  if (text.length <= charactersMax) return text
  return text.slice(0, Math.max(0, text.lastIndexOf(' ', charactersMax)))
}

/** Envelope bytes sealed since the document was opened, where the core counts them. */
function sealedBytesOf(open: Document): number {
  const { sealedBytes } = open as { readonly sealedBytes?: unknown }
  if (typeof sealedBytes === 'number') return sealedBytes
  throw new HeddleError('INTERNAL', 'this core does not count the bytes it seals')
}

function stateText(): string {
  if (session?.document === undefined) return 'no document open'
  const { epoch, role, connection, unsent, unsafe, sent, applied, waiting } = document().status()
  return `${role}, ${connection}, epoch ${epoch}, ${unsent} unsent, ${unsafe} unsafe of ${sent} sent, ${applied} applied, ${waiting} waiting`
}

function countFrame(direction: 'out' | 'in', frame: Uint8Array): void {
  const { kind, code } = sniff(frame)
  if (direction === 'out' && kind === 'subscribe') wire.subscribes++
  if (direction === 'in' && kind === 'subscribed') wire.subscribed++
  if (direction === 'in' && kind === 'deliver') wire.delivers++
  if (direction !== 'in' || kind !== 'problem' || code !== notAMember) return
  wire.refusals++
  for (const look of [...looks]) look()
}

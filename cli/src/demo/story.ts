/**
 * What happens in the demo, act by act: three servers, two writers, a reader; a server is killed, a writer goes offline
 * and loses power, keys are renewed, the reader is removed. It collects what the devices testify; `verdict.ts` judges it.
 */
import { cp } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { HeddleError } from '@heddle/core'
import type { Cast, DeviceChild, ServerChild } from './cast.js'
import type { PlanSource, PlanSummary, Scheme, SeenOnWire, Testimony, TypedPart } from './device-process.js'
import type { Writer } from './layout.js'
import { preciseNow } from './ledger.js'
import { textsFolder } from './texts.js'

export type DemoTransport = 'websocket' | 'iroh' | 'both'

export interface StoryOptions {
  readonly seed: number
  /** How servers are reached; with both, A has iroh and the others WebSocket. */
  readonly transport: DemoTransport
  /** File of a sequential editing history that A replays instead of typing. */
  readonly history: string | undefined
  /** Characters of each chapter that are typed. */
  readonly charactersMax: number
  /** A line of progress. */
  readonly say: (line: string) => void
  /** How many steps will be typed, known once the plans are made. */
  readonly onPlanned: (steps: number) => void
}

/** What the run left for the verdict. */
export interface Evidence {
  readonly plans: { readonly [W in Writer]: PlanSummary }
  readonly paced: { readonly [W in Writer]: TypedPart }
  readonly fast: { readonly [W in Writer]: TypedPart }
  /** When each writer's document contained all of the other's fast part. */
  readonly fastArrivedMs: number
  readonly others: readonly TypedPart[]
  readonly markers: { readonly [W in Writer]: string }
  /** B's first process, up to its power cut; then both at the end. */
  readonly beforePowerCut: Testimony
  readonly final: { readonly [W in Writer]: Testimony }
  readonly epochs: { readonly [W in Writer]: number }
  /** How long a change of the group took with one server dead. */
  readonly rotationMs: number
  readonly restartedServer: { readonly storedEnvelopes: number }
  readonly offline: { readonly connection: string; readonly reachedA: boolean }
  readonly removed: RemovedReader
}

export interface RemovedReader {
  /** C's text while it was a member, and A's at that moment. */
  readonly textBefore: string
  readonly textOfA: string
  /** C's text at the very end, and frames with messages it received after its removal. */
  readonly textAfter: string
  readonly deliversAfter: number
  /** What each server answered to C's device as it was before the removal, asked alone. */
  readonly attempts: readonly { readonly server: string; readonly seen: SeenOnWire; readonly text: string }[]
}

const servers = 3
/** Part of the run that is typed at a person's pace (of a very fast one, so that there are many keystrokes to measure). */
const pacedPerSecond = 75
const pacedSteps = 450
const offlineSteps = 300
const offlinePerSecond = 250
const sharedEdits = 160

export async function play(cast: Cast, options: StoryOptions): Promise<Evidence> {
  const { say } = options
  const { places, nodes } = await startServers(cast, options)
  const devices = await startDevices(cast, options)
  const { A, B, C } = devices
  const document = await gather(devices, places, say)

  const source = (writer: Writer): PlanSource => planSource(writer, options)
  const plans = { A: await A.call('plan', source('A')), B: await B.call('plan', source('B')) }
  options.onPlanned(plans.A.steps + plans.B.steps)
  const cuts = { A: cutsOf(plans.A.steps), B: cutsOf(plans.B.steps) }

  say(`A and B type at once, ${pacedPerSecond} keys a second each`)
  const paced = await both((writer) => {
    return { A, B }[writer].call('type', { from: 0, to: cuts[writer].paced, perSecond: pacedPerSecond })
  })

  say('A and B type as fast as their devices take it in')
  const typing = both((writer) => {
    return { A, B }[writer].call('type', { from: cuts[writer].paced, to: cuts[writer].fast })
  })
  const [fast, outage] = await Promise.all([
    typing.then(async (parts) => {
      await meet(A, B)
      return { parts, arrivedMs: preciseNow() }
    }),
    killAndRestart(cast, { nodes, places, A, all: [A, B, C], cuts: cuts.A }, say)
  ])
  await Promise.all([A, B, C].map((device) => device.call('awaitServers', { count: servers })))
  say('the restarted server is in step, every device is connected to it again')

  const outing = await goOffline(cast, { A, B, cuts, document, source, transport: options.transport }, say)
  const removal = await removeReader(
    cast,
    { A, B: outing.B, C, document, places, seed: options.seed, transport: options.transport },
    say
  )
  say('everything is on a write quorum of servers; comparing')

  const final = { A: await A.call('testify', {}), B: await outing.B.call('testify', {}) }
  const [stateA, stateB] = await Promise.all([A.call('state', {}), outing.B.call('state', {})])
  const { envelopes } = await outage.server.call('stored', {})
  await closeAll([A, outing.B, C], nodes.with(outage.index, outage.server))
  return {
    plans,
    paced,
    fast: fast.parts,
    fastArrivedMs: fast.arrivedMs,
    others: outing.typed,
    markers: removal.markers,
    beforePowerCut: outing.testimony,
    final,
    epochs: { A: stateA.epoch, B: stateB.epoch },
    rotationMs: outage.rotationMs,
    restartedServer: { storedEnvelopes: envelopes },
    offline: outing.offline,
    removed: removal.reader
  }
}

interface Devices {
  readonly A: DeviceChild
  readonly B: DeviceChild
  readonly C: DeviceChild
}

/** The tickets of one server. */
type Place = readonly string[]

const schemesOf = (transport: DemoTransport): readonly Scheme[] =>
  transport === 'both' ? ['ws', 'iroh'] : [transport === 'iroh' ? 'iroh' : 'ws']

const schemeOf = (device: 'A' | 'B' | 'C', transport: DemoTransport): Scheme =>
  transport === 'iroh' || (transport === 'both' && device === 'A') ? 'iroh' : 'ws'

async function startServers(cast: Cast, { transport, say }: StoryOptions) {
  const listen = schemesOf(transport).map((scheme) => `${scheme}://127.0.0.1:0`)
  const nodes: ServerChild[] = []
  const starting = Array.from({ length: servers }, async (_, index) => {
    const node = cast.server(`server ${index + 1}`)
    nodes[index] = node
    const { tickets } = await node.call('start', { path: cast.path(`server${index + 1}`), listen })
    for (const ticket of tickets) if (ticket.startsWith('ws:')) cast.usesPort(Number(new URL(ticket).port))
    return tickets
  })
  const places: readonly Place[] = await Promise.all(starting)
  say(`${servers} servers run, at ${places.flat().map(boundTo).join(', ')}`)
  return { places, nodes }
}

async function startDevices(cast: Cast, { transport }: StoryOptions): Promise<Devices> {
  const [A, B, C] = await Promise.all(
    (['A', 'B', 'C'] as const).map(async (name) => {
      const device = cast.device(`device ${name}`)
      await device.call('open', { path: cast.path(`device${name}`), scheme: schemeOf(name, transport) })
      return device
    })
  )
  if (A === undefined || B === undefined || C === undefined) throw new HeddleError('INTERNAL', 'a device is missing')
  return { A, B, C }
}

/** Creates the document and brings everybody in. Returns its id. */
async function gather({ A, B, C }: Devices, places: readonly Place[], say: StoryOptions['say']): Promise<string> {
  const sharedFile = fileURLToPath(new URL('alice-0-all-in-the-golden-afternoon.txt', textsFolder()))
  const { document } = await A.call('create', { servers: places.flat(), sharedFile })
  say(`A has created document ${document.slice(0, 8)} on them`)
  for (const [device, name, role] of [
    [B, 'B', 'editor'],
    [C, 'C', 'reader']
  ] as const) {
    const link = await A.call('invite', { role })
    const joined = await device.call('join', { link })
    await device.call('awaitContent', { clocks: await A.call('clocks', {}) })
    say(`${name} has joined by A's invite as ${role} (member ${joined.member.slice(0, 8)})`)
  }
  return document
}

/** Kills the second server while A types, lets A renew its keys without it, and starts it again where it was. */
async function killAndRestart(
  cast: Cast,
  run: {
    nodes: readonly ServerChild[]
    places: readonly Place[]
    A: DeviceChild
    all: readonly DeviceChild[]
    cuts: Cuts
  },
  say: StoryOptions['say']
) {
  const index = 1
  const [victim, place] = [run.nodes[index], run.places[index]]
  if (victim === undefined || place === undefined) throw new HeddleError('INTERNAL', 'there is no server to kill')
  const { paced, fast } = run.cuts
  await run.A.typed(paced + Math.floor((fast - paced) / 4))
  await victim.end('SIGKILL')
  say('server 2 is killed (SIGKILL); typing goes on')
  const startMs = performance.now()
  await run.A.call('rotate', {})
  const rotationMs = performance.now() - startMs
  say(`A has renewed its keys, decided by the other two servers in ${rotationMs.toFixed(0)} ms`)
  await run.A.typed(paced + Math.floor((fast - paced) / 2))
  // Over iroh nobody hears that a process is gone; connections to it that seem to stand would say nothing to the next one.
  await Promise.all(run.all.map((device) => device.call('awaitServers', { count: servers - 1, exactly: true })))
  const server = cast.server('server 2, restarted')
  await server.call('start', { path: cast.path('server2'), listen: place.map(boundTo) })
  say('server 2 runs again, on the same folder and addresses')
  return { server, index, rotationMs }
}

/** B edits without any network, loses power, comes back; meanwhile A edits and renews its keys. */
async function goOffline(
  cast: Cast,
  run: {
    A: DeviceChild
    B: DeviceChild
    cuts: { readonly [W in Writer]: Cuts }
    document: string
    source: (writer: Writer) => PlanSource
    transport: DemoTransport
  },
  say: StoryOptions['say']
) {
  const { A, B, cuts } = run
  await B.call('goOffline', {})
  say('B is offline and goes on typing; so does A')
  const parts = await both((writer) => {
    const { fast, end } = cuts[writer]
    return { A, B }[writer].call('type', { from: fast, to: end, perSecond: offlinePerSecond })
  })
  await B.call('settled', { level: 'stored' })
  await A.call('rotate', {})
  const { connection } = await B.call('state', {})
  const testimony = await B.call('testify', {})
  const clocksOfA = await A.call('clocks', {})
  // Whether A has all that B has typed, which it must not: B's last edits were made without a network.
  const reachedA = testimony.marks.inserts.every(({ client, to }) => (clocksOfA.get(client) ?? 0) >= to)
  await B.end('SIGKILL')
  say('A has renewed its keys again; B loses power with its edits stored and not sent')
  const back = cast.device('device B, restarted')
  await back.call('open', { path: cast.path('deviceB'), scheme: schemeOf('B', run.transport) })
  await back.call('reopen', { document: run.document })
  await meet(A, back)
  await back.call('plan', run.source('B'))
  say('B is back with everything it had typed, and has what A typed meanwhile')
  return { B: back, typed: [parts.A, parts.B], testimony, offline: { connection, reachedA } }
}

/** A removes C. C then tries everything it can with what it had. */
async function removeReader(
  cast: Cast,
  run: Devices & { document: string; places: readonly Place[] } & Pick<StoryOptions, 'seed' | 'transport'>,
  say: StoryOptions['say']
) {
  const { A, B, C, document } = run
  await meet(A, C)
  const textOfA = (await A.call('testify', {})).text
  const textBefore = (await C.call('testify', {})).text
  const { member } = await C.call('self', {})
  // The folder as it was while C could read, for later.
  await C.call('close', {})
  const scheme = schemeOf('C', run.transport)
  const copies = run.places.map((_, index) => cast.path(`deviceC-copy${index + 1}`))
  for (const copy of copies) await cp(cast.path('deviceC'), copy, { recursive: true })
  await C.call('open', { path: cast.path('deviceC'), scheme })
  await C.call('reopen', { document })
  await C.call('awaitServers', { count: servers })
  await A.call('remove', { member })
  await C.call('awaitRemoved', {})
  const deliversBefore = (await C.call('seenOnWire', {})).delivers
  say('A has removed C, and C knows')

  const markers = { A: `A was here after C had gone, ${run.seed}`, B: `B as well, and offline before, ${run.seed}` }
  await A.call('note', { line: markers.A })
  await B.call('note', { line: markers.B })
  await Promise.all([A, B].map((device) => device.call('settled', { level: 'safe' })))
  await meet(A, B)
  say('A and B have written on; C asks each server with its folder from before the removal')

  const attempts: RemovedReader['attempts'][number][] = []
  const thief = cast.device('device C, copied')
  for (const [index, place] of run.places.entries()) {
    const onlyServers = place.map((ticket) => ticket.slice(0, ticket.lastIndexOf('#')))
    await thief.call('open', { path: copies[index] ?? '', scheme, onlyServers })
    await thief.call('reopen', { document })
    await thief.call('awaitRefusal', {})
    const { text } = await thief.call('testify', {})
    attempts.push({ server: `server ${index + 1}`, seen: await thief.call('seenOnWire', {}), text })
    await thief.call('close', {})
  }
  await thief.end('SIGTERM')
  const textAfter = (await C.call('testify', {})).text
  const deliversAfter = (await C.call('seenOnWire', {})).delivers - deliversBefore
  say('every server has refused C')
  return { markers, reader: { textBefore, textOfA, textAfter, deliversAfter, attempts } }
}

/** Waits until each has everything the other had when this was called. */
async function meet(one: DeviceChild, other: DeviceChild): Promise<void> {
  const [ofOne, ofOther] = await Promise.all([one.call('clocks', {}), other.call('clocks', {})])
  await Promise.all([other.call('awaitContent', { clocks: ofOne }), one.call('awaitContent', { clocks: ofOther })])
}

/** In order, so that what was accepted is stored before the folders are searched. */
async function closeAll(devices: readonly DeviceChild[], nodes: readonly ServerChild[]): Promise<void> {
  for (const device of devices) {
    await device.call('close', {})
    await device.end('SIGTERM')
  }
  for (const node of nodes) {
    await node.call('stop', {})
    await node.end('SIGTERM')
  }
}

interface Cuts {
  readonly paced: number
  readonly fast: number
  readonly end: number
}

/** Where the parts of a plan end. */
function cutsOf(steps: number): Cuts {
  const paced = Math.min(pacedSteps, Math.floor(steps / 3))
  return { paced, fast: Math.max(paced, steps - Math.min(offlineSteps, Math.floor(steps / 3))), end: steps }
}

function planSource(writer: Writer, { seed, history, charactersMax }: StoryOptions): PlanSource {
  const file = writer === 'A' ? 'alice-1-down-the-rabbit-hole.txt' : 'alice-2-the-pool-of-tears.txt'
  return {
    writer,
    seed: writer === 'A' ? seed : seed + 1,
    text: fileURLToPath(new URL(file, textsFolder())),
    history: writer === 'A' ? history : undefined,
    sharedEdits,
    charactersMax
  }
}

async function both<T>(make: (writer: Writer) => Promise<T>): Promise<{ readonly [W in Writer]: T }> {
  const [A, B] = await Promise.all([make('A'), make('B')])
  return { A, B }
}

/** What a server that gave this ticket is bound to. */
function boundTo(ticket: string): string {
  const { protocol, host, searchParams } = new URL(ticket)
  return `${protocol}//${searchParams.get('addr') ?? host}`
}

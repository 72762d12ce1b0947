/**
 * The steps of an edit by themselves, in one process and without a disk: sealing and opening a message, checking it, a
 * server storing it. And what a decided commit takes, with three servers in processes of their own.
 */
import { type Metric, metric, percentile } from '../metric.js'
import { nowMs } from '../process/calls.js'
import type { Stage } from '../stage.js'
import { loadCoreRooms } from './core-rooms.js'
import { MemoryServer, newGroup, newPair, Sender, type Tools, toolsOf } from './micro-parts.js'
import { type Bench, rounds, type Scenario } from './scenario.js'

/** About what yjs writes for one typed character. */
const update = new Uint8Array(24).fill(7)
/** Envelopes to an upload when a device has a backlog. */
const backlogEnvelopes = 64

export const microScenario: Scenario = {
  name: 'micro',
  about: 'the steps of an edit by themselves, one process, memory storage; commits with three server processes',
  run
}

async function run({ stage, quick }: Bench): Promise<readonly Metric[]> {
  const count = quick ? 256 : 1_024
  const tools = toolsOf(await loadCoreRooms())
  await measureRound(tools, count)
  const measured = await rounds(quick ? 1 : 3, () => measureRound(tools, count))
  const commitsMs = await measureCommits(stage, quick ? 5 : 20)
  const rate = (step: keyof Rates, id: string, label: string) =>
    metric(
      { id: `micro.${id}`, unit: 'envelopes/s', label },
      measured.map((rates) => rates[step])
    )
  return [
    rate('seal', 'seal', 'encrypt, chain and sign'),
    rate('open', 'open', 'decrypt'),
    rate('verify', 'verify', 'decode, hash and verify the signature'),
    rate('store', 'store', `a server stores, ${backlogEnvelopes} envelopes to an upload`),
    rate('storeAlone', 'store-alone', 'a server stores, one to an upload, each awaited'),
    metric({ id: 'micro.commit.p50', unit: 'ms', label: `${commitsMs.length} commits until decided, median` }, [
      percentile(commitsMs, 50)
    ]),
    metric({ id: 'micro.commit.max', unit: 'ms', label: 'the slowest of them' }, [percentile(commitsMs, 100)])
  ]
}

/** Envelopes a second, step by step. */
interface Rates {
  readonly seal: number
  readonly open: number
  readonly verify: number
  readonly store: number
  readonly storeAlone: number
}

async function measureRound(tools: Tools, count: number): Promise<Rates> {
  const { parseEnvelope } = tools.rooms.sync
  const { writer, reader } = await newPair(tools)
  const sender = new Sender(writer, tools)
  const envelopes: Uint8Array[] = []
  const sealMs = await timed(async () => {
    for (let i = 0; i < count; i++) envelopes.push(await sender.seal(update))
  })
  const key = writer.public.memberAtLeaf(writer.me.leafIndex)?.signaturePublicKey
  if (key === undefined) throw new Error('the writer has no key')
  const verifyMs = await timed(async () => {
    for (const bytes of envelopes) {
      const { signed, signature } = parseEnvelope(bytes)
      if (!tools.crypto.verify(key, signed, signature)) throw new Error('an envelope does not verify')
    }
  })
  const parsed = envelopes.map(parseEnvelope)
  const openMs = await timed(async () => {
    for (const { header, headerBytes, senderData, ciphertext } of parsed)
      await reader.decrypt({ epoch: header.epoch, aad: headerBytes, senderData, ciphertext })
  })
  const { batchedMs, aloneMs } = await measureStore(tools, count)
  const perSecond = (ms: number) => (1000 * count) / ms
  return {
    seal: perSecond(sealMs),
    open: perSecond(openMs),
    verify: perSecond(verifyMs),
    store: perSecond(batchedMs),
    storeAlone: perSecond(aloneMs)
  }
}

/** Milliseconds until a new server has receipted so many envelopes: many to an upload, and one to an upload. */
async function measureStore(tools: Tools, count: number): Promise<{ batchedMs: number; aloneMs: number }> {
  await using batched = await MemoryServer.start(tools)
  await using alone = await MemoryServer.start(tools)
  const group = await newGroup(tools, [batched.id, alone.id])
  await batched.create(group)
  await alone.create(group)
  const sender = new Sender(group, tools)
  const envelopes: Uint8Array[] = []
  for (let i = 0; i < count; i++) envelopes.push(await sender.seal(update))
  const { groupId } = group.public
  return {
    batchedMs: await timed(() => batched.upload(groupId, envelopes, backlogEnvelopes)),
    aloneMs: await timed(() => alone.upload(groupId, envelopes, 1))
  }
}

async function measureCommits(stage: Stage, count: number): Promise<Float64Array> {
  const servers = await stage.servers(3)
  const device = await stage.device('committer')
  await device.call('create', { servers })
  await device.call('measureCommits', { count: 3 })
  return await device.call('measureCommits', { count })
}

async function timed(task: () => Promise<void>): Promise<number> {
  const startedMs = nowMs()
  await task()
  return nowMs() - startedMs
}

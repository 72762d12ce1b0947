/**
 * The group room by itself, and ts-mls 1.6.4 beside it on the same trees: messages, commits and joins in groups of 2 to
 * 1,000 members, and what has to be stored for a message. One process, no disk and no network.
 */
import { createCrypto, systemContext } from 'heddle'
import { defaultCryptoProvider, getCiphersuiteFromName, getCiphersuiteImpl } from 'ts-mls'
import {
  type Contender,
  type ContenderName,
  contenderNames,
  HeddleContender,
  LargeGroup,
  type LargeGroupParts,
  loadGroupRooms,
  TsMlsContender
} from '../group/index.js'
import { type Metric, type MetricHead, metric, type Target, type Unit } from '../metric.js'
import type { Bench, Scenario } from './scenario.js'

/** What Heddle is built to reach, by id. */
const targets: Readonly<Record<string, Target>> = {
  'group.2.message.100.encrypt': { atLeast: 9_000 },
  'group.2.message.100.decrypt': { atLeast: 5_000 },
  'group.1000.message.100.encrypt': { atLeast: 9_000 },
  'group.1000.message.100.decrypt': { atLeast: 5_000 },
  'group.1000.update.create': { atMost: 15 },
  'group.1000.update.process': { atMost: 8 },
  'group.1000.update.observe': { atMost: 8 },
  'group.1000.join': { atMost: 200 },
  'group.1000.stored.sent': { atMost: 1_024 },
  'group.1000.stored.received': { atMost: 1_024 }
}

export const groupScenario: Scenario = {
  name: 'group',
  about:
    'MLS by itself: heddle, ts-mls 1.6.4 as it comes, and ts-mls with Heddle’s cryptography, in turns in one process',
  run
}

async function run({ quick }: Bench): Promise<readonly Metric[]> {
  const context = systemContext()
  const parts: LargeGroupParts = {
    rooms: await loadGroupRooms(),
    crypto: createCrypto(context.random),
    now: () => context.clock.now()
  }
  const metrics: Metric[] = []
  for (const members of quick ? [2, 10] : [2, 10, 100, 1_000]) {
    const contenders = await contendersFor(members, parts)
    const results = new Results(members)
    const rounds = quick ? 1 : members > 100 ? 7 : 9
    // The first round is there for the optimizing compiler.
    for (let round = quick ? 0 : -1; round < rounds; round++) {
      for (const contender of round % 2 === 0 ? contenders : contenders.toReversed()) {
        const costs = await measure(contender, members, quick)
        if (round >= 0) results.add(contender.name, costs)
      }
    }
    for (const contender of contenders) results.add(contender.name, await measureStored(contender))
    metrics.push(...results.metrics())
  }
  return metrics
}

async function contendersFor(members: number, parts: LargeGroupParts): Promise<readonly Contender[]> {
  const group = await LargeGroup.make(members, parts)
  const { mls } = parts.crypto.suite(1)
  const byDefault = await getCiphersuiteImpl(getCiphersuiteFromName(mls.name), defaultCryptoProvider)
  return [
    new HeddleContender(group, parts),
    await TsMlsContender.make('ts-mls', group, parts, byDefault),
    await TsMlsContender.make('ts-mls-node', group, parts, mls)
  ]
}

interface Cost {
  readonly what: string
  readonly label: string
  readonly unit: Unit
  readonly value: number | undefined
}

async function measure(contender: Contender, members: number, quick: boolean): Promise<readonly Cost[]> {
  const costs: Cost[] = []
  for (const { bytes, count } of messageSizes(members)) {
    const rates = await contender.messages(bytes, quick ? Math.ceil(count / 10) : count)
    const what = `message.${bytes}`
    const size = bytes < 1_024 ? `${bytes} B` : `${bytes / 1_024} KB`
    costs.push(
      {
        what: `${what}.encrypt`,
        label: `messages of ${size}, encrypt`,
        unit: 'messages/s',
        value: rates.encryptPerSecond
      },
      {
        what: `${what}.decrypt`,
        label: `messages of ${size}, decrypt`,
        unit: 'messages/s',
        value: rates.decryptPerSecond
      },
      {
        what: `${what}.overhead`,
        label: `messages of ${size}, added to each`,
        unit: 'bytes',
        value: rates.overheadBytes
      }
    )
  }
  const { createMs, processMs, observeMs, commitBytes } = await contender.update()
  const { joinMs, welcomeBytes } = await contender.join()
  return [
    ...costs,
    { what: 'update.create', label: 'renew keys: create the commit', unit: 'ms', value: createMs },
    { what: 'update.process', label: 'renew keys: a member processes it', unit: 'ms', value: processMs },
    { what: 'update.observe', label: 'renew keys: a server processes it', unit: 'ms', value: observeMs },
    { what: 'update.bytes', label: 'renew keys: the commit', unit: 'bytes', value: commitBytes },
    { what: 'join', label: 'join by a Welcome', unit: 'ms', value: joinMs },
    { what: 'welcome.bytes', label: 'the Welcome with its tree', unit: 'bytes', value: welcomeBytes }
  ]
}

/**
 * In a large group, messages show only that they do not depend on its size. They are as many as among two, since the
 * collection before a measurement costs V8 its optimized code, and the first thousand are slow.
 */
function messageSizes(members: number): readonly { readonly bytes: number; readonly count: number }[] {
  if (members === 2)
    return [
      { bytes: 100, count: 2_000 },
      { bytes: 1_024, count: 400 },
      { bytes: 65_536, count: 40 }
    ]
  return members === 1_000 ? [{ bytes: 100, count: 2_000 }] : []
}

async function measureStored(contender: Contender): Promise<readonly Cost[]> {
  const { sentBytes, receivedBytes } = await contender.stored()
  return [
    { what: 'stored.sent', label: 'stored for one message sent', unit: 'bytes', value: sentBytes },
    { what: 'stored.received', label: 'stored for one message received', unit: 'bytes', value: receivedBytes }
  ]
}

/** Gathers rounds of costs and makes metrics of them, the contenders of one cost beside each other. */
class Results {
  readonly #members: number
  readonly #heads = new Map<string, Cost>()
  readonly #values = new Map<string, number[]>()

  constructor(members: number) {
    this.#members = members
  }

  add(contender: ContenderName, costs: readonly Cost[]): void {
    for (const cost of costs) {
      if (cost.value === undefined) continue
      this.#heads.set(cost.what, cost)
      const key = `${cost.what} ${contender}`
      const values = this.#values.get(key) ?? []
      this.#values.set(key, values)
      values.push(cost.value)
    }
  }

  metrics(): readonly Metric[] {
    return [...this.#heads.values()].flatMap(({ what, label, unit }) =>
      contenderNames.flatMap((contender) => {
        const values = this.#values.get(`${what} ${contender}`)
        if (values === undefined) return []
        const own = `group.${this.#members}.${what}`
        const head: MetricHead = {
          id: contender === 'heddle' ? own : `${own}.${contender}`,
          label: `${this.#members} members, ${label}, ${contender}`,
          unit
        }
        const target = targets[own]
        if (contender !== 'heddle') return [metric(head, values)]
        return [metric({ ...head, yardstick: `${own}.ts-mls`, ...(target && { target }) }, values)]
      })
    )
  }
}

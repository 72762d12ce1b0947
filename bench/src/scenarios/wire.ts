/** The wire codecs by themselves: how fast they are next to what JavaScript allows and to two libraries, and how large. */
import { type Metric, metric, type Target } from '../metric.js'
import { callsPerSecond, contenders, loadLibraries, measureSizes, newContests, wireHomes } from '../wire/index.js'
import { loadCoreRooms } from './core-rooms.js'
import type { Bench, Scenario } from './scenario.js'

const gzipBytesMax = 10_240
/** ts-proto hands out views of what it reads where a strict codec copies short fields: three times is not always there. */
const targets = {
  toHandWritten: (id: string): Target => ({ atLeast: id.startsWith('decode') ? 0.85 : 0.6 }),
  toTsProto: (id: string): Target | undefined => (id.startsWith('decode') ? { atLeast: 3 } : undefined)
}

export const wireScenario: Scenario = {
  name: 'wire',
  about: 'generated codecs, a codec written by hand, ts-proto and protobufjs, in turns in one process; sizes in an app',
  run
}

async function run({ stage, quick }: Bench): Promise<readonly Metric[]> {
  const { wire } = await loadCoreRooms()
  const libraries = await loadLibraries(stage.newFolder(), wireHomes)
  const contests = newContests(wire, libraries)
  const tasks = contests.flatMap((contest) => contenders.map((contender) => contest.tasks[contender]))
  const rates = callsPerSecond(tasks, quick ? { turnMs: 2, rounds: 5 } : { turnMs: 10, rounds: 41 })
  const speeds = contests.flatMap(({ id, label, size }, index) => {
    const ofContest = rates.slice(index * contenders.length, (index + 1) * contenders.length)
    const [own = [], byHand = [], tsProto = []] = ofContest
    return [
      ...contenders.map((contender, i) => {
        const suffix = contender === 'heddle' ? '' : `.${contender}`
        const head = {
          id: `wire.${id}${suffix}`,
          unit: 'operations/s',
          label: `${label} (${size} B), ${contender}`
        } as const
        return metric({ ...head, yardstick: `wire.${id}.hand-written` }, ofContest[i] ?? [])
      }),
      ratio(`wire.${id}.to-hand-written`, `${label}: heddle to hand-written`, own, byHand, targets.toHandWritten(id)),
      ratio(`wire.${id}.to-ts-proto`, `${label}: heddle to ts-proto`, own, tsProto, targets.toTsProto(id))
    ]
  })
  const sizes = (await measureSizes(libraries)).flatMap(({ id, label, sizes: byLibrary }) =>
    Object.entries(byLibrary).flatMap(([library, { minifiedBytes, gzipBytes }]) => [
      metric({ id: `wire.size.${id}.${library}.min`, unit: 'bytes', label: `${label}, ${library}, minified` }, [
        minifiedBytes
      ]),
      metric(
        {
          id: `wire.size.${id}.${library}.gzip`,
          unit: 'bytes',
          label: `${label}, ${library}, gzip`,
          ...(library === 'heddle' && { target: { atMost: gzipBytesMax } })
        },
        [gzipBytes]
      )
    ])
  )
  return [...speeds, ...sizes]
}

/** The ratio of the best rounds, which other programs disturbed least. */
function ratio(
  id: string,
  label: string,
  rates: readonly number[],
  others: readonly number[],
  target: Target | undefined
): Metric {
  return metric({ id, unit: '×', label, ...(target && { target }) }, [Math.max(...rates) / Math.max(...others)])
}

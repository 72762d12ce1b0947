/**
 * Death at every storage commit: a scenario is run once to count what the victim commits, then once for each commit with
 * the victim killed just before it takes effect, and just after. Reopened, it must go on as if nothing had happened. What
 * must never be said twice is watched by the world's wiretap.
 */
import { describe, expect, it } from 'vitest'
import type { Device, Document } from '../src/index.js'
import { type Crash, textOf, World } from './world.js'

/** The devices of a scenario by name, with the document each has open. */
interface Stage {
  readonly world: World
  readonly devices: Map<string, Device>
  readonly documents: Map<string, Document>
  /** Words inserted whose `settled('stored')` has resolved. */
  readonly stored: string[]
  link: string | undefined
  memo: bigint
}

interface Scenario {
  readonly name: string
  readonly victim: string
  readonly seed: number
  setup(stage: Stage): Promise<void>
  /** What happens while the victim may die. Its part ends there then. */
  act(stage: Stage): Promise<void>
  /** What is still done after the victim is back, or when nobody died. */
  finish(stage: Stage): Promise<void>
  check?(stage: Stage): void
}

const doc = ({ documents }: Stage, name: string): Document => {
  const document = documents.get(name)
  if (document === undefined) throw new Error(`${name} has no document open`)
  return document
}

async function open(stage: Stage, name: string): Promise<Device> {
  const device = await stage.world.openDevice(name)
  stage.devices.set(name, device)
  return device
}

async function founded(stage: Stage): Promise<void> {
  const ada = await open(stage, 'ada')
  stage.documents.set('ada', await ada.create({ servers: stage.world.tickets }))
}

async function joined(stage: Stage, name: string, role: 'admin' | 'editor' = 'editor'): Promise<void> {
  const device = await open(stage, name)
  stage.documents.set(name, await device.join(await doc(stage, 'ada').invite({ role })))
}

async function two(stage: Stage): Promise<void> {
  await founded(stage)
  await joined(stage, 'bob')
}

async function three(stage: Stage): Promise<void> {
  await two(stage)
  await joined(stage, 'carol', 'admin')
}

/** Adds a word and notes it once it is stored. */
async function write(stage: Stage, name: string, word: string): Promise<void> {
  const document = doc(stage, name)
  textOf(document).insert(0, `${word} `)
  await document.settled('stored')
  stage.stored.push(word)
}

async function reopen(stage: Stage, name: string): Promise<void> {
  const device = await open(stage, name)
  const id = [...stage.documents.values()][0]?.id
  if (id !== undefined && (await device.documents()).includes(id)) stage.documents.set(name, await device.open(id))
  else stage.documents.delete(name)
}

const idOf = (stage: Stage, name: string): string => {
  const deviceId = stage.devices.get(name)?.id
  return (
    doc(stage, 'ada')
      .members()
      .find((member) => member.deviceId === deviceId)?.id ?? `${name} is no member`
  )
}

const scenarios: readonly Scenario[] = [
  {
    name: 'typing online',
    victim: 'bob',
    seed: 1,
    setup: two,
    async act(stage) {
      for (const word of ['one', 'two', 'three', 'four']) {
        await write(stage, 'bob', word)
        if (word === 'two') await write(stage, 'ada', 'hers')
      }
      await doc(stage, 'bob').settled('safe')
    },
    finish: async (stage) => write(stage, 'bob', 'after')
  },
  {
    name: 'typing offline, then reconnecting',
    victim: 'bob',
    seed: 2,
    setup: two,
    async act(stage) {
      stage.world.cut('bob')
      for (const word of ['one', 'two']) await write(stage, 'bob', word)
      await write(stage, 'ada', 'hers')
      stage.world.heal('bob')
      await write(stage, 'bob', 'three')
      await doc(stage, 'bob').settled('safe')
    },
    async finish(stage) {
      stage.world.heal('bob')
      await write(stage, 'bob', 'after')
    }
  },
  {
    name: 'creating a document',
    victim: 'ada',
    seed: 3,
    setup: async (stage) => {
      await open(stage, 'ada')
    },
    async act(stage) {
      const ada = stage.devices.get('ada')
      if (ada !== undefined) stage.documents.set('ada', await ada.create({ servers: stage.world.tickets }))
      await write(stage, 'ada', 'one')
    },
    async finish(stage) {
      const ada = stage.devices.get('ada')
      const [id] = (await ada?.documents()) ?? []
      if (ada === undefined) throw new Error('ada is not open')
      stage.documents.set('ada', await (id === undefined ? ada.create({ servers: stage.world.tickets }) : ada.open(id)))
      await write(stage, 'ada', 'after')
      await joined(stage, 'bob')
    }
  },
  {
    name: 'inviting and adding, the admin dies',
    victim: 'ada',
    seed: 4,
    async setup(stage) {
      await founded(stage)
      await open(stage, 'bob')
      await write(stage, 'ada', 'before')
    },
    async act(stage) {
      stage.link = await doc(stage, 'ada').invite()
      const bob = stage.devices.get('bob')
      if (bob !== undefined) stage.documents.set('bob', await bob.join(stage.link))
      await doc(stage, 'ada').settled('safe')
    },
    async finish(stage) {
      if (stage.link === undefined) stage.link = await doc(stage, 'ada').invite()
      else if (!stage.documents.has('bob')) return until(stage, () => stage.documents.has('bob'))
      const bob = stage.devices.get('bob')
      if (bob !== undefined && !stage.documents.has('bob')) stage.documents.set('bob', await bob.join(stage.link))
    },
    check: (stage) => expect(doc(stage, 'ada').members()).toHaveLength(2)
  },
  {
    name: 'joining, the joiner dies',
    victim: 'bob',
    seed: 5,
    async setup(stage) {
      await founded(stage)
      await open(stage, 'bob')
      await write(stage, 'ada', 'before')
      stage.link = await doc(stage, 'ada').invite()
    },
    async act(stage) {
      const bob = stage.devices.get('bob')
      if (bob !== undefined) stage.documents.set('bob', await bob.join(stage.link ?? ''))
      await write(stage, 'bob', 'first')
      await doc(stage, 'bob').settled('safe')
    },
    async finish(stage) {
      const bob = stage.devices.get('bob')
      if (bob !== undefined) stage.documents.set('bob', await bob.join(stage.link ?? ''))
      await write(stage, 'bob', 'after')
    },
    check: (stage) => expect(doc(stage, 'ada').members()).toHaveLength(2)
  },
  {
    name: 'renewing keys',
    victim: 'ada',
    seed: 6,
    async setup(stage) {
      await two(stage)
      stage.memo = doc(stage, 'ada').status().epoch
    },
    act: async (stage) => doc(stage, 'ada').rotate(),
    finish: async (stage) => write(stage, 'ada', 'after'),
    check: (stage) => {
      const { epoch } = doc(stage, 'ada').status()
      // Died before the wish was stored: nothing. Otherwise exactly once.
      expect([stage.memo, stage.memo + 1n]).toContain(epoch)
    }
  },
  {
    name: 'renewing keys while another does',
    victim: 'ada',
    seed: 7,
    setup: two,
    act: async (stage) => {
      await Promise.all([doc(stage, 'ada').rotate(), doc(stage, 'bob').rotate()])
    },
    finish: async (stage) => write(stage, 'ada', 'after')
  },
  {
    name: 'removing a member, the admin dies',
    victim: 'ada',
    seed: 8,
    setup: three,
    async act(stage) {
      const removal = doc(stage, 'ada').remove(idOf(stage, 'bob'))
      await Promise.all([removal, write(stage, 'carol', 'hers')])
      await write(stage, 'ada', 'secret')
    },
    async finish(stage) {
      if (!idOf(stage, 'bob').startsWith('bob')) await doc(stage, 'ada').remove(idOf(stage, 'bob'))
      await until(stage, () => doc(stage, 'bob').status().connection === 'removed')
      stage.documents.delete('bob')
    },
    check: (stage) => expect(doc(stage, 'carol').members()).toHaveLength(2)
  },
  {
    name: 'being removed',
    victim: 'bob',
    seed: 9,
    setup: three,
    async act(stage) {
      const removed = new Promise<void>((resolve) => {
        doc(stage, 'bob').subscribe(({ type }) => type === 'removed' && resolve())
      })
      await doc(stage, 'ada').remove(idOf(stage, 'bob'))
      await removed
      await write(stage, 'bob', 'kept here')
    },
    async finish(stage) {
      const bob = doc(stage, 'bob')
      await until(stage, () => bob.status().connection === 'removed')
      for (const word of stage.stored) expect(textOf(bob).toString()).toContain(word)
      expect(bob.members().length).toBeGreaterThan(0)
      stage.stored.splice(0)
      stage.documents.delete('bob')
      await write(stage, 'carol', 'after')
    }
  }
]

async function until(stage: Stage, condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise<void>((resolve) => stage.world.clock.setTimer(50, resolve))
}

interface Run {
  readonly commits: number
}

/** Runs a scenario, with a crash or without. */
async function run(scenario: Scenario, plan?: { readonly nth: number; readonly when: Crash['when'] }): Promise<Run> {
  const world = await World.create({ seed: scenario.seed, commitMs: 15 })
  const stage: Stage = { world, devices: new Map(), documents: new Map(), stored: [], link: undefined, memo: 0n }
  await world.settle(scenario.setup(stage))
  const before = world.commits(scenario.victim)
  const crash = plan && world.crashAt(scenario.victim, plan.nth, plan.when)
  let over: { readonly error?: unknown } | undefined
  const acting = scenario.act(stage).then(
    () => {
      over = {}
    },
    (error: unknown) => {
      over = { error }
    }
  )
  await world.until(() => over !== undefined || crash?.happened === true)
  // What follows the act, like progress and receipts, is part of it.
  if (crash?.happened !== true) await world.pass(500)
  if (crash?.happened === true) {
    // Others have time to finish what it had begun, in every other run.
    await world.pass(plan?.when === 'after' ? 8_000 : 10)
    await world.settle(reopen(stage, scenario.victim))
  } else if (over !== undefined && 'error' in over) throw over.error
  else await acting
  const commits = world.commits(scenario.victim) - before
  await world.settle(scenario.finish(stage))
  const documents = [...stage.documents.values()]
  await world.settle(Promise.all(documents.map((document) => document.settled('safe'))))
  await world
    .until(() => converged(documents) && documents.every(isClean))
    .catch((error: unknown) => {
      const states = [...stage.documents].map(([name, one]) => [name, textOf(one).toString(), one.status()])
      const text = (_: string, value: unknown) => (typeof value === 'bigint' ? `${value}` : value)
      throw new Error(`${error} ${JSON.stringify(states, text)}`)
    })
  const text = textOf(documents[0] as Document).toString()
  for (const word of stage.stored) expect(text.split(word).length, `${word} in "${text}"`).toBe(2)
  scenario.check?.(stage)
  await world.dispose()
  return { commits }
}

const converged = (documents: readonly Document[]): boolean =>
  new Set(documents.map((one) => textOf(one).toString())).size === 1 &&
  new Set(documents.map((one) => one.status().epoch)).size === 1

function isClean(document: Document): boolean {
  const { unsafe, unsent, waiting, pendingChanges } = document.status()
  return unsafe === 0 && unsent === 0 && waiting === 0 && pendingChanges === 0
}

describe('a device that dies at any of its commits', () => {
  for (const scenario of scenarios) {
    it(`goes on afterwards: ${scenario.name}`, async () => {
      const { commits } = await run(scenario)
      expect(commits).toBeGreaterThan(0)
      const failures: string[] = []
      for (let nth = 1; nth <= commits; nth++) {
        for (const when of ['before', 'after'] as const) {
          await run(scenario, { nth, when }).catch((error: unknown) => {
            failures.push(
              `killed ${when} commit ${nth} of ${commits}: ${error instanceof Error ? error.message : error}`
            )
          })
        }
      }
      expect(failures).toEqual([])
    })
  }
})

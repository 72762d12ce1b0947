/**
 * A server that dies at every one of its commits while a document lives through everything: created, edited, joined,
 * renewed, a member removed. Started again from its disk it goes on, and nothing it had acknowledged is gone: receipts,
 * promises and votes are watched by the world's wiretap, the rest shows in that all devices come together. Each commit is
 * tried with one kind of death; HEDDLE_CRASHES=all tries both.
 */
import { describe, expect, it } from 'vitest'
import type { Document } from '../src/index.js'
import { type Crash, textOf, World } from './world.js'

const victim = 'server-1'
/** Two servers are a quorum of the two there are: whatever the victim forgets is missed. */
const servers = 2

async function life(world: World): Promise<void> {
  const ada = await world.openDevice('ada')
  const doc = await ada.create({ servers: world.tickets })
  textOf(doc).insert(0, 'one ')
  await doc.settled('safe')
  const bob = await world.openDevice('bob')
  const copy = await bob.join(await doc.invite())
  const carol = await world.openDevice('carol')
  const third = await carol.join(await doc.invite())
  textOf(copy).insert(0, 'two ')
  textOf(third).insert(0, 'three ')
  await Promise.all([copy.rotate(), doc.rotate()])
  await Promise.all([copy.settled('safe'), third.settled('safe')])
  await doc.remove(copy.memberId)
  textOf(doc).insert(0, 'four ')
  await doc.settled('safe')
  await together(world, [doc, third])
  const words = textOf(doc).toString().trim().split(' ').sort()
  expect(words).toEqual(['four', 'one', 'three', 'two'])
  expect(third.members()).toHaveLength(2)
  for (const one of [doc, third])
    expect(one.status()).toMatchObject({ unsafe: 0, unsent: 0, waiting: 0, pendingChanges: 0 })
}

async function together(world: World, documents: readonly Document[]): Promise<void> {
  const views = () => new Set(documents.map((one) => `${one.status().epoch} ${textOf(one)} ${one.status().unsafe}`))
  while (views().size > 1) await new Promise<void>((resolve) => world.clock.setTimer(20, resolve))
}

/** How many batches the victim commits. */
async function run(plan?: { readonly nth: number; readonly when: Crash['when'] }): Promise<number> {
  const world = await World.create({ seed: 400, servers, commitMs: 15 })
  const before = world.commits(victim)
  const crash = plan && world.crashAt(victim, plan.nth, plan.when)
  let over = false
  const living = life(world).finally(() => {
    over = true
  })
  living.catch(() => {})
  if (crash !== undefined) {
    await world.until(() => over || crash.happened)
    await world.pass(300)
    if (crash.happened) await world.startServer(victim)
  }
  await world.settle(living, 180_000)
  const commits = world.commits(victim) - before
  // Whatever it has acknowledged to this point must be there when it starts once more.
  await world.kill(victim)
  await world.startServer(victim)
  await world.pass(20_000)
  await world.dispose()
  return commits
}

describe('a server that dies at any of its commits', () => {
  it('goes on from its disk and has lost nothing it acknowledged', async () => {
    const commits = await run()
    expect(commits).toBeGreaterThan(10)
    const failures: string[] = []
    for (let nth = 1; nth <= commits; nth++) {
      const kinds = ['before', 'after'] as const
      for (const when of process.env.HEDDLE_CRASHES === 'all' ? kinds : kinds.slice(nth % 2, (nth % 2) + 1)) {
        await run({ nth, when }).catch((error: unknown) => {
          failures.push(`killed ${when} commit ${nth} of ${commits}: ${error instanceof Error ? error.message : error}`)
        })
      }
    }
    expect(failures).toEqual([])
  }, 120_000)
})

import { afterEach, describe, expect, it } from 'vitest'
import { equalBytes } from '../bytes.js'
import type { BodyOf, News } from '../net/index.js'
import { signedInput } from '../paxos/index.js'
import { Receipt, SIGNATURE_LABELS } from '../wire/index.js'
import { World } from './testing/world.js'

let world: World
afterEach(() => world[Symbol.asyncDispose]())

const isDeliver = (news: News): news is BodyOf<'deliver'> => news.$case === 'deliver'

describe('a document on one server', () => {
  it('is created, takes envelopes, signs receipts and delivers to other members', async () => {
    world = await World.start(1)
    const [host] = world.hosts as [(typeof world.hosts)[0]]
    const admin = await world.device()
    await admin.create([host])
    const editor = await admin.add([host])
    const reader = await editor.to(host)
    expect(await editor.subscribe(host)).toMatchObject({ slot: 1n, position: 0n, heads: [] })

    const envelopes = [await admin.seal(), await admin.seal()]
    const [signed] = await admin.upload(host, ...envelopes)
    if (signed === undefined) throw new Error('no receipt')
    const receipt = Receipt.decode(signed.statement)
    expect(receipt).toMatchObject({ position: 2n, head: { seq: 2n, hash: admin.previous } })
    const input = signedInput(SIGNATURE_LABELS.Receipt, signed.statement)
    expect(world.crypto.verify(host.server.id, input, signed.signature)).toBe(true)

    const { value } = await reader.until(
      (news): news is BodyOf<'deliver'> => isDeliver(news) && news.value.envelopes.length > 0
    )
    expect(value.envelopes.map((bytes, i) => equalBytes(bytes, envelopes[i] as Uint8Array))).toEqual([true, true])
    expect(value).toMatchObject({ afterPosition: 0n, throughPosition: 2n, caughtUp: true })
  })
})

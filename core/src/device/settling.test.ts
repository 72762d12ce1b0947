import { describe, expect, it } from 'vitest'
import { HeddleError } from '../errors.js'
import type { Outbox } from './outbox.js'
import { type SettledLevel, Settling } from './settling.js'
import { Turn } from './store.js'

const levels = ['stored', 'sent', 'safe'] as const

function started() {
  const outbox = { sentSeq: 0n, safeSeq: 0n }
  const settling = new Settling(outbox as unknown as Outbox)
  const reached: SettledLevel[] = []
  const refused: SettledLevel[] = []
  for (const level of levels)
    settling.reach(level).then(
      () => reached.push(level),
      () => refused.push(level)
    )
  const commit = async (turn: Turn) => await turn.commit({ commit: async () => {} } as never)
  return { outbox, settling, reached, refused, commit }
}

describe('who waits for edits', () => {
  it('hears that they are stored, sent and safe when each is so', async () => {
    const { outbox, settling, reached, commit } = started()
    const turn = new Turn()
    settling.flushed(turn, settling.asked(), 3n)
    outbox.sentSeq = 2n
    settling.look()
    await Promise.resolve()
    expect(reached).toEqual([])
    await commit(turn)
    expect(reached).toEqual(['stored'])
    outbox.sentSeq = 3n
    settling.look()
    await Promise.resolve()
    expect(reached).toEqual(['stored', 'sent'])
    outbox.safeSeq = 3n
    settling.look()
    await Promise.resolve()
    expect(reached).toEqual(['stored', 'sent', 'safe'])
  })

  it('waits for the message that edits go into which a turn has stored and not sealed', async () => {
    const { outbox, settling, reached, commit } = started()
    outbox.sentSeq = outbox.safeSeq = 9n
    const stored = new Turn()
    settling.flushed(stored, settling.asked(), undefined)
    await commit(stored)
    expect(reached).toEqual(['stored'])
    const sealed = new Turn()
    settling.flushed(sealed, settling.asked(), 9n)
    await commit(sealed)
    expect(reached).toEqual(['stored', 'sent', 'safe'])
  })

  it('hears why nothing leaves any more, while what only has to be stored still is', async () => {
    const { settling, reached, refused, commit } = started()
    settling.giveUp(new HeddleError('REMOVED', 'removed'), ({ level }) => level !== 'stored')
    const turn = new Turn()
    settling.flushed(turn, settling.asked(), undefined)
    await commit(turn)
    expect([reached, refused]).toEqual([['stored'], ['sent', 'safe']])
  })
})

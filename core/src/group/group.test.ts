import { describe, expect, test } from 'vitest'
import { utf8 } from '../bytes.js'
import { ADMIN, createWorld, decide, EDITOR, READER } from './testing/world.js'

describe('a group', () => {
  test('is followed by members and observer through adds, removes, roles and rotations', async () => {
    const world = await createWorld(1, [EDITOR, READER, ADMIN])
    const [a, b, c, d] = world.members
    if (!a || !b || !c || !d) throw new Error('four members expected')
    await decide(world, b)
    await decide(world, c)
    await decide(world, d, { removes: [b.group.memberId], roles: [{ memberId: c.group.memberId, role: EDITOR }] })
    expect(world.members).toEqual([a, c, d])
    const sealed = await c.group.encrypt(utf8('hello'), utf8('header'))
    const opened = await a.group.decrypt({ ...sealed, epoch: c.group.epoch, aad: utf8('header') })
    expect(opened.plaintext).toEqual(utf8('hello'))
    expect(opened.memberId).toEqual(c.group.memberId)
    expect(opened.role).toBe(EDITOR)
  })
})

import { describe, expect, it } from 'vitest'
import { notAMember, sniff } from './sniff.js'

const frame = (request: number, field: number, body: readonly number[]) => {
  const tag = field * 8 + 2
  return new Uint8Array([0x08, request, (tag & 0x7f) | 0x80, tag >> 7, body.length, ...body])
}

describe('sniff', () => {
  it('tells a refusal and its code', () => {
    expect(sniff(frame(3, 12, [0x08, notAMember, 0x12, 1, 65]).subarray(0, 12))).toMatchObject({ kind: 'problem' })
    const problem = new Uint8Array([0x08, 3, 0x62, 5, 0x08, notAMember, 0x12, 1, 65])
    expect(sniff(problem)).toEqual({ kind: 'problem', code: notAMember })
  })

  it('tells the frames of a subscription', () => {
    expect(sniff(frame(1, 21, [0x0a, 0])).kind).toBe('subscribe')
    expect(sniff(frame(1, 22, [0x0a, 0])).kind).toBe('subscribed')
    expect(sniff(frame(1, 26, [0x0a, 0])).kind).toBe('deliver')
    expect(sniff(frame(1, 24, [0x0a, 0])).kind).toBe('other')
  })

  it('takes what it cannot read for something else', () => {
    for (const bytes of [[], [0xff], [0x62, 50, 1], [0x0d, 1, 2, 3, 4], new Array(20).fill(0xff)]) {
      expect(sniff(new Uint8Array(bytes))).toEqual({ kind: 'other', code: undefined })
    }
  })
})

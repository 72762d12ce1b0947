import { expect, test } from 'vitest'
import { explore, type Model } from './testing/explorer.js'

const three: Model = { servers: 3, faultBound: 0, ballots: 3 }
const four: Model = { servers: 4, faultBound: 1, ballots: 2 }
for (const [name, m] of Object.entries({
  three,
  threeLying: { ...three, lyingLeaf: true },
  nop: { ...three, lyingLeaf: true, withoutProofs: true },
  byz: { ...three, ballots: 2, lyingServer: true },
  four: { ...four, lyingServer: true },
  four3: { ...four, ballots: 3, lyingServer: true },
  coll: { ...four, lyingLeaf: true, lyingServer: true },
  coll3: { ...four, ballots: 3, lyingLeaf: true, lyingServer: true }
} as Record<string, Model>))
  test(name, () => {
    const t = performance.now()
    console.log(name, explore(m), performance.now() - t)
    expect(1).toBe(1)
  }, 600000)

import { expect, test } from 'vitest'
import { parseAccept } from './index.js'
import { honest, type Shell } from './testing/behaviour.js'
import { firstViolation, rough, type Scenario } from './testing/simulation.js'

const withoutProofs: Partial<Shell> = {
  inspectAccept: (acceptor, request) => {
    const inspected = acceptor.inspectAccept(request)
    if (inspected.kind !== 'nack') return inspected
    const accept = parseAccept(request.accept)
    return { kind: 'verify', checks: [], item: { accept, value: request.value, proven: true, repeated: false } }
  }
}
const ignoringReports: Partial<Shell> = {
  seePromise: (checked) => ({
    ...checked,
    report: {
      ...checked.report,
      accept: undefined,
      promise: {
        ...checked.report.promise,
        value: { ...checked.report.promise.value, accepted: undefined }
      }
    }
  })
}
const mutants: Record<string, [Partial<Shell>, Partial<Scenario>]> = {
  none: [{}, {}],
  hastyPromise: [{ hasty: ['promise'] }, { fsyncMs: 60 }],
  hastyVote: [{ hasty: ['vote'] }, { fsyncMs: 60 }],
  eager: [{ eager: true }, { fsyncMs: 60 }],
  ignoreWithProofs: [ignoringReports, {}],
  ignoreNoProofs: [{ ...ignoringReports, ...withoutProofs }, {}],
  noProofsIntruder: [withoutProofs, { intruder: true }],
  dupCount: [
    {
      seeVote: (checked, count, servers) => ({
        vote: { ...checked.vote, value: { ...checked.vote.value, server: servers[count % servers.length]! } }
      })
    },
    {}
  ],
  reuse: [{ incarnation: () => 0n }, {}],
  oneCell: [
    {
      afterStale: (acceptor, prepare) => {
        const C = acceptor.constructor as any
        return new C(acceptor.config, acceptor.server, {
          ...acceptor.record,
          promised: prepare.value.ballot,
          promise: new Uint8Array(0)
        })
      }
    },
    {}
  ],
  collusion: [{}, { servers: 4, faultBound: 1, liars: 1, intruder: true }]
}
for (const [name, [shell, scenario]] of Object.entries(mutants))
  test(name, () => {
    const t = performance.now()
    console.log(
      name,
      firstViolation({ ...rough, ...scenario, shell: { ...honest, ...shell } }, 1000),
      performance.now() - t
    )
  })

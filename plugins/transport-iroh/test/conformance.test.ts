/** The iroh transport keeps the transport contract. */
import { type TransportSubject, transportSuite } from '@heddle/conformance'
import { iroh } from '@heddle/transport-iroh'
import { describe, it } from 'vitest'
import { type Iroh, loadIroh } from '../src/native/index.js'
import { parseOptions } from '../src/options.js'
import { IrohTransport } from '../src/transport.js'
import { cableIn } from './cable.js'
import { testContext } from './context.js'

/** Somebody's key, who is not there. */
const NOBODY = '278117fc144c72340f67d0f2316e8386ceffbf2b2428c9c51fef7c597f1d426e'
const options = parseOptions({ dialTimeoutMs: 700, pingIntervalMs: 300, deadAfterMs: 1500 })

const plain: TransportSubject = {
  manifest: iroh.manifest,
  create: (limits) => iroh.create(options, testContext({ limits })),
  freeAddress: () => 'iroh://127.0.0.1:0',
  // Discard: nothing listens there, and no test takes the port.
  unreachableAddress: () => `iroh://${NOBODY}?addr=127.0.0.1:9`,
  detour: async () => {
    throw new Error('only the check of a loss takes a detour')
  }
}

function withCable(native: Iroh): TransportSubject {
  const cable = cableIn(native)
  return {
    ...plain,
    create: async (limits) => new IrohTransport(options, testContext({ limits }), cable.iroh),
    detour: async (address) => ({
      address,
      sever: async () => cable.cut(),
      [Symbol.asyncDispose]: async () => {}
    })
  }
}

describe('the iroh transport', () => {
  const broken = new Map(transportSuite(async () => withCable(await loadIroh())).map((check) => [check.id, check]))
  for (const whole of transportSuite(() => plain)) {
    const check = (whole.id === 'TRANSPORT-LOSS' ? broken.get(whole.id) : undefined) ?? whole
    it(`${check.id}: ${check.title}`, () => check.run())
  }
})

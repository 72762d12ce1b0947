/** The WebSocket transport keeps the transport contract, on Node and as browsers build it. */
import { type TransportSubject, transportSuite } from '@heddle/conformance'
import { websocket } from '@heddle/transport-websocket'
import { describe, it } from 'vitest'
import { parseOptions } from '../src/options.js'
import { testContext } from './context.js'
import { tcpDetour } from './tcp-proxy.js'

describe('the WebSocket transport on Node', () => {
  for (const check of transportSuite(() => subject)) it(`${check.id}: ${check.title}`, () => check.run())
})

const subject: TransportSubject = {
  manifest: websocket.manifest,
  create: (limits) => websocket.create(parseOptions({}), testContext({ limits })),
  freeAddress: () => 'ws://127.0.0.1:0',
  // Discard: nothing listens there, and no test takes the port.
  unreachableAddress: () => 'ws://127.0.0.1:9',
  detour: tcpDetour
}

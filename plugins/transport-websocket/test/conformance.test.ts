/** The WebSocket transport keeps the transport contract: on Node, and dialling as browsers do. */
import { type TransportSubject, transportSuite } from '@heddle/conformance'
import { websocket } from '@heddle/transport-websocket'
import { afterAll, beforeAll, describe, it, vi } from 'vitest'
import { WebSocket } from 'ws'
import { websocket as browserWebsocket } from '../src/browser.js'
import { parseOptions } from '../src/options.js'
import { testContext } from './context.js'
import { tcpDetour } from './tcp-proxy.js'

const node: TransportSubject = {
  manifest: websocket.manifest,
  create: (limits) => websocket.create(parseOptions({}), testContext({ limits })),
  freeAddress: () => 'ws://127.0.0.1:0',
  // Discard: nothing listens there, and no test takes the port.
  unreachableAddress: () => 'ws://127.0.0.1:9',
  detour: tcpDetour
}
const browser: TransportSubject = {
  ...node,
  manifest: browserWebsocket.manifest,
  create: (limits) => browserWebsocket.create(parseOptions({}), testContext({ limits })),
  createCounterpart: node.create
}

describe('the WebSocket transport on Node', () => {
  for (const check of transportSuite(() => node)) it(`${check.id}: ${check.title}`, () => check.run())
})

describe('the WebSocket transport as browsers load it', () => {
  // Node 20 has no WebSocket of its own; that of `ws` has the same interface.
  beforeAll(() => {
    if (!('WebSocket' in globalThis)) vi.stubGlobal('WebSocket', WebSocket)
  })
  afterAll(() => {
    vi.unstubAllGlobals()
  })
  for (const check of transportSuite(() => browser)) it(`${check.id}: ${check.title}`, () => check.run())
})

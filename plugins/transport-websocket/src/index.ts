/** The door of the WebSocket transport on Node; `browser.ts` is the one in browsers. */
export type { Counters } from './counters.js'
export type { HttpMount } from './mount.js'
export type { WebSocketOptions } from './options.js'
export { type NodeTransport, websocket, websocket as default } from './plugin.js'

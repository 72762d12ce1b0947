/** The door of the link: a WebSocket with bounds on everything. */
export { CLOSE, Link, type LinkHandlers, type LinkHost } from './link.js'
export type { QueuedTotal } from './outbox.js'

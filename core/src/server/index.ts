/** The door of the server room: an acceptor, message store and mailbox for documents it cannot read. */
export { defaultLimits, type ServerLimits } from './limits.js'
export type { CreateRequest, ServerEvent, ServerPolicy } from './parts.js'
export { type Server, type ServerOptions, type ServerStats, startServer } from './server.js'

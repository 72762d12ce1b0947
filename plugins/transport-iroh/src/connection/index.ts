/** The door of connections: the handshake, and what it leads to. */
export { type ConnectionInit, IrohConnection } from './connection.js'
export { type Greeted, greetAsDialler, greetAsListener } from './handshake.js'
export { CLOSE, type CloseName } from './wire.js'

/** The door of the multiplexer. */
export { MuxConnection } from './connection.js'

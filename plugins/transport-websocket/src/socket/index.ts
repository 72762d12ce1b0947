/** The door of the sockets; `node.ts` and `web.ts` are side doors, each for its own runtime only. */
export { CLOSE, closeError, closeReason, MESSAGE_BYTES_MAX, receive, type Socket, type SocketEnd } from './socket.js'

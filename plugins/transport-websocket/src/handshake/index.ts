/** The door of the handshake. */
export { type Authenticated, authenticateToServer } from './client.js'
export {
  ALPN_BYTES_MAX,
  SERVER_NAME_BYTES_MAX,
  type Settings,
  STREAMS_MAX_MAX,
  WINDOW_BYTES_MAX,
  WINDOW_BYTES_MIN
} from './messages.js'
export { authenticateClient } from './server.js'

/** The door of the handshake's cryptography; `node.ts` and `web.ts` are side doors, each for its own runtime only. */
export { type HandshakeCrypto, isPeerKey, type Signer } from './crypto.js'

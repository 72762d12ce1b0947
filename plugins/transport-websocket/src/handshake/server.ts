/** The listening side of the handshake: it proves its key first and believes nothing before the client's proof. */
import { HeddleError } from '@heddle/core'
import { malformed } from '../bytes.js'
import { type HandshakeCrypto, isPeerKey, type Signer } from '../crypto/index.js'
import { closeError, receive, type Socket } from '../socket/index.js'
import type { Authenticated } from './client.js'
import {
  decodeClientHello,
  decodeClientProof,
  encodeServerHello,
  HANDSHAKE_BYTES_MAX,
  type Hello,
  NONCE_BYTES,
  type Settings,
  signedBytes
} from './messages.js'

export interface ServerHandshake {
  readonly crypto: HandshakeCrypto
  readonly random: (length: number) => Uint8Array
  readonly signer: Signer
  readonly settings: Settings
  readonly alpn: string
  /** Whether this server goes by the host:port a client dialled. */
  readonly isNamed: (serverName: string) => boolean
  /** Ends the wait; its reason is thrown. */
  readonly signal: AbortSignal
}

/**
 * Authenticates both sides; the socket is left with nobody attached, and what the client sent after its proof waits in it.
 * Throws UNAUTHENTICATED, MALFORMED or TRANSPORT_CLOSED; the caller closes the socket.
 */
export async function authenticateClient(socket: Socket, handshake: ServerHandshake): Promise<Authenticated> {
  const { crypto, signer, signal } = handshake
  const next = async () => {
    const bytes = await receive(
      socket,
      signal,
      (end) => closeError(end) ?? new HeddleError('TRANSPORT_CLOSED', 'the client left during the handshake')
    )
    if (bytes.length > HANDSHAKE_BYTES_MAX) throw malformed(`a handshake message of ${bytes.length} bytes`)
    return bytes
  }

  const client = decodeClientHello(await next())
  if (client.alpn !== handshake.alpn) throw malformed(`the client speaks "${client.alpn}", not "${handshake.alpn}"`)
  if (!handshake.isNamed(client.serverName)) {
    throw new HeddleError(
      'UNAUTHENTICATED',
      `this server does not go by the name ${client.serverName}; its option "names" has to list what clients dial`,
      { info: { serverName: client.serverName } }
    )
  }
  if (!isPeerKey(client.key)) throw new HeddleError('UNAUTHENTICATED', 'the key of the client is no usable Ed25519 key')

  const hello: Hello = {
    nonce: handshake.random(NONCE_BYTES),
    key: signer.publicKey,
    settings: handshake.settings
  }
  const transcript = { client, server: hello }
  const signature = await signer.sign(signedBytes(crypto, 'server', transcript))
  socket.send(encodeServerHello({ ...hello, signature }))

  const proof = decodeClientProof(await next())
  if (!(await crypto.verify(client.key, signedBytes(crypto, 'client', transcript), proof))) {
    throw new HeddleError('UNAUTHENTICATED', 'the client could not prove the key it claims')
  }
  return { peer: client.key, settings: client.settings }
}

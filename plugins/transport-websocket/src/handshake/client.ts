/** The dialling side of the handshake: it shows its key first and proves it last, after it has checked the server's proof. */
import { HeddleError } from '@heddle/core'
import { sameBytes } from '../bytes.js'
import { type HandshakeCrypto, isPeerKey, type Signer } from '../crypto/index.js'
import { CLOSE, closeError, receive, type Socket, type SocketEnd } from '../socket/index.js'
import {
  type ClientHello,
  decodeServerHello,
  encodeClientHello,
  encodeClientProof,
  NONCE_BYTES,
  type ServerHello,
  type Settings,
  signedBytes
} from './messages.js'

export interface ClientHandshake {
  readonly crypto: HandshakeCrypto
  readonly random: (length: number) => Uint8Array
  readonly signer: Signer
  readonly settings: Settings
  readonly alpn: string
  /** The host:port that was dialled. */
  readonly serverName: string
  readonly expectPeer: Uint8Array | undefined
  /** Ends the wait; its reason is thrown. */
  readonly signal: AbortSignal
}

/** Who the other side proved to be. */
export interface Authenticated {
  readonly peer: Uint8Array
  readonly settings: Settings
}

/**
 * Authenticates both sides; the socket is left with nobody attached. Throws UNAUTHENTICATED, MALFORMED or, when the server
 * hangs up for a reason of its own, TRANSPORT_UNREACHABLE; the caller closes the socket.
 */
export async function authenticateToServer(socket: Socket, handshake: ClientHandshake): Promise<Authenticated> {
  const { crypto, signer, serverName, alpn, settings } = handshake
  const client: ClientHello = {
    nonce: handshake.random(NONCE_BYTES),
    key: signer.publicKey,
    settings,
    alpn,
    serverName
  }
  socket.send(encodeClientHello(client))
  const server = decodeServerHello(await receive(socket, handshake.signal, (end) => whyRefused(serverName, end)))
  await checkServer(handshake, client, server)
  socket.send(encodeClientProof(await signer.sign(signedBytes(crypto, 'client', { client, server }))))
  return { peer: server.key, settings: server.settings }
}

async function checkServer(handshake: ClientHandshake, client: ClientHello, server: ServerHello): Promise<void> {
  const { crypto, serverName, expectPeer } = handshake
  if (expectPeer !== undefined && !sameBytes(server.key, expectPeer)) {
    throw unauthenticated(serverName, 'has another key than the one expected of it')
  }
  const proven =
    isPeerKey(server.key) &&
    (await crypto.verify(server.key, signedBytes(crypto, 'server', { client, server }), server.signature))
  if (!proven) throw unauthenticated(serverName, 'could not prove the key it claims')
}

function whyRefused(serverName: string, end: SocketEnd): HeddleError {
  const said = closeError(end)
  if (said?.code === 'UNAUTHENTICATED') return said
  const cause = end.cause instanceof Error ? end.cause : said
  const why = cause?.message ?? 'it closed the connection during the handshake'
  return new HeddleError('TRANSPORT_UNREACHABLE', `${serverName} took no connection: ${why}`, {
    cause,
    info: { closeCode: end.code }
  })
}

function unauthenticated(serverName: string, what: string): HeddleError {
  return new HeddleError('UNAUTHENTICATED', `the server at ${serverName} ${what}`, {
    info: { serverName, closeCode: CLOSE.unauthenticated }
  })
}

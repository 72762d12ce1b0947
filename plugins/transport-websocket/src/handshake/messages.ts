/**
 * The three messages with which both ends prove their keys, and the transcript they sign. The README of this package is the
 * description of the protocol; `client.ts` and `server.ts` are its two sides.
 *
 * | message     | bytes                                                                                          |
 * |-------------|------------------------------------------------------------------------------------------------|
 * | ClientHello | 1, version, nonce 32, key 32, settings 12, length 1 + ALPN, length 2 + server name             |
 * | ServerHello | 2, version, nonce 32, key 32, settings 12, signature 64                                        |
 * | ClientProof | 3, signature 64                                                                                |
 */
import { ByteReader, ByteWriter, malformed } from '../bytes.js'
import type { HandshakeCrypto } from '../crypto/index.js'

/** What an end announces about itself; the other end keeps to it. */
export interface Settings {
  /** Bytes the other side may have under way on one stream. */
  readonly windowBytes: number
  /** Streams the other side may have open. */
  readonly streamsMax: number
  /** Largest frame this side takes. */
  readonly frameBytesMax: number
}

export interface Hello {
  readonly nonce: Uint8Array
  readonly key: Uint8Array
  readonly settings: Settings
}
export interface ClientHello extends Hello {
  readonly alpn: string
  /** The host:port the client dialled. */
  readonly serverName: string
}
export interface ServerHello extends Hello {
  readonly signature: Uint8Array
}

/** Everything the signatures cover. */
export interface Transcript {
  readonly client: ClientHello
  readonly server: Hello
}
export type Role = 'client' | 'server'

export const NONCE_BYTES = 32
export const HANDSHAKE_BYTES_MAX = 1024
export const WINDOW_BYTES_MIN = 64 * 1024
export const WINDOW_BYTES_MAX = 256 * 1024 * 1024
export const STREAMS_MAX_MAX = 65_536
export const ALPN_BYTES_MAX = 64
export const SERVER_NAME_BYTES_MAX = 300

const LABEL = 'heddle/1 websocket'
const VERSION = 1
const TYPE = { clientHello: 1, serverHello: 2, clientProof: 3 } as const

/**
 * What `role` signs: the label, then SHA-256 over everything both sides said, each part with its length before it. The role
 * keeps a signature from being sent back to its maker; the keys and the name keep it from being used with anybody else.
 */
export function signedBytes(crypto: HandshakeCrypto, role: Role, { client, server }: Transcript): Uint8Array {
  const transcript = new ByteWriter()
  for (const part of [
    ascii(LABEL),
    ascii(role),
    ascii(client.alpn),
    client.key,
    server.key,
    client.nonce,
    server.nonce,
    ascii(client.serverName),
    settingsBytes(client.settings),
    settingsBytes(server.settings)
  ]) {
    transcript.u16(part.length).bytes(part)
  }
  return new ByteWriter().bytes(ascii(LABEL)).bytes(crypto.sha256(transcript.take())).take()
}

export function encodeClientHello(hello: ClientHello): Uint8Array<ArrayBuffer> {
  const writer = writeHello(TYPE.clientHello, hello)
  writer.u8(hello.alpn.length).bytes(ascii(hello.alpn))
  return writer.u16(hello.serverName.length).bytes(ascii(hello.serverName)).take()
}

/** Throws MALFORMED; the result's byte arrays are its own. */
export function decodeClientHello(bytes: Uint8Array): ClientHello {
  const { reader, hello } = readHello(TYPE.clientHello, 'ClientHello', bytes)
  const alpn = readAscii(reader, reader.u8(), ALPN_BYTES_MAX)
  const serverName = readAscii(reader, reader.u16(), SERVER_NAME_BYTES_MAX)
  reader.end()
  return { ...hello, alpn, serverName }
}

export function encodeServerHello(hello: ServerHello): Uint8Array<ArrayBuffer> {
  return writeHello(TYPE.serverHello, hello).bytes(hello.signature).take()
}

/** Throws MALFORMED; the result's byte arrays are its own. */
export function decodeServerHello(bytes: Uint8Array): ServerHello {
  const { reader, hello } = readHello(TYPE.serverHello, 'ServerHello', bytes)
  const signature = new Uint8Array(reader.bytes(64))
  reader.end()
  return { ...hello, signature }
}

export function encodeClientProof(signature: Uint8Array): Uint8Array<ArrayBuffer> {
  return new ByteWriter().u8(TYPE.clientProof).bytes(signature).take()
}

/** The signature, a copy. Throws MALFORMED. */
export function decodeClientProof(bytes: Uint8Array): Uint8Array {
  const reader = new ByteReader(bytes)
  if (reader.u8() !== TYPE.clientProof) throw malformed('another message than ClientProof')
  const signature = new Uint8Array(reader.bytes(64))
  reader.end()
  return signature
}

function writeHello(type: number, { nonce, key, settings }: Hello): ByteWriter {
  return new ByteWriter().u8(type).u8(VERSION).bytes(nonce).bytes(key).bytes(settingsBytes(settings))
}

function readHello(type: number, name: string, bytes: Uint8Array): { reader: ByteReader; hello: Hello } {
  if (bytes.length > HANDSHAKE_BYTES_MAX) throw malformed(`a handshake message of ${bytes.length} bytes`)
  const reader = new ByteReader(bytes)
  if (reader.u8() !== type) throw malformed(`another message than ${name}`)
  const version = reader.u8()
  if (version !== VERSION) throw malformed(`handshake version ${version}; this side speaks ${VERSION}`)
  const nonce = new Uint8Array(reader.bytes(NONCE_BYTES))
  const key = new Uint8Array(reader.bytes(32))
  return { reader, hello: { nonce, key, settings: readSettings(reader) } }
}

function settingsBytes(settings: Settings): Uint8Array {
  return new ByteWriter().u32(settings.windowBytes).u32(settings.streamsMax).u32(settings.frameBytesMax).take()
}

function readSettings(reader: ByteReader): Settings {
  const settings: Settings = { windowBytes: reader.u32(), streamsMax: reader.u32(), frameBytesMax: reader.u32() }
  if (settings.windowBytes < WINDOW_BYTES_MIN || settings.windowBytes > WINDOW_BYTES_MAX) {
    throw malformed(`a window of ${settings.windowBytes} bytes`)
  }
  if (settings.streamsMax < 1 || settings.streamsMax > STREAMS_MAX_MAX) {
    throw malformed(`${settings.streamsMax} streams`)
  }
  return settings
}

function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (char) => char.charCodeAt(0))
}

function readAscii(reader: ByteReader, length: number, lengthMax: number): string {
  if (length === 0 || length > lengthMax) throw malformed(`a text of ${length} bytes`)
  const text = String.fromCharCode(...reader.bytes(length))
  // Printable ASCII only: these texts are compared, and shown in messages and logs.
  if (!/^[!-~]+$/.test(text)) throw malformed('a text that is not printable ASCII')
  return text
}

/** The transports that are compared, as both ends of the comparison start them. */
import { generateKeyPairSync } from 'node:crypto'
import { type EndpointIdentity, type PluginRef, resolvePlugin, systemContext, type Transport } from '@heddle/core'
import { iroh } from '@heddle/transport-iroh'
import { websocket } from '@heddle/transport-websocket'

export type TransportName = 'websocket' | 'iroh'
export interface Contender {
  readonly name: TransportName
  readonly plugin: () => PluginRef<'transport'>
  readonly listen: string
}

/** The first is the yardstick. */
export const transports: readonly Contender[] = [
  { name: 'websocket', plugin: () => websocket(), listen: 'ws://127.0.0.1:0' },
  { name: 'iroh', plugin: () => iroh(), listen: 'iroh://127.0.0.1:0' }
]

export const alpn = 'heddle-bench/1'
/** Length of a stream's first frame: a number, big endian, of frames to be answered by one; 0 sends each back. */
export const commandBytes = 4

export async function startTransport({ plugin }: Contender): Promise<Transport> {
  return (await resolvePlugin(plugin(), 'transport', systemContext())).instance
}

export function newIdentity(): EndpointIdentity {
  const { d, x } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' })
  const bytes = (text: string | undefined) => new Uint8Array(Buffer.from(text ?? '', 'base64url'))
  return { secretKey: bytes(d), publicKey: bytes(x) }
}

/**
 * Addresses of the iroh transport. A peer is its key and ways to it, `iroh://<key>?addr=<ip:port>&relay=<url>`: up to eight
 * direct addresses and one relay, at least one way in all. To listen there is also `iroh://<ip:port>`. One address is at
 * most 256 characters, what a document keeps of a server.
 */
import { isIP, isIPv6 } from 'node:net'
import { HeddleError } from '@heddle/core'

export interface PeerAddress {
  /** 32 bytes: the endpoint id, which is the peer's Ed25519 public key. */
  readonly id: Uint8Array
  /** "ip:port", an IPv6 address in brackets. */
  readonly direct: readonly string[]
  readonly relay: string | undefined
}

/** Where to bind. */
export interface BindAddress {
  readonly ip: string
  /** 0 for any. */
  readonly port: number
  /** The key that was written with it, which must be the listener's own. */
  readonly id: Uint8Array | undefined
}

export const ADDRESS_CHARACTERS_MAX = 256
const DIRECT_MAX = 8

/** Throws CONFIG_INVALID. */
export function parsePeerAddress(address: string): PeerAddress {
  const [host, query] = split(address)
  if (!/^[0-9a-f]{64}$/.test(host)) throw invalid(address, 'it does not begin with the 64 hexadecimal digits of a key')
  const direct: string[] = []
  let relay: string | undefined
  for (const part of query === undefined ? [] : query.split('&')) {
    const at = part.indexOf('=')
    const value = decoded(part.slice(at + 1), address)
    switch (part.slice(0, Math.max(at, 0))) {
      case 'addr':
        if (parseSocket(value, 1) === undefined) throw invalid(address, `"${value}" is no ip:port`)
        direct.push(value)
        break
      case 'relay':
        if (relay !== undefined) throw invalid(address, 'it names two relays')
        relay = parseRelay(value)
        if (relay === undefined) throw invalid(address, `"${value}" is no relay URL`)
        break
      default:
        throw invalid(address, `it has "${part}", which is neither addr nor relay`)
    }
  }
  if (direct.length > DIRECT_MAX) throw invalid(address, `it has ${direct.length} direct addresses`)
  if (direct.length === 0 && relay === undefined) throw invalid(address, 'it names no way to the peer')
  return { id: Uint8Array.from(host.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16)), direct, relay }
}

/** Takes `iroh://ip:port`, and what a listener on one address announces. Throws CONFIG_INVALID. */
export function parseListenAddress(address: string): BindAddress {
  const [host, query] = split(address)
  const socket = query === undefined ? parseSocket(host, 0) : undefined
  if (socket !== undefined) return { ...socket, id: undefined }
  if (!/^[0-9a-f]{64}$/.test(host)) throw invalid(address, 'it is no ip:port to listen on')
  const { id, direct } = parsePeerAddress(address)
  const only = direct.length === 1 && direct[0] !== undefined ? parseSocket(direct[0], 1) : undefined
  if (only === undefined) throw invalid(address, 'to listen it must have exactly one direct address')
  return { ...only, id }
}

/** Leaves out the last direct addresses when the whole would be too long. */
export function formatPeerAddress({ id, direct, relay }: PeerAddress): string {
  const key = Array.from(id, (byte) => byte.toString(16).padStart(2, '0')).join('')
  for (let count = Math.min(direct.length, DIRECT_MAX); ; count--) {
    const ways = direct.slice(0, count).map((socket) => `addr=${socket}`)
    if (relay !== undefined) ways.push(`relay=${relay.replaceAll('%', '%25').replaceAll('&', '%26')}`)
    const address = `iroh://${key}?${ways.join('&')}`
    if (address.length <= ADDRESS_CHARACTERS_MAX || count === 0) return address
  }
}

export function formatSocket(ip: string, port: number): string {
  return isIPv6(ip) ? `[${ip}]:${port}` : `${ip}:${port}`
}

/** "ip:port" with a port of at least `portMin`, or undefined. */
export function parseSocket(text: string, portMin: number): { readonly ip: string; readonly port: number } | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d{1,5})$/.exec(text)
  const ip = match?.[1] ?? match?.[2] ?? ''
  const port = Number(match?.[3])
  if (isIP(ip) !== (match?.[1] === undefined ? 4 : 6) || !(port >= portMin && port <= 65_535)) return undefined
  return { ip, port }
}

/** The URL as iroh writes it, or undefined when it cannot name a relay. */
export function parseRelay(text: string): string | undefined {
  if (!URL.canParse(text) || text.length > 150) return undefined
  const url = new URL(text)
  const isPlain = url.username === '' && url.password === '' && url.search === '' && url.hash === ''
  return isPlain && (url.protocol === 'https:' || url.protocol === 'http:') ? url.href : undefined
}

function split(address: string): readonly [host: string, query: string | undefined] {
  if (address.length > ADDRESS_CHARACTERS_MAX) throw invalid(`${address.slice(0, 64)}…`, 'it is too long')
  const match = /^iroh:\/\/([^/?#@]+)\/?(?:\?([^#]*))?$/.exec(address)
  if (match?.[1] === undefined) throw invalid(address, 'it is not written like one')
  return [match[1], match[2]]
}

function decoded(text: string, address: string): string {
  try {
    return decodeURIComponent(text)
  } catch (cause) {
    throw invalid(address, `"${text}" is not encoded as URLs are`, cause)
  }
}

function invalid(address: string, why: string, cause?: unknown): HeddleError {
  return new HeddleError(
    'CONFIG_INVALID',
    `"${address}" is no iroh address: ${why}; write iroh://<key>?addr=<ip:port>&relay=<url>, or iroh://<ip:port> to listen`,
    { cause, info: { address } }
  )
}

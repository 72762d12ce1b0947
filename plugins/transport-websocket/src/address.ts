/** Addresses as URLs, the server name the handshake binds, and the protocol name as a WebSocket subprotocol. */
import { HeddleError } from '@heddle/core'
import { ALPN_BYTES_MAX, SERVER_NAME_BYTES_MAX } from './handshake/index.js'

export interface Address {
  readonly url: string
  readonly isSecure: boolean
  /** As it is looked up and listened on, an IPv6 address without brackets. */
  readonly hostname: string
  readonly port: number
  /** host:port in lower case, the port always said. */
  readonly serverName: string
  readonly path: string
}

/** Throws CONFIG_INVALID. */
export function parseAddress(address: string): Address {
  let url: URL
  try {
    url = new URL(address)
  } catch (cause) {
    throw invalid(address, 'it is no URL', cause)
  }
  if (url.protocol !== 'ws:' && url.protocol !== 'wss:') throw invalid(address, `its scheme is "${url.protocol}"`)
  if (url.username !== '' || url.password !== '') throw invalid(address, 'it carries a user name or password')
  if (url.search !== '' || url.hash !== '') throw invalid(address, 'it has a query or a fragment')
  if (url.hostname === '') throw invalid(address, 'it names no host')
  const isSecure = url.protocol === 'wss:'
  const port = url.port === '' ? (isSecure ? 443 : 80) : Number(url.port)
  const serverName = `${url.hostname}:${port}`.toLowerCase()
  if (serverName.length > SERVER_NAME_BYTES_MAX) throw invalid(address, 'its host name is too long')
  return {
    url: url.href,
    isSecure,
    hostname: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port,
    serverName,
    path: url.pathname
  }
}

/**
 * "heddle/1" as a WebSocket subprotocol: "heddle.1", since a token has no slash (RFC 9110 §5.6.2). Throws CONFIG_INVALID.
 */
export function subprotocol(alpn: string): string {
  if (!/^[A-Za-z0-9._/-]+$/.test(alpn) || alpn.length > ALPN_BYTES_MAX) {
    throw new HeddleError(
      'CONFIG_INVALID',
      `"${alpn}" cannot name a protocol on WebSocket; use letters, digits, "/", "." and "-"`
    )
  }
  return alpn.replaceAll('/', '.')
}

function invalid(address: string, why: string, cause?: unknown): HeddleError {
  return new HeddleError(
    'CONFIG_INVALID',
    `"${address}" is no WebSocket address: ${why}; write it as ws://host:port or wss://host:port`,
    { cause, info: { address } }
  )
}

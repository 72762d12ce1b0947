/**
 * Changing the servers of a document (SPEC GROUP-020 to GROUP-022): what is checked before such a change is asked for.
 * Called by the document.
 */
import { emptyBytes, equalBytes, fromHex, toHex } from '../bytes.js'
import { HeddleError } from '../errors.js'
import type { ServerEntry } from '../wire/index.js'
import { type LinkPool, type LinkUser, parseTicket } from './links.js'
import type { Room } from './room.js'

const serversMax = 7
const addressesMax = 8
const reachTimeoutMs = 6_000

/** Tickets of one server are its addresses, best first. Throws CONFIG_INVALID. */
function mergedServers(tickets: readonly string[]): ServerEntry[] {
  const addressesOf = new Map<string, Set<string>>()
  for (const { id, addresses } of tickets.map(parseTicket)) {
    const known = addressesOf.get(toHex(id)) ?? new Set()
    for (const address of addresses) known.add(address)
    addressesOf.set(toHex(id), known)
  }
  return [...addressesOf].map(([id, known]) => {
    const addresses = [...known]
    if (addresses.length <= addressesMax) return { id: fromHex(id) ?? emptyBytes, addresses }
    throw new HeddleError(
      'CONFIG_INVALID',
      `server ${id} is given ${addresses.length} addresses, more than ${addressesMax}`
    )
  })
}

/** The servers of tickets, in the order documents have them (SPEC GROUP-007). Throws CONFIG_INVALID. */
export function serverList(tickets: readonly string[]) {
  const servers = mergedServers(tickets)
  if (servers.length < 1 || servers.length > serversMax)
    throw new HeddleError('CONFIG_INVALID', `a document needs 1 to 7 different servers, ${servers.length} were given`)
  return servers.sort((a, b) => (toHex(a.id) < toHex(b.id) ? -1 : 1))
}

/** The server that these tickets are all of. Throws CONFIG_INVALID. */
export function serverOfTickets(tickets: string | readonly string[]): ServerEntry {
  const [server, another] = mergedServers(typeof tickets === 'string' ? [tickets] : tickets)
  if (server !== undefined && another === undefined) return server
  throw new HeddleError(
    'CONFIG_INVALID',
    'one server is added at a time: give the tickets of one, several if it has several'
  )
}

/** The server of these tickets, to be added or to come instead of another. Throws CONFIG_INVALID. */
export function serverToAdd(tickets: string | readonly string[], room: Room, how?: 'instead'): ServerEntry {
  const server = serverOfTickets(tickets)
  const { servers } = room.group.public.servers
  if (servers.some(({ id }) => equalBytes(id, server.id)))
    throw new HeddleError('CONFIG_INVALID', 'this is a server of the document already; replacing it by itself moves it')
  if (how === undefined && servers.length >= serversMax)
    throw new HeddleError('CONFIG_INVALID', `the document has ${serversMax} servers, the most there can be`)
  return server
}

/** The server that is to be removed, in bytes. Throws NOT_FOUND, CONFIG_INVALID. */
export function serverToRemove(id: string, room: Room): Uint8Array {
  const { servers, faultBound } = room.group.public.servers
  const server = serverOf(id, room)
  const least = faultBound === 0 ? 1 : 3 * faultBound + 1
  if (servers.length > least) return server.id
  const why = faultBound === 0 ? 'a document needs a server' : `tolerating ${faultBound} takes ${least} servers`
  throw new HeddleError('CONFIG_INVALID', `${why}: add another first, or replace this one`)
}

/** A server of the document. Throws NOT_FOUND. */
export function serverOf(id: string, { group, id: document }: Room): ServerEntry {
  const server = group.public.servers.servers.find((one) => toHex(one.id) === id)
  if (server !== undefined) return server
  throw new HeddleError('NOT_FOUND', `"${id}" is no server of document ${document}`)
}

/**
 * Resolves once a connection to the server stands: one that is not there must not be voted in, since it would count from
 * then on. Throws TRANSPORT_UNREACHABLE, ABORTED.
 */
export async function reach(server: ServerEntry, pool: LinkPool, signal: AbortSignal): Promise<void> {
  const link = pool.link(server.id)
  // A name of its own, so that it does not take news from a document.
  const user = `reach ${toHex(pool.context.random(8))}`
  try {
    await new Promise<void>((resolve, reject) => {
      const giveUp = () => {
        const { lastError, address } = link.status(user)
        const why = lastError === undefined ? '' : `: ${lastError.message}`
        settle(() => reject(new HeddleError('TRANSPORT_UNREACHABLE', `the server at ${address} does not answer${why}`)))
      }
      const onAbort = () => settle(() => reject(new HeddleError('ABORTED', 'waiting for the server was aborted')))
      const timer = pool.context.clock.setTimer(reachTimeoutMs, giveUp)
      const settle = (how: () => void) => {
        timer[Symbol.dispose]()
        signal.removeEventListener('abort', onAbort)
        how()
      }
      const onUp = () => settle(resolve)
      const waiting: LinkUser = { onUp, onDown: () => {}, onNews: () => {} }
      signal.addEventListener('abort', onAbort)
      if (signal.aborted) onAbort()
      else link.attach(user, waiting, server.addresses)
    })
  } finally {
    await link.detach(user)
  }
}

/**
 * Connections to servers: one per server whatever the number of documents, dialled again with growing pauses when it is
 * lost (SPEC NET). A document attaches to the link of each of its servers and hears when it comes, goes and speaks.
 */
import { fromHex, toHex } from '../bytes.js'
import { HeddleError } from '../errors.js'
import { alpn, type DeviceChannel, type News, openChannel } from '../net/index.js'
import type { Context, EndpointIdentity, Transport } from '../plugin/index.js'
import { type ServerEntry, Vote } from '../wire/index.js'
import type { ServerStatus } from './api.js'

const dialTimeoutMs = 10_000
const pauseMsMin = 100
/** Of one document: those of its newest servers extension, and what they replaced. */
const addressesMax = 16
const pauseMsMax = 15_000
const lastedMs = 2_000
const agent = 'heddle-ts/0.1'

/** What a document does with a link. The calls come in order; none waits. */
export interface LinkUser {
  /** The connection stands. */
  onUp(link: ServerLink): void
  /** It was lost or could not be made. */
  onDown(link: ServerLink): void
  /** While a returned promise is pending nothing more is read from this server. */
  onNews(link: ServerLink, news: News): void | Promise<void>
}

/** Who uses a link, and where it says the server is. */
interface Attached {
  readonly user: LinkUser
  /** Newest first. */
  addresses: readonly string[]
  /** Connections by these addresses that could not be made, or did not last: the next address is tried then. */
  failures: number
}

export class ServerLink {
  /** Server id, 64 hexadecimal digits. */
  readonly id: string
  readonly publicKey: Uint8Array
  readonly #pool: LinkPool
  /** By document; the one whose addresses are dialled next comes first. */
  readonly #users = new Map<string, Attached>()
  #channel: DeviceChannel | undefined
  #state: ServerStatus['state'] = 'connecting'
  #lastError: HeddleError | undefined
  #failures = 0
  /** Why this device ended the connection itself. */
  #blamed: HeddleError | undefined
  #pause: Disposable | undefined
  readonly #stop = new AbortController()

  constructor(pool: LinkPool, publicKey: Uint8Array) {
    this.#pool = pool
    this.publicKey = publicKey
    this.id = toHex(publicKey)
  }

  /** The channel while the connection stands. */
  get channel(): DeviceChannel | undefined {
    return this.#channel
  }

  /** The address is the one that this document has for the server. */
  status(documentId: string): ServerStatus {
    const address = this.#users.get(documentId)?.addresses[0] ?? ''
    const status = { id: this.id, address, state: this.#state }
    const error = this.#lastError
    return error === undefined ? status : { ...status, lastError: { code: error.code, message: error.message } }
  }

  /** Hears of this link from now on, of its being up already too. */
  attach(documentId: string, user: LinkUser, addresses: readonly string[]): void {
    const first = this.#users.size === 0
    this.#users.set(documentId, { user, addresses, failures: 0 })
    if (this.#channel !== undefined) user.onUp(this)
    else if (first) this.#dial()
  }

  /** Where a document says the server is now. Where it was is tried further: what was said last may be wrong. */
  learn(documentId: string, addresses: readonly string[]): void {
    const attached = this.#users.get(documentId)
    if (attached === undefined || addresses.every((address, i) => address === attached.addresses[i])) return
    attached.addresses = [...new Set([...addresses, ...attached.addresses])].slice(0, addressesMax)
    attached.failures = 0
  }

  /** Ends it for one document; without any left the connection closes. */
  async detach(documentId: string): Promise<void> {
    this.#users.delete(documentId)
    if (this.#users.size === 0) await this.close()
  }

  /** The server sent what no honest one sends: the connection ends, and the next one waits longer. */
  blame(error: HeddleError): void {
    this.#failures += 4
    this.#blamed = error
    this.#channel?.[Symbol.asyncDispose]()
  }

  async close(): Promise<void> {
    this.#stop.abort()
    this.#pause?.[Symbol.dispose]()
    this.#pool.forget(this)
    await this.#channel?.[Symbol.asyncDispose]()
  }

  async #dial(): Promise<void> {
    const { context, identity, transports } = this.#pool.options
    if (this.#lastError === undefined) this.#state = 'connecting'
    const by = this.#next()
    const transportFor = (address: string) =>
      transports.find(({ schemes }) => schemes.includes(address.slice(0, address.indexOf(':'))))
    const usable = by?.addresses.filter((address) => transportFor(address) !== undefined) ?? []
    const address = (by && (usable[by.failures % usable.length] ?? by.addresses[0])) ?? ''
    const timeout = new AbortController()
    // Where there is another way, a silent one is not waited for as long.
    const timer = context.clock.setTimer(usable.length > 1 ? dialTimeoutMs / 2 : dialTimeoutMs, () => timeout.abort())
    try {
      const transport = transportFor(address)
      if (transport === undefined)
        throw new HeddleError('CONFIG_INVALID', `no transport of this device dials "${address}"`)
      const signal = AbortSignal.any([timeout.signal, this.#stop.signal])
      const connection = await transport.dial(address, { identity, alpn, expectPeer: this.publicKey, signal })
      const channel = await openChannel(connection, { context, agent, signal, onNews: (news) => this.#onNews(news) })
      this.#up(channel, by)
    } catch (cause) {
      if (by !== undefined) by.failures++
      this.#down(
        HeddleError.is(cause) && !timeout.signal.aborted
          ? cause
          : new HeddleError('TRANSPORT_UNREACHABLE', `${address} cannot be reached`, { cause })
      )
    } finally {
      timer[Symbol.dispose]()
    }
  }

  /**
   * The documents take turns, each with its own addresses: whatever the admin of one says about the server, an address
   * that leads nowhere or one that forwards and then falls silent, the others' are tried as often.
   */
  #next(): Attached | undefined {
    const [next] = this.#users
    if (next === undefined) return undefined
    const [documentId, attached] = next
    this.#users.delete(documentId)
    this.#users.set(documentId, attached)
    return attached
  }

  #up(channel: DeviceChannel, by: Attached | undefined): void {
    this.#channel = channel
    this.#state = 'connected'
    this.#lastError = undefined
    const upMs = this.#pool.context.clock.now()
    channel.closed.then((reason) => {
      // Only a connection that lasted shows that the next one may be made without a pause, and the same way.
      const lasted = this.#pool.context.clock.now() - upMs >= lastedMs
      if (lasted && this.#blamed === undefined) this.#failures = 0
      if (!lasted && by !== undefined) by.failures++
      this.#down(reason)
    })
    if (this.#stop.signal.aborted) channel[Symbol.asyncDispose]()
    else for (const { user } of [...this.#users.values()]) user.onUp(this)
  }

  #down(reason: HeddleError): void {
    this.#channel = undefined
    if (this.#stop.signal.aborted) return
    const refused = this.#blamed !== undefined || (reason.retry === 'never' && reason.code !== 'ABORTED')
    this.#state = refused ? 'refused' : 'unreachable'
    this.#lastError = this.#blamed ?? reason
    this.#blamed = undefined
    const { context, random } = this.#pool
    context.log('debug', 'link.down', { server: this.id, code: reason.code, message: reason.message })
    const pauseMs = Math.min(pauseMsMax, pauseMsMin * 2 ** Math.min(this.#failures, 10))
    this.#failures++
    this.#pause = context.clock.setTimer(pauseMs * (0.5 + random()), () => this.#dial())
    for (const { user } of [...this.#users.values()]) user.onDown(this)
  }

  #onNews(news: News): void | Promise<void> {
    const group = groupOf(news)
    return group === undefined ? undefined : this.#users.get(toHex(group))?.user.onNews(this, news)
  }
}

export interface LinkPoolOptions {
  readonly context: Context
  readonly identity: EndpointIdentity
  readonly transports: readonly Transport[]
}

/** All links of a device. */
export class LinkPool {
  readonly options: LinkPoolOptions
  readonly #links = new Map<string, ServerLink>()
  #closed = false

  constructor(options: LinkPoolOptions) {
    this.options = options
  }

  get context(): Context {
    return this.options.context
  }

  /** Uniform in [0, 1). */
  readonly random = (): number => {
    const bytes = this.context.random(4)
    return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0) / 2 ** 32
  }

  /** The link to a server; it dials once a document attaches. */
  link(serverId: Uint8Array): ServerLink {
    if (this.#closed) throw new HeddleError('DISPOSED', 'the device is closed')
    const id = toHex(serverId)
    let link = this.#links.get(id)
    if (link === undefined) {
      link = new ServerLink(this, serverId)
      this.#links.set(id, link)
    }
    return link
  }

  forget(link: ServerLink): void {
    if (this.#links.get(link.id) === link) this.#links.delete(link.id)
  }

  async close(): Promise<void> {
    this.#closed = true
    await Promise.all([...this.#links.values()].map((link) => link.close()))
  }
}

/** A server as users name it: "ws://host:port/#<server id>". Throws CONFIG_INVALID. */
export function parseTicket(ticket: string): ServerEntry {
  const hash = ticket.lastIndexOf('#')
  const id = fromHex(ticket.slice(hash + 1))
  if (hash < 1 || id?.length !== 32 || !/^[a-z][a-z0-9+.-]*:/.test(ticket)) {
    throw new HeddleError(
      'CONFIG_INVALID',
      `"${ticket}" is not a server ticket: expected what \`heddle serve\` prints, ws://host:port/#<64 hexadecimal digits>`
    )
  }
  return { id, addresses: [ticket.slice(0, hash)] }
}

export const formatTicket = (address: string, id: Uint8Array): string => `${address}#${toHex(id)}`

function groupOf(news: News): Uint8Array | undefined {
  switch (news.$case) {
    case 'vote': {
      const statement = news.value.vote?.statement
      return statement && Vote.decode(statement).group
    }
    default:
      return news.value.group
  }
}

/**
 * Running a server with the default plugins: LMDB in a folder, WebSocket and iroh, and a relay for iroh on the port of the
 * WebSockets. What `heddle` exports as `serve`, and what `heddle serve` runs.
 */
import { mkdir } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import {
  type Context,
  disposeAll,
  formatTicket,
  HeddleError,
  type HostLimits,
  type Log,
  type PluginRef,
  type ResolveOptions,
  type Server,
  startPlugins,
  startServer,
  systemContext
} from '@heddle/core'
import { lmdbStorage } from '@heddle/storage-lmdb'
import { type Authorize, everyone, irohRelay, tokens } from '@heddle/relay-iroh'
import { iroh } from '@heddle/transport-iroh'
import { websocket } from '@heddle/transport-websocket'

export interface ServeOptions extends ResolveOptions {
  /** Folder of the server, its secret key included; created if need be. Not used with a `storage` of your own. */
  readonly path: string
  /** Default: WebSocket and iroh on port 8440 of this machine only; without iroh where there is no build of it. */
  readonly listen?: readonly string[]
  /** Default: LMDB in the folder. */
  readonly storage?: PluginRef<'storage'>
  /** Default: WebSocket and iroh. With transports of your own there is no relay. */
  readonly transports?: readonly PluginRef<'transport'>[]
  /** Whom it relays iroh connections for, on the port of the WebSockets. Default: members of its documents. */
  readonly relay?: RelayPolicy
  /** Relays by which it can be reached itself over iroh: https:// or http:// URLs. Default: none. */
  readonly relayUrls?: readonly string[]
  /** Default: nothing is logged. */
  readonly log?: Log
  readonly limits?: Partial<HostLimits>
}

/** Members of the server's documents, anybody, who has one of these tokens, or nobody. */
export type RelayPolicy = 'members' | 'everyone' | 'off' | { readonly tokens: readonly string[] }

/** A running server and its tickets. Disposing it stops it and closes its plugins. */
export interface ServingServer extends AsyncDisposable {
  /** "ws://host:port/#<server id>", one for each address: what devices name it by. */
  readonly tickets: readonly string[]
  /** Where devices find the relay: "http://host:port/". Empty when there is none. */
  readonly relays: readonly string[]
  readonly server: Server
}

export const defaultListen = ['ws://127.0.0.1:8440', 'iroh://127.0.0.1:8440'] as const

/**
 * Starts a server. Throws STORAGE_UNAVAILABLE, STORAGE_CORRUPT, TRANSPORT_ADDRESS_IN_USE, CONFIG_INVALID and the PLUGIN
 * errors.
 * @example
 * const { tickets } = await serve({ path: 'server1', listen: ['ws://127.0.0.1:8440'] })
 */
export async function serve(options: ServeOptions): Promise<ServingServer> {
  const { path, log, limits, importModule, base } = options
  const context = systemContext({ ...(log !== undefined && { log }), ...(limits !== undefined && { limits }) })
  const storage = options.storage ?? (await defaultStorage(path))
  const opened: AsyncDisposable[] = []
  let running: Server | undefined
  const transports = options.transports ?? defaultTransports(options, context, () => running)
  try {
    const plugins = await startPlugins({ crdts: [], storage, transports }, context, {
      ...(importModule !== undefined && { importModule }),
      ...(base !== undefined && { base })
    })
    opened.push(plugins)
    const storageAndTransports = {
      storage: plugins.storage.instance,
      transports: plugins.transports.map(({ instance }) => instance),
      context
    }
    const server = await startServer({ ...storageAndTransports, listen: options.listen ?? defaultListen }).catch(
      (error: unknown) => {
        if (options.listen !== undefined || !HeddleError.is(error, 'CAPABILITY_MISSING')) throw error
        context.log('warn', 'serve.no-iroh', { message: error.message })
        return startServer({ ...storageAndTransports, listen: defaultListen.slice(0, 1) })
      }
    )
    running = server
    opened.push(server)
    // As URLs are written in full: ws://host:port/ and not ws://host:port.
    const addresses = server.addresses.map((address) => new URL(address).href)
    const hasRelay = options.transports === undefined && options.relay !== 'off'
    return {
      server,
      tickets: addresses.map((address) => formatTicket(address, server.id)),
      relays: hasRelay ? addresses.filter(isWebSocket).map((address) => address.replace(/^ws/, 'http')) : [],
      [Symbol.asyncDispose]: () => disposeAll(opened)
    }
  } catch (cause) {
    await disposeAll(opened)
    throw cause
  }
}

const isWebSocket = (address: string): boolean => /^wss?:/.test(address)

/** `server`: once it runs. The relay is there before it, on the listener that the transport opens for it. */
function defaultTransports(
  { relay = 'members', relayUrls = [] }: ServeOptions,
  context: Context,
  server: () => Server | undefined
): readonly PluginRef<'transport'>[] {
  const mounts = relay === 'off' ? [] : [irohRelay({ authorize: authorizeBy(relay, server) }, context)]
  return [websocket({ mounts }), iroh({ relays: relayUrls })]
}

function authorizeBy(policy: Exclude<RelayPolicy, 'off'>, server: () => Server | undefined): Authorize {
  if (policy === 'everyone') return everyone
  if (policy !== 'members') return tokens(policy.tokens)
  return async (endpointId) => (await server()?.serves(endpointId)) ?? false
}

/** The storage plugin creates the folder itself, but not what is above it. */
async function defaultStorage(path: string): Promise<PluginRef<'storage'>> {
  const parent = dirname(resolve(path))
  await mkdir(parent, { recursive: true }).catch((cause: unknown) => {
    const reason = cause instanceof Error ? cause.message : String(cause)
    const message = `the folder ${parent} cannot be created (${reason}); check permissions or name another one with --data`
    throw new HeddleError('STORAGE_UNAVAILABLE', message, { cause })
  })
  return lmdbStorage({ path })
}

/**
 * Running a server with the default plugins: LMDB in a folder, WebSocket. What `heddle` exports as `serve`, and what
 * `heddle serve` runs.
 */
import { mkdir } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import {
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
import { websocket } from '@heddle/transport-websocket'

export interface ServeOptions extends ResolveOptions {
  /** Folder of the server, its secret key included; created if need be. Not used with a `storage` of your own. */
  readonly path: string
  /** Default: ws://127.0.0.1:8440. */
  readonly listen?: readonly string[]
  /** Default: LMDB in the folder. */
  readonly storage?: PluginRef<'storage'>
  /** Default: WebSocket. */
  readonly transports?: readonly PluginRef<'transport'>[]
  /** Default: nothing is logged. */
  readonly log?: Log
  readonly limits?: Partial<HostLimits>
}

/** A running server and its tickets. Disposing it stops it and closes its plugins. */
export interface ServingServer extends AsyncDisposable {
  /** "ws://host:port/#<server id>", one for each address: what devices name it by. */
  readonly tickets: readonly string[]
  readonly server: Server
}

export const defaultListen = 'ws://127.0.0.1:8440'

/**
 * Starts a server. Throws STORAGE_UNAVAILABLE, STORAGE_CORRUPT, TRANSPORT_ADDRESS_IN_USE, CONFIG_INVALID and the PLUGIN
 * errors.
 * @example
 * const { tickets } = await serve({ path: 'server1', listen: ['ws://127.0.0.1:8440'] })
 */
export async function serve(options: ServeOptions): Promise<ServingServer> {
  const { path, listen = [defaultListen], transports = [websocket()], log, limits, importModule, base } = options
  const context = systemContext({ ...(log !== undefined && { log }), ...(limits !== undefined && { limits }) })
  const storage = options.storage ?? (await defaultStorage(path))
  const opened: AsyncDisposable[] = []
  try {
    const plugins = await startPlugins({ crdts: [], storage, transports }, context, {
      ...(importModule !== undefined && { importModule }),
      ...(base !== undefined && { base })
    })
    opened.push(plugins)
    const server = await startServer({
      storage: plugins.storage.instance,
      transports: plugins.transports.map(({ instance }) => instance),
      listen,
      context
    })
    opened.push(server)
    return {
      server,
      // As URLs are written in full: ws://host:port/ and not ws://host:port.
      tickets: server.addresses.map((address) => formatTicket(new URL(address).href, server.id)),
      [Symbol.asyncDispose]: () => disposeAll(opened)
    }
  } catch (cause) {
    await disposeAll(opened)
    throw cause
  }
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

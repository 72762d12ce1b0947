/**
 * Reads the configuration of a server: heddle.config.ts, .js, .mjs or .json, made with `defineConfig`. Every field may
 * be left out. Called by `heddle serve`.
 */
import { access, readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { extname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { HeddleError, type HostLimits, type PluginRef } from '@heddle/core'
import type { RelayPolicy } from './server.js'

/** What stands in a configuration file of `heddle serve`. Options on the command line go before it. */
export interface ServeConfig {
  /** Addresses to listen on, each of a scheme one of the transports has. Default: WebSocket and iroh on 127.0.0.1:8440. */
  readonly listen?: readonly string[]
  /** Default: LMDB in the folder given with --data. */
  readonly storage?: PluginRef<'storage'>
  /** Default: WebSocket and iroh. */
  readonly transports?: readonly PluginRef<'transport'>[]
  /** Whom it relays iroh connections for; not with transports of your own. Default: members of its documents. */
  readonly relay?: RelayPolicy
  /** Relays by which it can be reached itself over iroh. */
  readonly relayUrls?: readonly string[]
  readonly limits?: Partial<HostLimits>
}

/** Returns its argument: a configuration that is wrong does not compile. */
export function defineConfig<const C extends ServeConfig>(config: C): C {
  return config
}

export interface LoadedConfig {
  readonly config: ServeConfig
  /** The file it came from; undefined when there is none and the defaults hold. */
  readonly file: URL | undefined
}

const fileNames = ['heddle.config.ts', 'heddle.config.js', 'heddle.config.mjs', 'heddle.config.json']

/** Loads `path`, or the first heddle.config.* of the folder `directory`. Throws CONFIG_INVALID. */
export async function loadConfig(path: string | undefined, directory: string): Promise<LoadedConfig> {
  const file = path === undefined ? await firstExisting(directory) : resolve(directory, path)
  if (file === undefined) return { config: {}, file: undefined }
  const url = pathToFileURL(file)
  return { config: checkConfig(await importConfig(file, url), file), file: url }
}

/**
 * Imports plugin modules that a configuration names: as its file would, and else as this package does, so that the
 * default plugins are found without being installed beside the file.
 */
export function importerFor(file: URL | undefined): (name: string) => Promise<unknown> {
  return async (name) => {
    if (file === undefined || name.startsWith('file:')) return (await import(name)) as unknown
    let found: string
    try {
      found = createRequire(file).resolve(name)
    } catch {
      return (await import(name)) as unknown
    }
    return (await import(pathToFileURL(found).href)) as unknown
  }
}

async function firstExisting(directory: string): Promise<string | undefined> {
  for (const name of fileNames) {
    const path = join(directory, name)
    const exists = await access(path).then(
      () => true,
      () => false
    )
    if (exists) return path
  }
  return undefined
}

async function importConfig(file: string, url: URL): Promise<unknown> {
  await access(file).catch((cause: unknown) => {
    throw new HeddleError('CONFIG_INVALID', `there is no configuration file ${file}; correct the path after --config`, {
      cause
    })
  })
  try {
    if (extname(file) === '.json') return JSON.parse(await readFile(file, 'utf8')) as unknown
    return ((await import(url.href)) as { readonly default?: unknown }).default
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ERR_UNKNOWN_FILE_EXTENSION') {
      const message = `Node ${process.versions.node} cannot load ${file}; use Node 22.18 or newer for TypeScript, or write it as heddle.config.js`
      throw new HeddleError('CONFIG_INVALID', message, { cause })
    }
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new HeddleError('CONFIG_INVALID', `the configuration file ${file} cannot be loaded: ${reason}`, { cause })
  }
}

/** The plugins themselves are checked when they start. */
function checkConfig(value: unknown, file: string): ServeConfig {
  const invalid = (what: string): never => {
    throw new HeddleError('CONFIG_INVALID', `the configuration file ${file} is wrong: ${what}`)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return invalid('it has to export an object as default; see defineConfig')
  }
  const known: readonly string[] = [
    'listen',
    'storage',
    'transports',
    'relay',
    'relayUrls',
    'limits'
  ] satisfies readonly (keyof ServeConfig)[]
  const unknown = Object.keys(value).find((key) => !known.includes(key))
  if (unknown !== undefined) invalid(`"${unknown}" is not known; there are ${known.join(', ')}`)
  const config = value as ServeConfig
  const { listen, transports } = config
  if (listen !== undefined && !(Array.isArray(listen) && listen.every((url) => typeof url === 'string'))) {
    invalid('"listen" has to be a list of addresses like ws://127.0.0.1:8440')
  }
  if (transports !== undefined && !Array.isArray(transports)) invalid('"transports" has to be a list of plugins')
  return config
}

/**
 * Turns what stands in a configuration into a running plugin: imports it when it is named, checks kind, API version,
 * runtime and options, and starts it (SPEC PLUGIN-*). Device, server and command call it through `config.ts`.
 */
import { HeddleError } from '../errors.js'
import type { BoundPlugin, Context, Kind, Kinds, Manifest, Plugin, PluginRef, Runtime, StandardIssue } from './types.js'

/** The plugin API of this host. A plugin fits when its major is the same and its minor not above. */
export const PLUGIN_API = '1.0'

/** A started plugin and what it said about itself. Dispose of `instance` to stop it. */
export interface RunningPlugin<K extends Kind = Kind> {
  readonly manifest: Manifest<K>
  readonly instance: Kinds[K]['instance']
}

export interface ResolveOptions {
  /** Imports a bare module name. A command passes its own `(name) => import(name)`, so that names resolve from there. */
  readonly importModule?: (name: string) => Promise<unknown>
  /** URL of the configuration file: names that begin with "./", "../" or "/" are relative to it. */
  readonly base?: string | URL
}

/**
 * Finds, checks and starts a plugin. A typed object and a module name with the same options give the same thing.
 * Throws PLUGIN_NOT_FOUND, PLUGIN_WRONG_KIND, PLUGIN_API_VERSION, CAPABILITY_MISSING (runtime), CONFIG_INVALID
 * (options), ABORTED, or what the plugin's `create` throws.
 */
export async function resolvePlugin<K extends Kind>(
  ref: PluginRef<K>,
  kind: K,
  context: Context,
  options: ResolveOptions = {}
): Promise<RunningPlugin<K>> {
  const { plugin, options: input } = await locate(ref, kind, options)
  const { manifest } = plugin
  checkManifest(manifest, kind)
  const parsed = await parseOptions(plugin, input)
  if (context.signal.aborted) {
    throw new HeddleError('ABORTED', `the ${kind} plugin ${manifest.name} was not started: the host is shutting down`, {
      cause: context.signal.reason
    })
  }
  const instance = await start(plugin, parsed, context)
  checkInstance(instance, manifest)
  return { manifest, instance }
}

async function locate<K extends Kind>(ref: PluginRef<K>, kind: K, options: ResolveOptions): Promise<BoundPlugin<K>> {
  if (typeof ref === 'string') return { plugin: await importPlugin(ref, kind, options), options: {} }
  if (isModuleRef(ref)) return { plugin: await importPlugin(ref[0], kind, options), options: ref[1] ?? {} }
  if (isPlugin((ref as Partial<BoundPlugin<K>> | undefined)?.plugin)) return ref
  const hint = isPlugin(ref)
    ? `call it: ${ref.manifest.name} exports a factory, use factory(options)`
    : 'it is no plugin'
  throw new HeddleError('CONFIG_INVALID', `the ${kind} plugin in the configuration cannot be used: ${hint}`)
}

async function importPlugin<K extends Kind>(name: string, kind: K, options: ResolveOptions): Promise<Plugin<K>> {
  const importModule = options.importModule ?? ((url: string) => import(url) as Promise<unknown>)
  const specifier = specifierOf(name, options.base)
  let loaded: unknown
  try {
    loaded = await importModule(specifier)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new HeddleError(
      'PLUGIN_NOT_FOUND',
      `the ${kind} plugin "${name}" cannot be imported: ${reason}. Install it (npm install ${name}) or correct the name`,
      { cause, info: { module: name, kind } }
    )
  }
  const plugin = (loaded as { readonly default?: unknown } | undefined)?.default
  if (isPlugin(plugin)) return plugin as Plugin<K>
  throw new HeddleError(
    'PLUGIN_NOT_FOUND',
    `the module "${name}" has no plugin as its default export; a plugin exports what definePlugin returns`,
    { info: { module: name, kind } }
  )
}

function specifierOf(name: string, base: string | URL | undefined): string {
  if (!/^(\.{0,2}\/|\.{1,2}\\)/.test(name)) return name
  if (base === undefined) {
    throw new HeddleError('CONFIG_INVALID', `the plugin path "${name}" is relative to nothing; use a module name`)
  }
  return new URL(name, base).href
}

function checkManifest(manifest: Manifest, kind: Kind): void {
  const { name, version } = manifest
  if (manifest.kind !== kind) {
    throw new HeddleError(
      'PLUGIN_WRONG_KIND',
      `${name} is a ${manifest.kind} plugin and stands where a ${kind} plugin belongs; move it or name another`,
      { info: { name, kind: manifest.kind, expected: kind } }
    )
  }
  if (!apiFits(manifest.api)) {
    throw new HeddleError(
      'PLUGIN_API_VERSION',
      `${name} ${version} was built for plugin API ${manifest.api}, this host has ${PLUGIN_API}; ` +
        'install a version of the plugin or of Heddle that matches',
      { info: { name, version, api: manifest.api, host: PLUGIN_API } }
    )
  }
  const missing = Object.entries(SUPPORTS[kind]).find(([flag, type]) => {
    return typeof (manifest.supports as unknown as Readonly<Record<string, unknown>>)[flag] !== type
  })
  if (missing !== undefined) {
    const [flag, type] = missing
    throw new HeddleError('CONFIG_INVALID', `the manifest of ${name} does not say supports.${flag} (a ${type})`, {
      info: { name, flag }
    })
  }
  const runtime = currentRuntime()
  if (!manifest.runtimes.includes(runtime)) {
    throw new HeddleError(
      'CAPABILITY_MISSING',
      `${name} runs on ${manifest.runtimes.join(', ')}, not on ${runtime}; use another ${kind} plugin here`,
      { info: { name, runtime, runtimes: manifest.runtimes } }
    )
  }
}

/** Every flag a manifest has to state, with its type. */
const SUPPORTS: { readonly [K in Kind]: Readonly<Record<keyof Kinds[K]['supports'], 'boolean' | 'number'>> } = {
  crdt: { mergeUpdates: 'boolean', shallowSnapshot: 'boolean', detectsCorruption: 'boolean', actorIdBits: 'number' },
  storage: { durable: 'boolean', multiProcess: 'boolean', keyBytesMax: 'number', valueBytesMax: 'number' },
  transport: { listen: 'boolean', dial: 'boolean', peerAuth: 'boolean', datagrams: 'boolean', frameBytesMax: 'number' }
}

/** What an instance has to have, whatever its manifest says. */
const METHODS: { readonly [K in Kind]: readonly (keyof Kinds[K]['instance'])[] } = {
  crdt: ['open'],
  storage: ['get', 'scan', 'commit'],
  transport: ['dial']
}

function apiFits(api: string): boolean {
  const [major, minor] = versionOf(api)
  const [hostMajor, hostMinor] = versionOf(PLUGIN_API)
  return major === hostMajor && minor <= hostMinor
}

function versionOf(api: string): readonly [major: number, minor: number] {
  const match = /^(\d{1,4})\.(\d{1,4})$/.exec(api)
  return match === null ? [Number.NaN, Number.NaN] : [Number(match[1]), Number(match[2])]
}

function currentRuntime(): Runtime {
  const versions = (globalThis as { readonly process?: { readonly versions?: Readonly<Record<string, string>> } })
    .process?.versions
  if (versions?.bun !== undefined) return 'bun'
  if ('Deno' in globalThis) return 'deno'
  return versions?.node === undefined ? 'browser' : 'node'
}

async function parseOptions<K extends Kind>(plugin: Plugin<K>, input: unknown): Promise<unknown> {
  const result = await plugin.options['~standard'].validate(input)
  if (result.issues === undefined) return result.value
  throw new HeddleError(
    'CONFIG_INVALID',
    `the options of ${plugin.manifest.name} are wrong: ${result.issues.map(issueText).join('; ')}`,
    { info: { name: plugin.manifest.name } }
  )
}

function issueText(issue: StandardIssue): string {
  const path = (issue.path ?? []).map((part) => String(typeof part === 'object' ? part.key : part)).join('.')
  return path === '' ? issue.message : `${path}: ${issue.message}`
}

async function start<K extends Kind>(plugin: Plugin<K>, options: unknown, context: Context) {
  try {
    return await plugin.create(options, context)
  } catch (cause) {
    if (HeddleError.is(cause)) throw cause
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new HeddleError('INTERNAL', `the plugin ${plugin.manifest.name} failed to start: ${reason}`, { cause })
  }
}

function checkInstance<K extends Kind>(instance: Kinds[K]['instance'], manifest: Manifest<K>): void {
  const methods: readonly PropertyKey[] = [...METHODS[manifest.kind], Symbol.asyncDispose]
  const missing = methods.find((name) => {
    return typeof (instance as unknown as Readonly<Record<PropertyKey, unknown>> | undefined)?.[name] !== 'function'
  })
  if (missing !== undefined) {
    throw new HeddleError(
      'PLUGIN_WRONG_KIND',
      `what ${manifest.name} started is no ${manifest.kind}: it has no method ${String(missing)}`,
      { info: { name: manifest.name, kind: manifest.kind } }
    )
  }
}

function isPlugin(value: unknown): value is Plugin {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return false
  const { manifest, options, create } = value as Partial<Plugin>
  return (
    typeof manifest === 'object' &&
    typeof manifest.supports === 'object' &&
    Array.isArray(manifest.runtimes) &&
    typeof create === 'function' &&
    typeof options?.['~standard']?.validate === 'function'
  )
}

function isModuleRef(ref: PluginRef): ref is readonly [module: string, options?: unknown] {
  return Array.isArray(ref) && typeof ref[0] === 'string'
}

/**
 * What an app writes to choose its plugins, and starting them all from it (SPEC PLUGIN-*). Also the context every
 * process runs in: the system's clock, randomness and log.
 */
import { HeddleError } from '../errors.js'
import { type ResolveOptions, type RunningPlugin, resolvePlugin } from './registry.js'
import type { Clock, Context, HostLimits, Log, PluginRef } from './types.js'

/** The plugins of a device or server: typed objects, or module names with options. */
export interface HeddleConfig {
  /** Every CRDT that documents here may use; a document names its own by type id. */
  readonly crdts: readonly PluginRef<'crdt'>[]
  readonly storage: PluginRef<'storage'>
  readonly transports: readonly PluginRef<'transport'>[]
  readonly limits?: Partial<HostLimits>
}

/** A configuration's plugins, started. Disposing stops them in reverse order. */
export interface RunningPlugins extends AsyncDisposable {
  /** By type id. */
  readonly crdts: ReadonlyMap<string, RunningPlugin<'crdt'>>
  readonly storage: RunningPlugin<'storage'>
  readonly transports: readonly RunningPlugin<'transport'>[]
}

export const DEFAULT_LIMITS: HostLimits = { frameBytesMax: 16 * 1024 * 1024 }

/** Returns its argument: a configuration that is wrong does not compile. */
export function defineConfig<const C extends HeddleConfig>(config: C): C {
  return config
}

/**
 * Reads a configuration that no compiler has seen (JSON, or the default export of a file). Throws CONFIG_INVALID; the
 * plugins themselves are checked when they start.
 */
export function parseConfig(value: unknown): HeddleConfig {
  const config = (typeof value === 'object' && value !== null ? value : {}) as Readonly<Record<string, unknown>>
  const unknown = Object.keys(config).find((key) => !['crdts', 'storage', 'transports', 'limits'].includes(key))
  if (unknown !== undefined) invalid(`"${unknown}" is not known; there are crdts, storage, transports and limits`)
  for (const list of ['crdts', 'transports'] as const) {
    if (!Array.isArray(config[list])) invalid(`"${list}" has to be a list of plugins`)
  }
  if (config.storage === undefined) invalid('"storage" has to name a storage plugin')
  const { frameBytesMax } = (config.limits ?? {}) as Partial<HostLimits>
  if (frameBytesMax !== undefined && !(Number.isSafeInteger(frameBytesMax) && frameBytesMax > 0)) {
    invalid('"limits.frameBytesMax" has to be a number of bytes above 0')
  }
  return config as unknown as HeddleConfig
}

/** Starts the plugins of a configuration. When one fails, those already started are stopped and its error is thrown. */
export async function startPlugins(
  config: HeddleConfig,
  context: Context,
  options: ResolveOptions = {}
): Promise<RunningPlugins> {
  const started: AsyncDisposable[] = []
  const start = async <K extends 'crdt' | 'storage' | 'transport'>(ref: PluginRef<K>, kind: K) => {
    const running = await resolvePlugin(ref, kind, context, options)
    started.push(running.instance)
    return running
  }
  try {
    const storage = await start(config.storage, 'storage')
    const crdts = new Map<string, RunningPlugin<'crdt'>>()
    for (const ref of config.crdts) {
      const crdt = await start(ref, 'crdt')
      const { typeId } = crdt.instance
      const other = crdts.get(typeId)
      if (other !== undefined) {
        invalid(`${crdt.manifest.name} and ${other.manifest.name} both provide "${typeId}"; keep one`)
      }
      crdts.set(typeId, crdt)
    }
    const transports: RunningPlugin<'transport'>[] = []
    for (const ref of config.transports) transports.push(await start(ref, 'transport'))
    return { crdts, storage, transports, [Symbol.asyncDispose]: () => disposeAll(started) }
  } catch (cause) {
    await disposeAll(started).catch((error: unknown) => {
      context.log('error', 'plugins.stop-failed', { error })
    })
    throw cause
  }
}

/**
 * Disposes of all, last first, each whatever became of the others. Throws the error if there is one, INTERNAL with an
 * AggregateError as cause if there are more. (Node 20 has no AsyncDisposableStack.)
 */
export async function disposeAll(items: readonly AsyncDisposable[]): Promise<void> {
  const errors: unknown[] = []
  for (const item of items.toReversed()) {
    try {
      await item[Symbol.asyncDispose]()
    } catch (error) {
      errors.push(error)
    }
  }
  if (errors.length === 1) throw errors[0]
  if (errors.length > 1) {
    throw new HeddleError('INTERNAL', `${errors.length} of ${items.length} parts failed to close; see the cause`, {
      cause: new AggregateError(errors)
    })
  }
}

export interface SystemContextOptions {
  /** Aborts when the host shuts down; without it, never. */
  readonly signal?: AbortSignal
  /** Without it, nothing is logged. */
  readonly log?: Log
  readonly limits?: Partial<HostLimits>
}

/** The context of a real process: the system's clock and its cryptographically secure randomness. */
export function systemContext(options: SystemContextOptions = {}): Context {
  return {
    signal: heardByMany(options.signal ?? new AbortController().signal),
    log: options.log ?? (() => undefined),
    clock: systemClock,
    random: systemRandom,
    limits: { ...DEFAULT_LIMITS, ...options.limits }
  }
}

/** Every connection and document listens for the end: in Node, more than ten listeners would be warned of as a leak. */
function heardByMany(signal: AbortSignal): AbortSignal {
  const events = globalThis.process?.getBuiltinModule?.('node:events')
  events?.setMaxListeners(0, signal)
  return signal
}

/** setTimeout takes 31 bits: a longer delay would fire at once. */
const TIMER_DELAY_MS_MAX = 2 ** 31 - 1

const systemClock: Clock = {
  now: () => Date.now(),
  setTimer(delayMs, callback) {
    let remainingMs = Math.max(0, delayMs)
    const arm = (): ReturnType<typeof setTimeout> => {
      const stepMs = Math.min(remainingMs, TIMER_DELAY_MS_MAX)
      return setTimeout(() => {
        remainingMs -= stepMs
        if (remainingMs > 0) timer = arm()
        else callback()
      }, stepMs)
    }
    let timer = arm()
    return { [Symbol.dispose]: () => clearTimeout(timer) }
  }
}

/** Web Crypto gives at most this much at a time. */
const RANDOM_BYTES_MAX = 65_536

function systemRandom(length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let start = 0; start < length; start += RANDOM_BYTES_MAX) {
    crypto.getRandomValues(bytes.subarray(start, start + RANDOM_BYTES_MAX))
  }
  return bytes
}

function invalid(what: string): never {
  throw new HeddleError('CONFIG_INVALID', `the configuration is wrong: ${what}`)
}

/**
 * Small helpers with which a plugin is written: its factory, and a Standard Schema by hand. A plugin imports these and
 * the types, nothing else of the core (SPEC PLUGIN-*).
 */
import type { BoundPlugin, Kind, Plugin, StandardIssue, StandardSchema } from './types.js'

/** A plugin's factory: call it with options to get the object for a configuration. It carries the plugin's fields too. */
export type PluginFactory<K extends Kind, Options, Input = Options> = ((options?: Input) => BoundPlugin<K>) &
  Plugin<K, Options>

/**
 * Makes the factory a plugin package exports as `default` and by name.
 * @example export const memory = definePlugin({ manifest, options: noOptions, create: async () => new MemoryStorage() })
 */
export function definePlugin<K extends Kind, Options, Input = Partial<Options>>(
  plugin: Plugin<K, Options>
): PluginFactory<K, Options, Input> {
  const factory = (options?: Input): BoundPlugin<K> => ({
    plugin: plugin as Plugin<K>,
    options: options ?? {}
  })
  return Object.assign(factory, plugin)
}

/** A Standard Schema from a function that returns the options or throws an Error whose message names what is wrong. */
export function schema<Output>(parse: (value: unknown) => Output): StandardSchema<Output> {
  return {
    '~standard': {
      version: 1,
      vendor: 'heddle',
      validate(value: unknown) {
        try {
          return { value: parse(value) }
        } catch (cause) {
          const issue: StandardIssue = { message: cause instanceof Error ? cause.message : String(cause) }
          return { issues: [issue] }
        }
      }
    }
  }
}

/** The schema of a plugin without options. */
export const noOptions: StandardSchema<Record<string, never>> = schema((value) => {
  const unknown = Object.keys((value as object | undefined) ?? {})[0]
  if (unknown !== undefined) throw new Error(`unknown option "${unknown}": this plugin takes none`)
  return {}
})

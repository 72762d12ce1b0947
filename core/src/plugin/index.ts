/** The door of the plugin room. */
export { definePlugin, noOptions, type PluginFactory, schema } from './define.js'
export type * from './types.js'

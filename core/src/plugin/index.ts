/** The door of the plugin room. */
export { AsyncQueue, type QueueOptions } from './async-queue.js'
export { type MergedBatches, mergeBatches } from './batch-group.js'
export {
  DEFAULT_LIMITS,
  defineConfig,
  disposeAll,
  type HeddleConfig,
  parseConfig,
  type RunningPlugins,
  type SystemContextOptions,
  startPlugins,
  systemContext
} from './config.js'
export { Deadline } from './deadline.js'
export { definePlugin, noOptions, type PluginFactory, schema } from './define.js'
export { KeepAlive, type KeepAliveInit } from './keep-alive.js'
export { PLUGIN_API, type ResolveOptions, type RunningPlugin, resolvePlugin } from './registry.js'
export {
  checkBatch,
  checkKey,
  compareBytes,
  equalBytes,
  PAGE_BYTES_MAX,
  PAGE_ENTRIES_MAX,
  toHex
} from './storage-kit.js'
export type * from './types.js'

/**
 * The package `heddle`: the core, and devices and servers with the default plugins (LMDB in a folder, WebSocket, yjs).
 * An app imports this and needs no other package.
 */
export * from '@heddle/core'
export { yjs } from '@heddle/crdt-yjs'
export { lmdbStorage } from '@heddle/storage-lmdb'
export { iroh } from '@heddle/transport-iroh'
export { websocket } from '@heddle/transport-websocket'
export { defineConfig, type ServeConfig } from './config-file.js'
export {
  type OpenDeviceOptions,
  type OpenDeviceWithCrdtsOptions,
  openDevice,
  type YDevice,
  type YDocument
} from './device.js'
export { type ServeOptions, type ServingServer, serve } from './server.js'

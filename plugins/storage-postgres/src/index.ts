/** Storage on PostgreSQL: one table that several server processes may share (SPEC PLUGIN-*). Servers are given it. */
import { definePlugin, type Manifest, schema } from '@heddle/core'
import { Database } from './database.js'
import { type PostgresConnection, type PostgresStorageOptions, parseOptions, type Settings } from './options.js'
import { PostgresStorage } from './storage.js'

export type { PostgresConnection, PostgresStorageOptions }

const manifest: Manifest<'storage'> = {
  kind: 'storage',
  name: '@heddle/storage-postgres',
  version: '0.1.0',
  api: '1.0',
  // The bounds are those of storage-lmdb: a server can be moved from one to the other.
  supports: { durable: true, multiProcess: true, keyBytesMax: 1978, valueBytesMax: 64 * 1024 * 1024 },
  runtimes: ['node']
}

/** The plugin: `postgres({ connectionString: 'postgres://heddle@db.example/heddle' })`. */
export const postgres = definePlugin<'storage', Settings, PostgresStorageOptions>({
  manifest,
  options: schema(parseOptions),
  async create(settings, context) {
    const database = new Database(settings, context)
    try {
      await database.prepare()
    } catch (error) {
      await database[Symbol.asyncDispose]()
      throw error
    }
    return new PostgresStorage(database, manifest, context)
  }
})
export default postgres

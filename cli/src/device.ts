/**
 * Opening a device with the default plugins: LMDB in a folder, WebSocket, iroh, yjs. What `heddle` exports as `openDevice`,
 * and what the command's `doc` commands run on.
 */
import { join } from 'node:path'
import {
  openDevice as coreOpenDevice,
  type CreateOptions,
  type Device,
  type DeviceOptions,
  type Document,
  disposeAll,
  type HostLimits,
  type Log,
  type PluginRef,
  startPlugins,
  systemContext
} from '@heddle/core'
import { yjs } from '@heddle/crdt-yjs'
import { lmdbStorage } from '@heddle/storage-lmdb'
import { iroh } from '@heddle/transport-iroh'
import { websocket } from '@heddle/transport-websocket'
import type * as Y from 'yjs'
import { lockFolder } from './lock.js'

/** A document whose `native` is a Y.Doc. */
export type YDocument = Document<Y.Doc>

/** A device that opens yjs documents. Everything else is as `Device` says. */
export interface YDevice extends Device {
  create(options: CreateOptions, signal?: AbortSignal): Promise<YDocument>
  join(link: string, signal?: AbortSignal): Promise<YDocument>
  open(documentId: string): Promise<YDocument>
}

/** `verifyMember` tells whose device a member is, `claimIdentity` says it of this one; `followBranches` as in the core. */
export interface OpenDeviceOptions extends Pick<DeviceOptions, 'verifyMember' | 'claimIdentity' | 'followBranches'> {
  /** Folder of this device, its secrets included; created if need be. One process at a time. */
  readonly path: string
  /** Default: LMDB in the folder. */
  readonly storage?: PluginRef<'storage'>
  /** Default: WebSocket and iroh, of which the second is loaded when an address asks for it. */
  readonly transports?: readonly PluginRef<'transport'>[]
  /** Default: nothing is logged. */
  readonly log?: Log
  readonly limits?: Partial<HostLimits>
  /** Aborting it stops what the device has under way; dispose of the device all the same. */
  readonly signal?: AbortSignal
}

export interface OpenDeviceWithCrdtsOptions extends OpenDeviceOptions {
  /** CRDT backends to use instead of yjs. */
  readonly crdts: readonly PluginRef<'crdt'>[]
}

/**
 * Opens the device of a folder; the first time, it is made. Disposing it closes its documents and plugins.
 * Throws STORAGE_UNAVAILABLE, STORAGE_CORRUPT, CONFIG_INVALID and the PLUGIN errors.
 * @example
 * const device = await openDevice({ path: '.heddle/device' })
 * const document = await device.create({ servers: ['ws://127.0.0.1:8440/#…'] })
 * document.native.getText('text').insert(0, 'Hello')
 */
export function openDevice(options: OpenDeviceWithCrdtsOptions): Promise<Device>
export function openDevice(options: OpenDeviceOptions): Promise<YDevice>
export async function openDevice(options: OpenDeviceOptions & Partial<OpenDeviceWithCrdtsOptions>): Promise<Device> {
  const { path, storage, transports = [websocket(), iroh()], crdts, log, limits, signal, ...app } = options
  const context = systemContext({
    ...(signal !== undefined && { signal }),
    ...(log !== undefined && { log }),
    ...(limits !== undefined && { limits })
  })
  const opened: AsyncDisposable[] = [await lockFolder(path)]
  try {
    const plugins = await startPlugins(
      { crdts: crdts ?? [yjs()], storage: storage ?? lmdbStorage({ path: join(path, 'store') }), transports },
      context
    )
    opened.push(plugins)
    const device = await coreOpenDevice({
      ...app,
      storage: plugins.storage.instance,
      transports: plugins.transports.map(({ instance }) => instance),
      crdts: [...plugins.crdts.values()].map(({ instance }) => instance),
      context
    })
    opened.push(device)
    return new OwningDevice(device, opened)
  } catch (cause) {
    await disposeAll(opened)
    throw cause
  }
}

/** A device that closes what was opened for it. */
class OwningDevice implements Device {
  readonly #device: Device
  readonly #opened: readonly AsyncDisposable[]
  #closing: Promise<void> | undefined

  constructor(device: Device, opened: readonly AsyncDisposable[]) {
    this.#device = device
    this.#opened = opened
  }

  get id(): string {
    return this.#device.id
  }

  create(options: CreateOptions, signal?: AbortSignal): Promise<YDocument> {
    return this.#device.create(options, signal) as Promise<YDocument>
  }

  join(link: string, signal?: AbortSignal): Promise<YDocument> {
    return this.#device.join(link, signal) as Promise<YDocument>
  }

  open(documentId: string): Promise<YDocument> {
    return this.#device.open(documentId) as Promise<YDocument>
  }

  documents(): Promise<readonly string[]> {
    return this.#device.documents()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= disposeAll(this.#opened)
    await this.#closing
  }
}

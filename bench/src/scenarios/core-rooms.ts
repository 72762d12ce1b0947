/**
 * The rooms of the core that `micro` measures one by one. Apps have no access to them, and the package does not export
 * them: they are loaded from the repository's build, typed by its sources.
 */
type Group = typeof import('../../../core/src/group/index.js')
type Net = typeof import('../../../core/src/net/index.js')
type Sync = typeof import('../../../core/src/sync/index.js')
type Wire = typeof import('../../../core/src/wire/index.js')

export interface CoreRooms {
  readonly group: Group
  readonly net: Net
  readonly sync: Sync
  readonly wire: Wire
}
export type MemberGroup = import('../../../core/src/group/index.js').MemberGroup
export type DeviceChannel = Awaited<ReturnType<Net['openChannel']>>

export async function loadCoreRooms(): Promise<CoreRooms> {
  const [group, net, sync, wire] = await Promise.all(['group', 'net', 'sync', 'wire'].map(load))
  return { group: group as Group, net: net as Net, sync: sync as Sync, wire: wire as Wire }
}

const load = (room: string): Promise<unknown> =>
  import(new URL(`../../../core/dist/${room}/index.js`, import.meta.url).href)

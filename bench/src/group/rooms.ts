/**
 * What `group` measures with: the group room of the core and, behind it, the MLS engine. The benchmark loads the
 * repository's build, tests its sources; both are typed by the sources.
 */
type Group = typeof import('../../../core/src/group/index.js')
type Engine = typeof import('../../../core/src/group/mls/index.js')
type Extensions = typeof import('../../../core/src/group/extensions.js')
type Persistence = typeof import('../../../core/src/group/persistence.js')
type Tree = typeof import('../../../core/src/group/mls/tree.js')
type UpdatePaths = typeof import('../../../core/src/group/mls/update-path.js')
type Wire = typeof import('../../../core/src/wire/index.js')

export interface GroupRooms {
  readonly group: Group
  readonly engine: Engine
  readonly extensions: Extensions
  readonly persistence: Persistence
  readonly tree: Tree
  readonly updatePaths: UpdatePaths
  readonly wire: Wire
}
export type MemberGroup = import('../../../core/src/group/index.js').MemberGroup
export type OwnKeyPackage = import('../../../core/src/group/index.js').OwnKeyPackage
export type PublicGroup = import('../../../core/src/group/index.js').PublicGroup
export type HashedTree = import('../../../core/src/group/mls/index.js').HashedTree
export type EpochSecrets = import('../../../core/src/group/mls/index.js').EpochSecrets
export type MemberState = import('../../../core/src/group/mls/index.js').MemberState
export type StoredRecord = import('../../../core/src/group/index.js').StoredRecord

/** `folder`: of the core's modules, build or sources. */
export async function loadGroupRooms(folder = new URL('../../../core/dist/', import.meta.url)): Promise<GroupRooms> {
  const load = (path: string): Promise<unknown> => import(new URL(path, folder).href)
  return {
    group: (await load('group/index.js')) as Group,
    engine: (await load('group/mls/index.js')) as Engine,
    extensions: (await load('group/extensions.js')) as Extensions,
    persistence: (await load('group/persistence.js')) as Persistence,
    tree: (await load('group/mls/tree.js')) as Tree,
    updatePaths: (await load('group/mls/update-path.js')) as UpdatePaths,
    wire: (await load('wire/index.js')) as Wire
  }
}

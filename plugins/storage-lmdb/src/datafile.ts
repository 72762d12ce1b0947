/**
 * Looks at a data file before LMDB maps it. LMDB ends the whole process on a file that is no LMDB file or that lost its
 * end; here that becomes an error. Offsets are those of liblmdb's mdb.c as lmdb-js builds it (data version 2, 64 bits).
 */
import { type FileHandle, open } from 'node:fs/promises'

/** What is wrong with the file at `path`, or undefined. No file, or one without bytes, is right: LMDB begins it. */
export async function dataFileFault(path: string): Promise<string | undefined> {
  let file: FileHandle
  try {
    file = await open(path, 'r')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw cause
  }
  try {
    const { size } = await file.stat()
    return size === 0 ? undefined : await faultOf(file, size)
  } finally {
    await file.close()
  }
}

const MAGIC = 0xbeefc0de
const DATA_VERSION = 2
/** mh_flags of a page. */
const BRANCH = 0x01
const LEAF = 0x02
const OVERFLOW = 0x04
const META = 0x08
/** mn_flags of a node: its data is an MDB_ovpage. */
const BIG_DATA = 0x01
const PAGE_HEADER_BYTES = 24
const NODE_HEADER_BYTES = 8
const META_BYTES = 160
/** md_root of a database without entries. */
const NO_PAGE = 0xffffffffffffffffn

interface Meta {
  readonly pageBytes: number
  readonly lastPage: number
  readonly transaction: bigint
  /** Of the tree of free pages and of the tree of entries. */
  readonly roots: readonly number[]
}

async function faultOf(file: FileHandle, fileBytes: number): Promise<string | undefined> {
  const first = await readMeta(file, 0)
  const second = first && (await readMeta(file, first.pageBytes))
  if (first === undefined || second === undefined) return 'it is not a data file of LMDB'
  const meta = second.transaction > first.transaction ? second : first
  const pages = Math.floor(fileBytes / meta.pageBytes)
  // LMDB leaves off pages at the end that were used and freed within one transaction: a short file may be whole.
  if (meta.lastPage < pages) return undefined
  return (await isWhole(file, meta, pages)) ? undefined : 'it has lost its end'
}

async function readMeta(file: FileHandle, position: number): Promise<Meta | undefined> {
  const view = new DataView(new ArrayBuffer(META_BYTES))
  const { bytesRead } = await file.read(view, { position })
  if (bytesRead < META_BYTES || view.getUint32(0x18, true) !== MAGIC) return undefined
  if ((view.getUint16(0x12, true) & META) === 0) return undefined
  if ((view.getUint32(0x1c, true) & 0xffff) !== DATA_VERSION) return undefined
  const pageBytes = view.getUint32(0x30, true)
  const isPowerOf2 = (pageBytes & (pageBytes - 1)) === 0
  if (pageBytes < 256 || pageBytes > 65_536 || !isPowerOf2) return undefined
  const roots = [view.getBigUint64(0x58, true), view.getBigUint64(0x88, true)]
  return {
    pageBytes,
    lastPage: Number(view.getBigUint64(0x90, true)),
    transaction: view.getBigUint64(0x98, true),
    roots: roots.filter((root) => root !== NO_PAGE).map(Number)
  }
}

/** Whether every page that a tree reaches lies within the file. */
async function isWhole(file: FileHandle, { pageBytes, roots }: Meta, pages: number): Promise<boolean> {
  const pending = [...roots]
  const view = new DataView(new ArrayBuffer(pageBytes))
  for (let visited = 0; visited <= pages; visited++) {
    const page = pending.pop()
    if (page === undefined) return true
    if (page >= pages) return false
    await file.read(view, { position: page * pageBytes })
    const flags = view.getUint16(0x12, true)
    const isTree = (flags & (BRANCH | LEAF)) !== 0 && (flags & (OVERFLOW | META)) === 0
    if (!isTree || view.getBigUint64(0, true) !== BigInt(page)) return false
    for (const node of nodesOf(view)) {
      if ((flags & BRANCH) !== 0) pending.push(childOf(view, node))
      else if (overflowEnd(view, node) > pages) return false
    }
  }
  return false
}

/** Offsets of a page's nodes. What the page says of itself counts from the end of its header. */
function nodesOf(view: DataView): number[] {
  const count = Math.min(view.getUint16(0x14, true), view.byteLength - PAGE_HEADER_BYTES) >> 1
  const nodes: number[] = []
  for (let i = 0; i < count; i++) {
    const node = PAGE_HEADER_BYTES + view.getUint16(PAGE_HEADER_BYTES + 2 * i, true)
    if (node + NODE_HEADER_BYTES <= view.byteLength) nodes.push(node)
  }
  return nodes
}

function childOf(view: DataView, node: number): number {
  return view.getUint32(node, true) + view.getUint16(node + 4, true) * 2 ** 32
}

/** The page after a leaf node's value, when that has pages of its own; otherwise 0. */
function overflowEnd(view: DataView, node: number): number {
  if ((view.getUint16(node + 4, true) & BIG_DATA) === 0) return 0
  const data = node + NODE_HEADER_BYTES + view.getUint16(node + 6, true)
  if (data + 24 > view.byteLength) return Number.POSITIVE_INFINITY
  return Number(view.getBigUint64(data, true) + view.getBigUint64(data + 16, true))
}

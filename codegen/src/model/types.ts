/**
 * The schema as plain data: all that lint and the emitters know of the .proto files. Nothing here refers to a protobuf
 * library, so that a test can write a model by hand.
 */

export interface Model {
  /** The protobuf package that was read: "heddle.v1". */
  readonly packageName: string
  /** It describes JSON and nothing on the wire: fields need no limits and may be floats. */
  readonly report?: boolean
  readonly messages: readonly Message[]
  readonly enums: readonly Enum[]
}

/** Where something is declared. */
export interface Location {
  /** Path below the proto folder: "heddle/v1/paxos.proto". */
  readonly file: string
  /** From 1. */
  readonly line: number
}

export interface Message {
  /** Name of the TypeScript type; an inner message is "Outer_Inner". */
  readonly name: string
  readonly at: Location
  readonly comment: string
  readonly fields: readonly Field[]
  readonly oneofs: readonly Oneof[]
  /** Its number in Frame.body, when it is the body of a frame. */
  readonly frameType: number | undefined
  readonly direction: Direction | undefined
  /** Greatest encoded size in bytes. */
  readonly maxSize: number | undefined
  /** First protocol version that has it. */
  readonly since: number | undefined
  /** Only one encoding of it is accepted. */
  readonly canonical: boolean
  /** A codec is exported though it is neither a frame nor MLS data. */
  readonly topLevel: boolean
  readonly signatureLabel: string | undefined
  readonly mlsExtension: MlsExtension | undefined
  readonly mlsProposal: MlsProposal | undefined
  /** Where it is stored alone under a key. */
  readonly storageRecord?: StorageRecord | undefined
  /** By which command it is printed, or as which file written, when it is a whole report. */
  readonly output?: string | undefined
}

export type Direction = 'device_to_server' | 'server_to_device' | 'both'
export type MlsContext = 'key_package' | 'leaf_node' | 'group_context' | 'group_info'
export type Retry = 'never' | 'after_cure' | 'after_delay' | 'reconnect'

export interface MlsExtension {
  readonly type: number
  readonly contexts: readonly MlsContext[]
  readonly required: boolean
}

export interface MlsProposal {
  readonly type: number
}

export interface StorageRecord {
  readonly server: StoragePlace | undefined
  readonly device: StoragePlace | undefined
}

export interface StoragePlace {
  /** The byte of the key that tells this kind of record from others. */
  readonly number: number
  /** Whether the key begins with a document. */
  readonly ofDocument: boolean
  /** What the key ends with, in words; empty when there is one record only. */
  readonly key: string
}

export interface Oneof {
  readonly name: string
  readonly localName: string
  readonly comment: string
  readonly at: Location
}

export type NumberKind = 'uint32' | 'uint64' | 'sint32' | 'sint64' | 'fixed32' | 'fixed64' | 'bool' | 'enum'
/**
 * `unsupported` is everything the wire does not allow: floats, maps, groups and the signed varints without zigzag. In
 * reports there is `double`.
 */
export type Kind = NumberKind | 'double' | 'bytes' | 'string' | 'message' | 'unsupported'

export interface Field {
  /** As in the schema: "value_hash". */
  readonly name: string
  /** As in TypeScript: "valueHash". */
  readonly localName: string
  readonly number: number
  readonly at: Location
  readonly comment: string
  readonly kind: Kind
  /** The type as the schema writes it, without `repeated`: "uint32", "Ballot", "map<string, bytes>". */
  readonly typeName: string
  readonly repeated: boolean
  /** Whether a repeated number says how it is packed. */
  readonly packed: boolean | undefined
  /** Declared `optional`: absent differs from zero. */
  readonly optional: boolean
  /** Name of the oneof it is a member of. */
  readonly oneof: string | undefined
  readonly limits: Limits
  readonly json?: JsonForm | undefined
}

/** How a field of a report stands in JSON. */
export interface JsonForm {
  readonly pattern: string | undefined
  /** Absence is null. */
  readonly nullable: boolean
}

/** What is undefined is not limited. `len` of the schema is equal `bytesMin` and `bytesMax`. */
export interface Limits {
  readonly bytesMin: number | undefined
  readonly bytesMax: number | undefined
  readonly itemsMin: number | undefined
  readonly itemsMax: number | undefined
  readonly valueMin: bigint | undefined
  readonly valueMax: bigint | undefined
  readonly required: boolean
  readonly definedOnly: boolean
  /** Items stand in strictly ascending order. */
  readonly sortedUnique?: boolean
  /** They do by this field of theirs, as the schema writes its name. */
  readonly sortedBy?: string | undefined
}

export interface Enum {
  readonly name: string
  readonly at: Location
  readonly comment: string
  readonly values: readonly EnumValue[]
}

export interface EnumValue {
  readonly name: string
  readonly number: number
  readonly at: Location
  readonly comment: string
  readonly error: ErrorInfo | undefined
}

export interface ErrorInfo {
  readonly retry: Retry | undefined
  readonly fatal: boolean
  readonly summary: string
}

export const noLimits: Limits = {
  bytesMin: undefined,
  bytesMax: undefined,
  itemsMin: undefined,
  itemsMax: undefined,
  valueMin: undefined,
  valueMax: undefined,
  required: false,
  definedOnly: false,
  sortedUnique: false,
  sortedBy: undefined
}

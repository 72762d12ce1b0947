/**
 * The error of the codecs (SPEC WIRE). Thrown by decode for bytes that break the schema and by encode for a message that
 * does; whoever talks to a peer answers it with MALFORMED.
 */

export type WireErrorCode =
  /** The bytes end inside a field, or a field ends outside its message. */
  | 'truncated'
  /** A varint of more than 64 bits, or of more bytes than its type can have. */
  | 'varint'
  /** Field number 0, or a tag above 32 bits. */
  | 'tag'
  /** The field is known and has another wire type, or the wire type is a group. */
  | 'wire_type'
  /** More unknown fields than a message may have; in a canonical message, any. */
  | 'unknown_field'
  /** A single field, a packed field or a oneof occurs twice. */
  | 'duplicate'
  | 'utf8'
  /** Shorter than the field's least length in bytes. */
  | 'too_short'
  /** Longer than the field's greatest length in bytes. */
  | 'too_long'
  | 'too_few'
  | 'too_many'
  /** The whole message is larger than its greatest size. */
  | 'too_large'
  /** The number is outside its type or its limits. */
  | 'range'
  /** The enum has no such value. */
  | 'enum'
  | 'required'
  /** The items of a repeated field are not in strictly ascending order. */
  | 'unsorted'
  /** Canonical messages only: fields out of number order. */
  | 'order'
  /** Canonical messages only: a varint longer than need be. */
  | 'not_minimal'
  /** Canonical messages only: a default value that should have been left out. */
  | 'default_value'

const explanations: Readonly<Record<WireErrorCode, string>> = {
  truncated: 'the bytes end too early',
  varint: 'the varint is too long',
  tag: 'the tag is not valid',
  wire_type: 'the wire type is not that of the field',
  unknown_field: 'the message has unknown fields',
  duplicate: 'the field occurs twice',
  utf8: 'the text is not valid Unicode',
  too_short: 'too few bytes',
  too_long: 'too many bytes',
  too_few: 'too few items',
  too_many: 'too many items',
  too_large: 'the message is too large',
  range: 'the value is out of range',
  enum: 'the enum has no such value',
  required: 'the field is missing',
  unsorted: 'the items are not in ascending order, each once',
  order: 'the fields are not in order',
  not_minimal: 'the varint is longer than need be',
  default_value: 'a default value is written out'
}

/** Bytes that are no message of their type, or a message that must not be sent. */
export class WireError extends Error {
  override readonly name = 'WireError'
  readonly code: WireErrorCode
  /** Name of the message, e.g. "Ballot". */
  readonly type: string
  /** Name of the field as in the schema, "#17" for an unknown one; empty when the whole message is meant. */
  readonly field: string
  /** Where decoding stopped, bytes from the start of the input; undefined when encoding. */
  readonly offset: number | undefined

  /** `where` is "Ballot.round", or "Ballot" for the whole message; `detail` says the values. */
  constructor(code: WireErrorCode, where: string, offset: number | undefined, detail = '') {
    const place = offset === undefined ? 'to be encoded' : `at byte ${offset}`
    super(`${where} ${place}: ${explanations[code]}${detail === '' ? '' : ` (${detail})`}`)
    const dot = where.indexOf('.')
    this.code = code
    this.type = dot < 0 ? where : where.slice(0, dot)
    this.field = dot < 0 ? '' : where.slice(dot + 1)
    this.offset = offset
  }
}

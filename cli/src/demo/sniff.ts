/**
 * Reads from a frame which kind it is, and of a Problem its code: as much as somebody at the network cable needs to see
 * whether a server refused. The numbers are those of proto/heddle/v1/frame.proto (message Frame, oneof body) and
 * error.proto. Apart from the core's codecs on purpose: it is the demo's independent look at the wire.
 */

export type FrameKind = 'problem' | 'subscribe' | 'subscribed' | 'deliver' | 'other'

export interface SeenFrame {
  readonly kind: FrameKind
  /** Of a problem: its error code. */
  readonly code: number | undefined
}

/** ERROR_CODE_NOT_A_MEMBER. */
export const notAMember = 5

const kindOfField: Readonly<Record<number, FrameKind>> = {
  12: 'problem',
  21: 'subscribe',
  22: 'subscribed',
  26: 'deliver'
}

/** What a frame is. A frame that cannot be read is 'other'. */
export function sniff(frame: Uint8Array): SeenFrame {
  for (const [field, value] of fieldsOf(frame)) {
    const kind = kindOfField[field]
    if (kind === undefined || typeof value === 'number') continue
    if (kind !== 'problem') return { kind, code: undefined }
    const code = [...fieldsOf(value)].find(([number]) => number === 1)?.[1]
    return { kind, code: typeof code === 'number' ? code : undefined }
  }
  return { kind: 'other', code: undefined }
}

/** The fields of a protobuf message, as numbers (varint) or bytes; stops at what it cannot read. */
function* fieldsOf(message: Uint8Array): Generator<readonly [field: number, value: number | Uint8Array]> {
  let offset = 0
  const varint = (): number => {
    let value = 0
    for (let factor = 1; offset < message.length; factor *= 128) {
      const byte = message[offset++] ?? 0
      value += (byte & 0x7f) * factor
      if (byte < 0x80) return value
    }
    return Number.NaN
  }
  while (offset < message.length) {
    const tag = varint()
    const value = varint()
    if (tag % 8 === 0) {
      yield [Math.floor(tag / 8), value]
    } else if (tag % 8 === 2 && offset + value <= message.length) {
      yield [Math.floor(tag / 8), message.subarray(offset, offset + value)]
      offset += value
    } else {
      return
    }
  }
}

/**
 * Bytes on their way into and out of iroh's binding. Version 1.1 takes and gives arrays of numbers and refuses Uint8Array;
 * the next API is Uint8Array. Which of the two is there is found out once, when the binding is loaded.
 */

/** What the binding takes and gives; its types know only today's half. */
export type NativeBytes = number[]

export interface ByteForm {
  /** The parts as one value for the binding; they may change once the call has returned. */
  pack(parts: readonly Uint8Array[], length: number): NativeBytes
  /** Owned by the caller, with a buffer of its own. */
  unpack(bytes: NativeBytes): Uint8Array
}

/** `tryCall` calls the binding with a Uint8Array where it wants bytes; the bytes themselves may be wrong for it. */
export function byteForm(tryCall: (bytes: NativeBytes) => unknown): ByteForm {
  try {
    tryCall(new Uint8Array(32) as unknown as NativeBytes)
    return typedArrays
  } catch (error) {
    return (error as { readonly code?: unknown }).code === 'ArrayExpected' ? numberArrays : typedArrays
  }
}

const numberArrays: ByteForm = {
  pack(parts, length) {
    // Five times faster than Array.from, and this is where the time of a transfer goes.
    const packed = new Array<number>(length)
    let at = 0
    for (const part of parts) for (let index = 0; index < part.length; index++) packed[at++] = part[index] as number
    return packed
  },
  unpack: (bytes) => Uint8Array.from(bytes)
}

const typedArrays: ByteForm = {
  pack(parts, length) {
    const packed = new Uint8Array(length)
    let at = 0
    for (const part of parts) {
      packed.set(part, at)
      at += part.length
    }
    return packed as unknown as NativeBytes
  },
  // A copy, since a Buffer may share its memory with others.
  unpack: (bytes) => new Uint8Array(bytes)
}

/**
 * What the generated codecs stand on: the reader, the two sinks and the codec that joins them to a message's read and
 * put functions. Synchronous; nothing is kept between calls.
 */
import { Reader } from './reader.js'
import { type Sink, Sizer, Writer } from './writer.js'

export { emptyBytes, Reader, type Shape } from './reader.js'
export type { Sink } from './writer.js'

/** Decodes and encodes one message type. */
export interface Codec<T> {
  /**
   * Reads a whole message. Byte arrays of up to 64 bytes in the result are copies; longer ones are views of `bytes`,
   * which must then not be changed while they are in use. Throws WireError for anything the schema does not allow.
   */
  decode(bytes: Uint8Array): T
  /**
   * Writes a message into a new array of exactly its size, owned by the caller. Throws WireError when a field breaks a
   * limit of the schema.
   */
  encode(message: T): Uint8Array
}

/** `read` reads a message from the reader's place up to `end`; `put` tells a sink of one. */
export function codec<T>(read: (reader: Reader, end: number) => T, put: (sink: Sink, message: T) => void): Codec<T> {
  return {
    decode: (bytes) => read(new Reader(bytes), bytes.length),
    encode(message) {
      const sizer = new Sizer()
      put(sizer, message)
      const writer = new Writer(sizer)
      put(writer, message)
      return writer.finish()
    }
  }
}

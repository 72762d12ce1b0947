/** Reads the numbers of Automerge's format: LEB128, signed and not. Everything that looks into chunks reads through it. */

/** A number of 64 bits has at most 10 bytes. */
const NUMBER_BYTES_MAX = 10

/** Walks over bytes; whatever goes past their end throws a RangeError. Numbers above 2^53 are not exact. */
export class Reader {
  readonly #bytes: Uint8Array
  #at: number

  constructor(bytes: Uint8Array, at = 0) {
    this.#bytes = bytes
    this.#at = at
  }

  get at(): number {
    return this.#at
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#bytes.length
  }

  unsigned(): number {
    return this.#number().value
  }

  signed(): number {
    const { value, bits, isNegative } = this.#number()
    return isNegative ? value - 2 ** bits : value
  }

  /** A view of the next bytes. */
  take(length: number): Uint8Array {
    const end = this.#at + length
    if (end > this.#bytes.length)
      throw new RangeError(`${length} bytes are announced at byte ${this.#at}, past the end`)
    const taken = this.#bytes.subarray(this.#at, end)
    this.#at = end
    return taken
  }

  #number(): { readonly value: number; readonly bits: number; readonly isNegative: boolean } {
    let value = 0
    for (let i = 0; i < NUMBER_BYTES_MAX; i++) {
      const byte = this.#bytes[this.#at]
      if (byte === undefined) break
      this.#at += 1
      value += (byte & 0x7f) * 2 ** (7 * i)
      if (byte < 0x80) return { value, bits: 7 * (i + 1), isNegative: (byte & 0x40) > 0 }
    }
    throw new RangeError(`there is no number at byte ${this.#at}`)
  }
}

/**
 * What conformance-csp.test.ts runs where code cannot be made from strings: every codec takes valid messages and writes
 * them again, and refuses malformed ones. Imports the wire room and nothing else, so that it runs in a browser.
 */
import * as wire from '../../../core/src/wire/index.js'

export interface SelfCheck {
  /** Valid messages: type and bytes in hex. */
  readonly valid: readonly (readonly [name: string, hex: string])[]
  readonly malformed: readonly (readonly [name: string, hex: string])[]
}

/** "ok: …" with figures, or what is wrong. */
export function selfCheck({ valid, malformed }: SelfCheck): string {
  for (const [name, hex] of valid) {
    const codec = codecOf(name)
    if (toHex(codec.encode(codec.decode(fromHex(hex)))) !== hex) return `${name} is not written as it was read: ${hex}`
  }
  for (const [name, hex] of malformed) {
    const refusal = refusalOf(() => codecOf(name).decode(fromHex(hex)))
    if (refusal !== 'WireError') return `${name}: ${refusal} for ${hex}`
  }
  return `ok: ${valid.length} valid, ${malformed.length} malformed, code from strings: ${codeFromStrings()}`
}

function codecOf(name: string): wire.Codec<unknown> {
  const found = (wire as unknown as Readonly<Record<string, wire.Codec<unknown> | undefined>>)[name]
  if (found === undefined) throw new Error(`there is no codec of ${name}`)
  return found
}

function refusalOf(act: () => unknown): string {
  try {
    act()
    return 'nothing'
  } catch (error) {
    return error instanceof Error ? error.name : String(error)
  }
}

/** Whether the environment is as strict as it should be. */
function codeFromStrings(): string {
  return refusalOf(() => new Function('return 1')()) === 'EvalError' ? 'refused' : 'allowed'
}

function toHex(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}

function fromHex(hex: string): Uint8Array {
  return Uint8Array.from({ length: hex.length / 2 }, (_, i) => Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16))
}

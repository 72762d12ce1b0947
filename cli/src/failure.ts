/**
 * How the command fails: one sentence on stderr that says what to do, exit code 2 when what it was given is wrong, 1 for
 * everything else. Stack traces only with HEDDLE_DEBUG.
 */
import { CommanderError } from 'commander'
import { type ErrorName, HeddleError } from '@heddle/core'

export const exitCodes = { ok: 0, failed: 1, wrongInput: 2, interrupted: 130 } as const

/** Codes that mean: correct the command line, the configuration, the folder or the address, and try again. */
const wrongInput: ReadonlySet<ErrorName> = new Set([
  'CONFIG_INVALID',
  'CAPABILITY_MISSING',
  'PLUGIN_API_VERSION',
  'PLUGIN_NOT_FOUND',
  'PLUGIN_WRONG_KIND',
  'STORAGE_UNAVAILABLE',
  'STORAGE_CORRUPT',
  'TRANSPORT_ADDRESS_IN_USE',
  'TRANSPORT_UNREACHABLE',
  'UNAUTHENTICATED',
  'UNSUPPORTED_VERSION',
  'NO_QUORUM',
  'NOT_FOUND',
  'INVITE_INVALID',
  'INVITE_EXPIRED',
  'INVITE_USED'
])

export interface Failure {
  readonly exitCode: number
  /** Undefined when everything has been said already. */
  readonly sentence: string | undefined
}

export function failureOf(error: unknown): Failure {
  // Commander has written its own message, or the help that was asked for.
  if (error instanceof CommanderError) {
    return { exitCode: error.exitCode === 0 ? exitCodes.ok : exitCodes.wrongInput, sentence: undefined }
  }
  const message = error instanceof Error ? error.message : String(error)
  const exitCode = HeddleError.is(error) && wrongInput.has(error.code) ? exitCodes.wrongInput : exitCodes.failed
  return { exitCode, sentence: sentenceOf(message) }
}

/** One line that ends as a sentence does. */
function sentenceOf(message: string): string {
  const line = message.replace(/\s+/g, ' ').trim()
  return /[.!?]$/.test(line) ? line : `${line}.`
}

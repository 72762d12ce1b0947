/**
 * iroh's errors, which are plain Errors with Rust's debug text. Their meaning is read out of the text here and nowhere else
 * (iroh 1.0.2, @number0/iroh 1.1.0).
 */
import { HeddleError } from '@heddle/core'

/** The innermost cause, without source paths and stack. */
export function describeFailure(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error)
  const [chain = ''] = text.split('\n\nStack backtrace')
  const lines = chain
    .split('\n')
    .map((line) => line.replace(/\s*\(\/[^)]*\)\s*$/, '').trim())
    .filter((line) => line !== '' && line !== 'Caused by:')
  return (lines.at(-1) ?? 'iroh gave no reason').slice(0, 200)
}

/** Whether a connect failed because another key answered than the one dialled. */
export function isWrongKey(error: unknown): boolean {
  return /invalid peer certificate/.test(describeFailure(error))
}

/** Whether a read failed because the peer reset the stream; the connection is whole then. */
export function isReset(error: unknown): boolean {
  return error !== undefined && /^Reset\(\d+\)$/.test(describeFailure(error))
}

/** How a connection ended, from the text that iroh's `closed()` gives. */
export function parseClosed(text: string): { readonly by: 'local' | 'remote' | 'lost'; readonly reason: string } {
  if (text === 'closed') return { by: 'local', reason: text }
  const isGoodbye = text.startsWith('closed by peer')
  const reason = isGoodbye ? text.replace(/^closed by peer:?\s*/, '').replace(/\s*\(code \d+\)$/, '') : text
  return { by: isGoodbye ? 'remote' : 'lost', reason: describeFailure(reason) }
}

export function isAddressInUse(error: unknown): boolean {
  return /os error (98|48|10048)\b|address already in use/i.test(describeFailure(error))
}

/** Why an endpoint could not be bound. */
export function bindError(cause: unknown, where: string): HeddleError {
  const why = describeFailure(cause)
  const options = { cause, info: { address: where } }
  if (isAddressInUse(cause)) {
    return new HeddleError(
      'TRANSPORT_ADDRESS_IN_USE',
      `cannot listen on ${where}: its UDP port is taken; choose another port (0 picks a free one), or stop what holds it`,
      options
    )
  }
  if (/os error (99|49|10049)\b|cannot assign requested address/i.test(why)) {
    return new HeddleError(
      'CONFIG_INVALID',
      `cannot listen on ${where}: that is no address of this machine; use 0.0.0.0 for all of them`,
      options
    )
  }
  return new HeddleError('CONFIG_INVALID', `cannot bind UDP on ${where}: ${why}`, options)
}

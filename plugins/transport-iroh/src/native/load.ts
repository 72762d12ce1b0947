/** Loading iroh's native package, when the transport is started and not before. */
import { HeddleError } from '@heddle/core'
import { type Iroh, irohOf } from './iroh.js'

/** Throws CAPABILITY_MISSING where there is no build of iroh for this machine. */
export async function loadIroh(): Promise<Iroh> {
  try {
    // The file itself, since the package's "main" names one that is not there, of which Node warns.
    return irohOf(await import('@number0/iroh/index.js'))
  } catch (cause) {
    throw new HeddleError(
      'CAPABILITY_MISSING',
      `iroh cannot be loaded on ${process.platform}-${process.arch}: @number0/iroh has no build for it, or it was not installed (optional dependencies left out?); reinstall, or use @heddle/transport-websocket here`,
      { cause, info: { platform: process.platform, arch: process.arch } }
    )
  }
}

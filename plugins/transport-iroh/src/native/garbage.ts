/** A full garbage collection on request: iroh has no other way to give a UDP port back. */
import { setImmediate } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/**
 * Collects what nobody refers to any more and waits for the native parts to be let go of. It stops the process for some
 * milliseconds: for a port that is taken, not for every day.
 */
export async function collectGarbage(): Promise<void> {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  // Finalizers run in turns of their own, and only then lets an endpoint go of what it holds.
  for (let round = 0; round < 3; round++) {
    collect()
    await setImmediate()
  }
}

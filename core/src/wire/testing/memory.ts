/** What is really kept alive: the memory in use after everything that can go is gone. For tests of ownership. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** Bytes of the heap and of the array buffers outside it that are still reachable. */
export function reachableBytes(): number {
  // Array buffers go with the collection after the one that frees their views.
  collect()
  collect()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

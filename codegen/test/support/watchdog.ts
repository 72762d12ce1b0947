/**
 * Ends the process when work that never yields makes no progress: a decoder in an endless loop cannot be interrupted from
 * its own thread, and a test runner's timeout would wait for ever.
 */
import { Worker } from 'node:worker_threads'

export interface Watchdog extends Disposable {
  /** Tells that so much is done; what is not told of for the time given is a hang. */
  progress(done: number): void
}

const source = `
const { workerData: { cell, name, withinMs } } = require('node:worker_threads')
const shared = new Int32Array(cell)
for (let last = Atomics.load(shared, 0); ; last = Atomics.load(shared, 0)) {
  if (Atomics.wait(shared, 1, 0, withinMs) !== 'timed-out') break
  if (Atomics.load(shared, 0) !== last) continue
  require('node:fs').writeSync(2, name + ': hangs after ' + last + ' inputs\\n')
  process.kill(process.pid, 'SIGKILL')
}`

export function watchdog(name: string, withinMs: number): Watchdog {
  const cell = new SharedArrayBuffer(8)
  const shared = new Int32Array(cell)
  const worker = new Worker(source, { eval: true, workerData: { cell, name, withinMs } })
  worker.unref()
  return {
    progress: (done) => void Atomics.store(shared, 0, done + 1),
    [Symbol.dispose]() {
      Atomics.store(shared, 1, 1)
      Atomics.notify(shared, 1)
    }
  }
}

/** Starts a module of this folder in a process of its own and reads its lines. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const runner = fileURLToPath(new URL('./run.mjs', import.meta.url))

export interface Started {
  readonly process: ChildProcess
  /** Every line printed so far. */
  readonly lines: readonly string[]
  /** Resolves once `count` lines were printed; rejects when the process ends before. */
  printed(count: number): Promise<void>
  /** Resolves when the process has ended and all it printed was read. */
  readonly ended: Promise<void>
}

export function startModule(name: string, args: readonly string[]): Started {
  const module = fileURLToPath(new URL(name, import.meta.url))
  const child = spawn(process.execPath, [runner, module, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  const lines: string[] = []
  const reader = createInterface({ input: child.stdout })
  reader.on('line', (line) => lines.push(line))
  const ended = Promise.all([once(child, 'exit'), once(reader, 'close')]).then(() => undefined)
  return {
    process: child,
    lines,
    ended,
    async printed(count) {
      let isOver = false
      void ended.then(() => {
        isOver = true
      })
      while (lines.length < count) {
        if (isOver) throw new Error(`the process ended after ${lines.length} lines`)
        await Promise.race([once(reader, 'line'), ended])
      }
    }
  }
}

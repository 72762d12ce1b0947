#!/usr/bin/env node
/** The `heddle` command: connects the program to this process. */
import { run } from './program.js'
import { terminal } from './terminal.js'

const interrupt = new AbortController()
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.on(name, () => {
    // The second time there is no waiting for anything.
    if (interrupt.signal.aborted) process.exit(130)
    interrupt.abort(new Error(`stopped by ${name}`))
  })
}

process.exitCode = await run(
  process.argv.slice(2),
  {
    terminal: terminal(process.stdout, process.stderr, process.env),
    signal: interrupt.signal,
    stdin: process.stdin
  },
  process.env
)

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

// Whoever reads may stop reading: "heddle doc show … | head -1".
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})

for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
  process.on(event, (error: unknown) => {
    const what = process.env.HEDDLE_DEBUG && error instanceof Error ? error.stack : String(error)
    process.stderr.write(`heddle: this should not happen, please report it: ${what}\n`)
    process.exit(1)
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

/** `node codegen/dist/cli.js [--check]`, see main.ts; the repository is the one this file lies in. */
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { main } from './main.js'

const repository = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

process.exitCode = await main(process.argv.slice(2), repository, console).catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error)
  return 1
})

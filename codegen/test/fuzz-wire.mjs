/** `npm run fuzz:wire`: runs fuzz-wire.ts from source, as the tests run. */
import { fileURLToPath } from 'node:url'
import { runnerImport } from 'vite'

// It works while it is imported: afterwards the runner is closed.
await runnerImport(fileURLToPath(new URL('fuzz-wire.ts', import.meta.url)), {
  configFile: false,
  logLevel: 'error',
  oxc: { target: 'es2022' },
  resolve: { conditions: ['source'] },
  ssr: { resolve: { conditions: ['source'] } }
})

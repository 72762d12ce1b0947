// Runs a TypeScript module of this repository in a process of its own: node run.mjs <module> <arguments...>
import { createServer } from 'vite'

const [module, ...args] = process.argv.slice(2)
const server = await createServer({
  configFile: false,
  root: new URL('../../../..', import.meta.url).pathname,
  logLevel: 'error',
  server: { middlewareMode: true, watch: null, hmr: false, ws: false },
  optimizeDeps: { noDiscovery: true },
  oxc: { target: 'es2022' },
  ssr: { noExternal: [/^@heddle\//], resolve: { conditions: ['source'] } }
})
const { main } = await server.ssrLoadModule(module)
await main(...args)
await server.close()

// Runs a TypeScript module of this repository in a process of its own: node run.mjs <module>
import { createServer } from 'vite'

const server = await createServer({
  configFile: false,
  root: new URL('../../../..', import.meta.url).pathname,
  logLevel: 'error',
  server: { middlewareMode: true, watch: null, hmr: false, ws: false },
  optimizeDeps: { noDiscovery: true },
  ssr: { noExternal: [/^@heddle\//], resolve: { conditions: ['source'] } }
})
const { main } = await server.ssrLoadModule(process.argv[2])
await main()
await server.close()

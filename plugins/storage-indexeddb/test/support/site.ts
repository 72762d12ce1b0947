/**
 * A site on localhost with one page and the script of a test, bundled as an app's bundler would and allowed no more than
 * its own scripts and connections to localhost.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { build } from 'vite'

const policy = "default-src 'none'; script-src 'self'; connect-src 'self' ws://127.0.0.1:*"

export interface Site extends AsyncDisposable {
  readonly url: string
  /** Size of the script, bytes. */
  readonly scriptBytes: number
  /** Ids of the modules in the script. */
  readonly modules: readonly string[]
}

/** Serves a module of the folder `pages`. The origin has a port of its own, so its storage begins empty. */
export async function serveSite(page: string, options: { readonly port?: number } = {}): Promise<Site> {
  const { code, modules } = await bundle(fileURLToPath(new URL(`../pages/${page}`, import.meta.url)))
  const server = createServer((request, response) => {
    response.setHeader('Content-Security-Policy', policy)
    const isScript = request.url === '/page.js'
    response.setHeader('Content-Type', isScript ? 'text/javascript' : 'text/html; charset=utf-8')
    const html = '<!doctype html><title>Heddle</title><body></body>'
    response.end(isScript ? code : `${html}<script type="module" src="/page.js"></script>`)
  })
  await new Promise<void>((resolve) => server.listen(options.port ?? 0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    scriptBytes: Buffer.byteLength(code),
    modules,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    }
  }
}

async function bundle(entry: string): Promise<{ readonly code: string; readonly modules: readonly string[] }> {
  const built = await build({
    configFile: false,
    logLevel: 'silent',
    resolve: { conditions: ['source', 'browser', 'module', 'import'] },
    build: {
      write: false,
      minify: true,
      target: 'es2022',
      modulePreload: false,
      rolldownOptions: { input: entry, output: { format: 'es' } }
    }
  })
  const chunks = [built].flat().flatMap((result) => ('output' in result ? result.output : []))
  const [chunk] = chunks
  if (chunks.length !== 1 || chunk?.type !== 'chunk') throw new Error(`vite made ${chunks.length} files, not one`)
  return { code: chunk.code, modules: Object.keys(chunk.modules) }
}

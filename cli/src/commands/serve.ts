/** `heddle serve`: runs a server until it is told to stop. */
import { HeddleError, type Log } from '@heddle/core'
import { Command } from 'commander'
import type { ServeReport } from '../generated/reports.js'
import { importerFor, loadConfig } from '../config-file.js'
import { defaultListen, type RelayPolicy, serve } from '../server.js'
import type { Surroundings } from '../session.js'
import type { Terminal } from '../terminal.js'

interface Options {
  readonly config?: string
  readonly listen?: readonly string[]
  readonly relay?: string
  readonly relayUrl?: readonly string[]
  readonly data: string
  readonly json?: true
}

export function serveCommand(surroundings: Surroundings): Command {
  return new Command('serve')
    .description('run a server: it orders changes of groups and keeps messages it cannot read')
    .option('--config <file>', 'heddle.config.ts, .js, .mjs or .json; default: the one in this folder, if any')
    .option(
      '--listen <url...>',
      `addresses to listen on (default: ${defaultListen.join(' ')}); port 0 picks a free one`
    )
    .option('--data <dir>', 'folder of this server, its secret key included', '.heddle/server')
    .option('--relay <policy>', 'relay iroh connections for: members, everyone, token:TOKEN or off (default: members)')
    .option('--relay-url <url...>', 'relays by which this server can be reached itself over iroh')
    .option('--json', 'print one JSON object a line')
    .addHelpText(
      'after',
      `
Prints a ticket for each address, ws://host:port/#<server id> or iroh://<key>?addr=…#<server id>:
that is what devices name the server by, by one or by several. A server that moves keeps its id
with its folder. On the port of the WebSockets it also relays iroh connections of devices that
cannot reach each other directly. Ctrl-C or SIGTERM stops it in order.

Examples:
  $ heddle serve
  $ heddle serve --listen ws://0.0.0.0:8440 iroh://0.0.0.0:8440 --data /var/lib/heddle`
    )
    .action(async (options: Options) => {
      const { terminal, signal } = surroundings
      const { config, file } = await loadConfig(options.config, process.cwd())
      const listen = options.listen ?? config.listen
      for (const address of listen ?? []) checkAddress(address)
      const relay = options.relay === undefined ? config.relay : parseRelay(options.relay)
      const relayUrls = options.relayUrl ?? config.relayUrls
      const { storage, transports, limits } = config
      const serving = await serve({
        path: options.data,
        ...(listen !== undefined && { listen }),
        ...(relay !== undefined && { relay }),
        ...(relayUrls !== undefined && { relayUrls }),
        ...(storage !== undefined && { storage }),
        ...(transports !== undefined && { transports }),
        ...(limits !== undefined && { limits }),
        ...(file !== undefined && { base: file }),
        importModule: importerFor(file),
        log: logTo(terminal)
      })
      try {
        if (options.json) terminal.json<ServeReport>({ tickets: serving.tickets, relays: serving.relays })
        else {
          for (const ticket of serving.tickets) terminal.line(ticket)
          for (const url of serving.relays) terminal.note(`Relay for iroh: ${url}`)
          terminal.note('Serving. Ctrl-C stops it.')
        }
        const failure = await Promise.race([serving.server.failed, aborted(signal)])
        if (failure !== undefined) throw failure
      } finally {
        await serving[Symbol.asyncDispose]()
      }
    })
}

function parseRelay(policy: string): RelayPolicy {
  if (policy === 'members' || policy === 'everyone' || policy === 'off') return policy
  const [, token] = /^token:(.+)$/.exec(policy) ?? []
  if (token !== undefined) return { tokens: [token] }
  throw new HeddleError('CONFIG_INVALID', `"${policy}" is no relay policy: members, everyone, token:TOKEN or off`)
}

function checkAddress(address: string): void {
  if (URL.canParse(address) && address.includes('://')) return
  throw new HeddleError('CONFIG_INVALID', `"${address}" is no address to listen on; write it like ${defaultListen[0]}`)
}

async function aborted(signal: AbortSignal): Promise<undefined> {
  if (signal.aborted) return
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}

/** Warnings and errors of the server, one line each, for whoever runs it. */
function logTo(terminal: Terminal): Log {
  return (level, event, fields = {}) => {
    if (level !== 'warn' && level !== 'error') return
    const details = Object.entries(fields).map(
      ([name, value]) => `${name}=${value instanceof Error ? value.message : String(value)}`
    )
    terminal.note([new Date().toISOString(), level, event, ...details].join(' '))
  }
}

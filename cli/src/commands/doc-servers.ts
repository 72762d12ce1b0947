/** `heddle doc add-server|remove-server|replace-server`: which servers a document has. */
import { type Document, HeddleError } from '@heddle/core'
import { Command } from 'commander'
import { type DeviceOptions, type Surroundings, withDeviceOptions } from '../session.js'
import { change } from './doc-change.js'

export function addServerCommand(surroundings: Surroundings): Command {
  const command = new Command('add-server')
    .description('let one more server serve a document (admins only)')
    .argument('<doc>', 'id of the document, or its beginning')
    .argument('<ticket...>', 'the server, as "heddle serve" prints it, by one or several addresses; it has to answer')
    .action(async (doc: string, tickets: readonly string[], options: DeviceOptions) => {
      await change(doc, options, surroundings, async (document, signal) => {
        await document.addServer(tickets, signal)
        return `The document has ${count(document)} now.`
      })
    })
  return withDeviceOptions(command)
}

export function removeServerCommand(surroundings: Surroundings): Command {
  const command = new Command('remove-server')
    .description('let a server serve a document no more (admins only)')
    .argument('<doc>', 'id of the document, or its beginning')
    .argument('<server>', 'id of the server, or its beginning')
    .action(async (doc: string, server: string, options: DeviceOptions) => {
      await change(doc, options, surroundings, async (document, signal) => {
        await document.removeServer(findServer(document, server), signal)
        return `The document has ${count(document)} now.`
      })
    })
  return withDeviceOptions(command)
}

export function replaceServerCommand(surroundings: Surroundings): Command {
  const command = new Command('replace-server')
    .description('put one server in the place of another, dead or alive (admins only)')
    .argument('<doc>', 'id of the document, or its beginning')
    .argument('<old>', 'id of the server that goes, or its beginning')
    .argument(
      '<ticket...>',
      'the one that comes, by one or several addresses; with the id of the one that goes, only its address changes'
    )
    .action(async (doc: string, server: string, tickets: readonly string[], options: DeviceOptions) => {
      await change(doc, options, surroundings, async (document, signal) => {
        const id = findServer(document, server)
        await document.replaceServer(id, tickets, signal)
        return `Server ${id.slice(0, 8)} is replaced.`
      })
    })
  return withDeviceOptions(command)
}

function count(document: Document): string {
  const { length } = document.status().servers
  return `${length} ${length === 1 ? 'server' : 'servers'}`
}

function findServer(document: Document, prefix: string): string {
  const { servers } = document.status()
  const found = servers.filter(({ id }) => id.startsWith(prefix.toLowerCase()))
  const [only, ...others] = prefix === '' ? [] : found
  if (only !== undefined && others.length === 0) return only.id
  const message =
    only === undefined
      ? `document ${document.id} has no server ${prefix}; it has ${servers.map(({ id }) => id.slice(0, 8)).join(', ')}`
      : `${found.length} servers begin with ${prefix}; write more of the id`
  throw new HeddleError('NOT_FOUND', message)
}

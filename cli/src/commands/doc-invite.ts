/** `heddle doc invite`: makes an invite link and, with --wait, stays until somebody has followed it. */
import type { RoleName } from '@heddle/core'
import { Command, Option } from 'commander'
import { renderUnicodeCompact } from 'uqr'
import type { DocInviteReport, DocInviteWaitReport } from '../generated/reports.js'
import { parseDuration } from '../duration.js'
import {
  type DeviceOptions,
  eventually,
  refresh,
  settle,
  type Surroundings,
  withDeviceOptions,
  withDocument
} from '../session.js'

interface Options extends DeviceOptions {
  readonly role: RoleName
  readonly expires: string
  readonly qr?: boolean
  readonly wait?: true
}

export function inviteCommand(surroundings: Surroundings): Command {
  const command = new Command('invite')
    .description('make a link with which one device can join, once')
    .argument('<doc>', 'id of the document, or its beginning')
    .addOption(
      new Option('--role <role>', 'what the new member may do').choices(['admin', 'editor', 'reader']).default('editor')
    )
    .option('--expires <duration>', 'how long it can be followed: 90s, 30m, 1h, 7d', '1d')
    .option('--qr', 'show the link as a QR code too; where a person looks, that is the default')
    .option('--no-qr', 'show the link only')
    .option('--wait', 'stay online until it has been followed or has expired')
    .action(async (doc: string, options: Options) => {
      const expiresInMs = parseDuration(options.expires)
      await withDocument(doc, options, async (document) => {
        const { terminal, signal } = surroundings
        await refresh(document, signal)
        const known = new Set(document.members().map(({ id }) => id))
        const link = await document.invite({ role: options.role, expiresInMs })
        if (options.json)
          terminal.json<DocInviteReport>({ document: document.id, link, role: options.role, expiresInMs })
        else terminal.line(link)
        if (!options.json && (options.qr ?? terminal.isWatched)) terminal.note(renderUnicodeCompact(link))
        if (!options.wait) {
          // The servers have to know of it before this device goes.
          await refresh(document, signal)
          if (!options.json) {
            terminal.note(
              `It is good for one device within ${options.expires}. This device has to be online when it is followed: keep "heddle doc edit", "heddle doc show --follow" or "heddle doc invite --wait" running.`
            )
          }
          return
        }
        if (!options.json)
          terminal.note(`Waiting for somebody to follow it, for ${options.expires} at most. Ctrl-C ends the waiting.`)
        const added = () => document.members().find(({ id }) => !known.has(id))
        await eventually(document, () => added() !== undefined, signal, expiresInMs)
        const member = added()
        // Who joins gets the content from this device: not before that is on the servers may it go.
        if (member !== undefined) await settle(document, signal, 30_000)
        if (options.json) terminal.json<DocInviteWaitReport>({ document: document.id, joined: member?.id ?? null })
        else
          terminal.note(
            member === undefined ? 'Nobody followed it in time.' : `Member ${member.id} joined as ${member.role}.`
          )
      })
    })
  return withDeviceOptions(command)
}

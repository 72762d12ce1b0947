/** `heddle doc verify`: what people compare to know that each has the other's key (SPEC GROUP-030, GROUP-031). */
import { type Document, type FingerprintCheck, HeddleError } from '@heddle/core'
import { Command } from 'commander'
import type { DocVerifyReport } from '../generated/reports.js'
import { type DeviceOptions, refresh, type Surroundings, withDeviceOptions, withDocument } from '../session.js'
import { findMember } from './doc-members.js'

interface Options extends DeviceOptions {
  readonly scanned?: string
}

export function verifyCommand(surroundings: Surroundings): Command {
  const command = new Command('verify')
    .description('print what two people compare to be sure of each other')
    .argument('<doc>', 'id of the document, or its beginning')
    .argument('[member]', 'id of the member, or its beginning; all others without')
    .option('--scanned <fingerprint>', 'compare with the fingerprint another device shows')
    .action(async (doc: string, member: string | undefined, options: Options) => {
      await withDocument(doc, options, async (document) => {
        const { terminal, signal } = surroundings
        await refresh(document, signal)
        const report = reportOf(document, member, options.scanned)
        if (options.json) terminal.json<DocVerifyReport>(report)
        else {
          terminal.line(`fingerprint of this device\n  ${report.fingerprint}`)
          for (const { id, role, safetyNumber, fingerprint } of report.members) {
            terminal.line(`${id} ${role}\n  safety number  ${safetyNumber}\n  fingerprint    ${fingerprint}`)
          }
        }
        if (options.scanned !== undefined) {
          if (!report.members.some(({ matches }) => matches)) throw mismatch(document, member, options.scanned)
          if (!options.json) terminal.note('The fingerprint is that of this member: it is who showed it.')
        } else if (!options.json && report.members.length > 0) {
          terminal.note(
            'Read the safety number to each other, by voice or in person: both devices show the same one, or somebody is between you.'
          )
        }
      })
    })
  return withDeviceOptions(command)
}

function reportOf(document: Document, member: string | undefined, scanned: string | undefined): DocVerifyReport {
  const wanted = member === undefined ? undefined : findMember(document, member)
  const check = scanned === undefined ? undefined : document.checkFingerprint(scanned, wanted)
  const only = wanted ?? (check?.result === 'match' ? check.memberId : undefined)
  const members = document
    .members()
    .filter(({ id, isSelf }) => !isSelf && (only === undefined || id === only))
    .map(({ id, role }) => ({
      id,
      role,
      safetyNumber: document.safetyNumber(id),
      fingerprint: document.fingerprint(id),
      ...(check === undefined ? {} : { matches: check.result === 'match' && check.memberId === id })
    }))
  return { document: document.id, fingerprint: document.fingerprint(), members }
}

function mismatch(document: Document, member: string | undefined, scanned: string): HeddleError {
  const check = document.checkFingerprint(scanned, member === undefined ? undefined : findMember(document, member))
  return check.result === 'unreadable' ? check.error : new HeddleError('INVALID', reasons[check.result](document))
}

const reasons: Record<Exclude<FingerprintCheck['result'], 'unreadable'>, (document: Document) => string> = {
  match: () => "this is this device's own fingerprint; scan the one the other device shows",
  'other-member': () => 'the fingerprint is of another member of the document: whoever showed it is not this one',
  'no-member': ({ id }) =>
    `the fingerprint is of nobody in document ${id}: whoever showed it is not in it, or was removed`,
  'other-document': ({ id }) => `the fingerprint is of a member of another document than ${id}`
}

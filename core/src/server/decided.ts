/**
 * Decided slots (SPEC SRV): learning them from whoever tells, and telling those who ask. A decided slot proves itself, so
 * it does not matter who brings it.
 */
import { toHex } from '../bytes.js'
import { HeddleError } from '../errors.js'
import type { ServerChannel } from '../net/index.js'
import { inspectDecided } from '../paxos/index.js'
import type { CatchUp, Decided, DecidedSlot } from '../wire/index.js'
import { verifyAll } from './acceptor-driver.js'
import type { Document } from './document.js'
import { hostedChange } from './hosted.js'
import { dropOrphanedMailboxes } from './mailbox.js'
import { done, type Reply } from './parts.js'
import type { WelcomePlace } from './store.js'
import { checkValue } from './value-check.js'
import { sendWelcomes, welcomeEntries } from './welcome.js'

/** Runs under the document's mutex. Slots that are known are passed over; the first that is wrong ends the telling. */
export async function learnDecided(document: Document, told: Decided, teller: ServerChannel): Promise<Reply> {
  for (const slot of told.slots) {
    if (slot.slot < document.current.number) continue
    if (slot.slot > document.current.number)
      throw document.problem('BEHIND', `slot ${slot.slot} was told, but this server lacks ${document.current.number}`)
    await learn(document, slot, teller)
  }
  return done
}

/** For members, and for those who were: to learn of their removal. */
export async function catchUp(document: Document, request: CatchUp, peer: Uint8Array): Promise<Reply> {
  document.requirePastMember(peer)
  const slots = await document.readDecided(request.fromSlot)
  return { body: () => ({ $case: 'decided', value: { group: document.group, slots } }) }
}

async function learn(document: Document, told: DecidedSlot, teller: ServerChannel): Promise<void> {
  const { store, parts } = document
  const inspected = inspectDecided(document.current.config, told)
  if (inspected.kind === 'bad') throw document.problem('INVALID', inspected.reason)
  verifyAll(parts, inspected.checks)
  const checked = await checkDecidedValue(document, told)
  const { next, welcomeRefs } = checked
  const hosted = hostedChange(parts.identity.id, document.current, next)
  const returns = !document.isServed && next.lists(parts.identity.id)
  if (returns) document.beginning = { ...document.beginning, broughtIn: next.number }
  document.begin(next)
  document.values.clear()
  const place: WelcomePlace = { slot: told.slot, position: document.position }
  const welcomes = new Map(welcomeRefs.map((ref) => [toHex(ref), place]))
  const batch = {
    delRange: [store.allValues(), store.groupsBefore(document.oldestEpoch)],
    del: hosted.del,
    put: [
      store.decided(told),
      store.group(next.number, next.group.save()),
      store.acceptor(document.acceptor.record),
      ...(returns ? [store.beginning(document.beginning)] : []),
      ...welcomeEntries(store, checked, place),
      ...hosted.put
    ]
  }
  parts.count('decided')
  document.write(batch, () => {
    document.durable.slot = next.number
    for (const subscription of document.subscriptions) {
      if (subscription.channel === teller) subscription.skipSlot(told.slot)
      if (next.memberById(subscription.member) === undefined) subscription.memberRemoved()
      else subscription.wake()
    }
    sendWelcomes(document, welcomes)
  })
  dropOrphanedMailboxes(document)
}

/** A quorum decided it, so when it breaks a rule here, either this server or that quorum is broken. */
async function checkDecidedValue(document: Document, told: DecidedSlot) {
  try {
    return await checkValue(document, told.value, { decided: true })
  } catch (cause) {
    const { log } = document.parts.context
    log('error', 'server.decided-value-invalid', { group: toHex(document.group), slot: told.slot, error: cause })
    if (!HeddleError.is(cause)) throw cause
    throw document.problem('INVALID', `slot ${told.slot} was decided with a value that breaks a rule: ${cause.message}`)
  }
}

/**
 * Opened messages on their way into the CRDT (SPEC DEV-009): all of a turn in one batch, and when the CRDT refuses that, one
 * by one, so that a bad message costs only itself. Called by `opening.ts`.
 */
import { readU64, toHex } from '../bytes.js'
import { HeddleError } from '../errors.js'
import type { Head } from '../wire/index.js'
import { isStrict, type Room, report } from './room.js'
import type { Turn } from './store.js'

/** Updates of one message, and the head it moves. */
export interface OpenedMessage {
  readonly updates: readonly Uint8Array[]
  readonly head: Head
}

/**
 * Applies the messages and logs them with the turn. Returns an error when one broke the live CRDT: the good ones are
 * logged all the same, and once that is durable the document must end.
 */
export async function applyMessages(
  room: Room,
  turn: Turn,
  messages: readonly OpenedMessage[]
): Promise<HeddleError | undefined> {
  const { replica } = room
  // Should a message break the CRDT, nothing can be taken out of it any more.
  const local = messages.length > 0 ? replica.peek() : undefined
  const logged = new Set<OpenedMessage>()
  try {
    applyAndMark(room, turn, messages)
  } catch (error) {
    if (HeddleError.is(error, 'CRDT_TAINTED')) return await applyBroken(room, turn, messages, logged, local)
    if (!HeddleError.is(error, 'CRDT_MALFORMED')) throw error
    for (const message of messages) {
      try {
        applyAndMark(room, turn, [message])
        logged.add(message)
      } catch (cause) {
        if (HeddleError.is(cause, 'CRDT_TAINTED')) return await applyBroken(room, turn, messages, logged, local)
        if (!HeddleError.is(cause, 'CRDT_MALFORMED')) throw cause
        reportRefused(room, message.head, cause)
      }
    }
  }
  return undefined
}

/** In strict mode each message's entries in the log are marked, since they may have to be taken back. */
function applyAndMark({ replica, group }: Room, turn: Turn, messages: readonly OpenedMessage[]): void {
  let entry = replica.nextEntry
  replica.apply(
    turn,
    messages.flatMap(({ updates }) => updates)
  )
  if (!isStrict(group)) return
  for (const { updates, head } of messages) {
    replica.mark(turn, entry, updates.length, head)
    entry += BigInt(updates.length)
  }
}

/** The live CRDT is broken: its log takes the messages that do not break it, and the local edits it was left with. */
async function applyBroken(
  room: Room,
  turn: Turn,
  opened: readonly OpenedMessage[],
  logged: ReadonlySet<OpenedMessage>,
  local: Uint8Array | undefined
): Promise<HeddleError> {
  const { replica, id } = room
  const { errors, broken } = await replica.sift(opened.map(({ updates }) => updates))
  for (const [entry, cause] of broken) {
    replica.blank(turn, entry)
    const earlier = `an update that came before and had waited breaks the document: ${cause.message}`
    report(room, new HeddleError('CRDT_MALFORMED', earlier, { cause }))
  }
  for (const [i, message] of opened.entries()) {
    const error = errors.get(i)
    if (error !== undefined) reportRefused(room, message.head, error)
    else if (!logged.has(message)) replica.record(turn, message.updates)
  }
  if (local !== undefined) await keepLocal(room, turn, local)
  const message = `another member's message broke document ${id} in memory; it is left out: close the document and open it again`
  return new HeddleError('CRDT_TAINTED', message)
}

/** Local edits that a document which must end is left with: logged, and sealed when it is open again. */
export async function keepLocal({ replica, store }: Room, turn: Turn, local: Uint8Array): Promise<void> {
  const last = (await store.entries('unsealed')).at(-1)
  replica.record(turn, [local])
  turn.put(store.key('unsealed', last === undefined ? 0n : readU64(last.key) + 1n), local)
}

function reportRefused(room: Room, { member, seq }: Head, cause: HeddleError): void {
  const message = `message ${seq} of ${toHex(member)} holds an update the CRDT refuses: ${cause.message}`
  report(room, new HeddleError('CRDT_MALFORMED', message, { cause }))
}

/** What `group` measures of every implementation, and the clock it uses. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { nowMs } from '../process/calls.js'

/** Heddle; ts-mls as it comes; ts-mls with the cryptography that Heddle uses. */
export const contenderNames = ['heddle', 'ts-mls', 'ts-mls-node'] as const
export type ContenderName = (typeof contenderNames)[number]

export interface Contender {
  readonly name: ContenderName
  /** So many messages of this size from one member to another. */
  messages(plaintextBytes: number, count: number): Promise<MessageRates>
  /** A member renews its keys, another and a server process that. */
  update(): Promise<UpdateCosts>
  /** A member adds somebody, who joins. */
  join(): Promise<JoinCosts>
  /** What has to be stored for one message, of a member who has sent before in this epoch. */
  stored(): Promise<{ readonly sentBytes: number; readonly receivedBytes: number }>
}

export interface MessageRates {
  readonly encryptPerSecond: number
  readonly decryptPerSecond: number
  /** What a message adds to its plaintext. */
  readonly overheadBytes: number
}

export interface UpdateCosts {
  readonly createMs: number
  readonly processMs: number
  /** Undefined when it has no part that follows a group without being in it. */
  readonly observeMs: number | undefined
  readonly commitBytes: number
}

export interface JoinCosts {
  readonly joinMs: number
  /** With the ratchet tree. */
  readonly welcomeBytes: number
}

/** Nobody pays for what others, or the preparation, have left on the heap; for its own garbage everybody does. */
export async function timed<T>(task: () => Promise<T>): Promise<{ readonly ms: number; readonly value: T }> {
  collectGarbage()
  const startedMs = nowMs()
  const value = await task()
  return { ms: nowMs() - startedMs, value }
}

function collectGarbage(): void {
  setFlagsFromString('--expose-gc')
  const gc: () => void = runInNewContext('gc')
  gc()
}

/**
 * Promises as a proposer receives them (SPEC PAXOS): a report with the Accept behind it and the bytes of the value it
 * names. A promise that names a value it does not bring is of no use and never counted.
 */
import { equalBytes } from '../bytes.js'
import type { PromiseReply } from '../wire/index.js'
import type { SlotConfig } from './config.js'
import { inspectReport, type Report } from './selection.js'
import type { Bad, ToVerify } from './statement.js'
import { valueHash } from './value.js'

export interface CheckedPromise {
  readonly report: Report
  /** Canonical bytes of the reported Value, a view of the reply; undefined when the promise reports none. */
  readonly value: Uint8Array | undefined
}

/**
 * Decodes a server's promise and says what to verify. `bad`, an anomaly to be counted, when it is not of `server`, not
 * about this slot, or reports a value without the Accept behind it or without bytes of the hash it names.
 */
export function inspectPromise(
  config: SlotConfig,
  server: Uint8Array,
  reply: PromiseReply
): ToVerify<CheckedPromise> | Bad {
  const inspected = inspectReport(config, reply)
  if (inspected.kind === 'bad') return inspected
  const { promise } = inspected.item
  const reported = promise.value.accepted
  if (!equalBytes(promise.value.server, server)) return { kind: 'bad', reason: 'the promise is of another server' }
  if (reported === undefined) return { ...inspected, item: { report: inspected.item, value: undefined } }
  if (!equalBytes(valueHash(reply.value), reported.valueHash))
    return { kind: 'bad', reason: 'the promise does not bring the value it reports' }
  return { ...inspected, item: { report: inspected.item, value: reply.value } }
}

/**
 * The transport suite: proves that a transport plugin keeps the contract of `Transport`, `Connection` and `FrameStream`,
 * every flag of its manifest included. Runner-free: run each check as a test of the runner of your choice.
 */
import type { HostLimits, Manifest } from '@heddle/core'
import type { Check } from './check.js'
import { Bench, DEFAULT_LIMITS, type SuiteOptions, type TransportSubject } from './transport-bench.js'
import { CONNECTION_RULES } from './transport-connections.js'
import { STREAM_RULES } from './transport-streams.js'

export type { Detour, SuiteOptions, TransportSubject } from './transport-bench.js'
export { mutateTransport, TRANSPORT_MUTANTS, type TransportMutant } from './transport-mutants.js'

/** One rule of the contract and how it is checked on a bench of its own. */
export interface TransportRule {
  readonly id: string
  readonly title: string
  /** The host's limits for this check, when the usual ones do not show the rule. */
  readonly limits?: (manifest: Manifest<'transport'>) => HostLimits
  run(bench: Bench): Promise<void>
}

/** Called for each check; dispose of nothing yourself, the check does. */
export type TransportFactory = () => TransportSubject | Promise<TransportSubject>

/**
 * The checks, in the order to run them; they share nothing but what the factory shares. A check rejects with an Error that
 * says which rule was broken.
 */
export function transportSuite(
  factory: TransportFactory,
  options: SuiteOptions = { patienceMs: 10_000 }
): readonly Check[] {
  return [...CONNECTION_RULES, ...STREAM_RULES].map((rule) => ({
    id: rule.id,
    title: rule.title,
    async run() {
      const subject = await factory()
      await using bench = await Bench.open(subject, options, rule.limits?.(subject.manifest) ?? DEFAULT_LIMITS)
      await rule.run(bench)
    }
  }))
}

/** One slot to test with: its configuration, its signers and everything they can say. Test-only. */
import { utf8 } from '../../bytes.js'
import {
  Accept,
  type AcceptedReport,
  type BackedPromise,
  type Ballot,
  Prepare,
  Promise as PromiseCodec,
  SIGNATURE_LABELS,
  type Signed,
  Vote
} from '../../wire/index.js'
import {
  type CheckedPromise,
  type CheckedVote,
  inspectPromise,
  inspectReport,
  inspectVote,
  parsePromise,
  proofHash,
  type Report,
  type SlotConfig,
  type ToVerify,
  valueHash
} from '../index.js'
import { leafKey, serverKey } from './simulation.js'
import { Notary } from './world.js'

/** What is asked for rather than the default, to say something false. */
export interface Twist {
  readonly group?: Uint8Array
  readonly slot?: bigint
  readonly ctx?: Uint8Array
}

export const ballot = (round: number, leaf = 0, incarnation = 1): Ballot => ({
  round: BigInt(round),
  leaf,
  incarnation: BigInt(incarnation)
})

export const value = (name: string): Uint8Array => utf8(`value ${name}`)

/** Nine leaves, whose keys sign through `notary`. */
export class Fixture {
  readonly notary = new Notary()
  readonly config: SlotConfig

  constructor(servers = 3, faultBound = 0, slot = 5n) {
    this.config = {
      group: new Uint8Array(16).fill(7),
      slot,
      ctx: new Uint8Array(32).fill(Number(slot)),
      servers: Array.from({ length: servers }, (_, i) => serverKey(i)),
      faultBound,
      leafKey: (leaf) => (leaf < 9 ? leafKey(leaf) : undefined)
    }
  }

  server(index: number): Uint8Array {
    return this.config.servers[index] ?? serverKey(index)
  }

  prepare(of: Ballot, twist: Twist = {}): Signed {
    const statement = Prepare.encode({ ...this.#binding(), ...twist, ballot: of })
    return this.sign('Prepare', leafKey(of.leaf), statement)
  }

  promise(index: number, of: Ballot, accepted?: AcceptedReport, twist: Twist = {}): Signed {
    const server = this.server(index)
    const statementSeq = of.round
    const statement = PromiseCodec.encode({
      ...this.#binding(),
      ...twist,
      ballot: of,
      server,
      accepted,
      statementSeq
    })
    return this.sign('Promise', server, statement)
  }

  accept(of: Ballot, bytes: Uint8Array, proof: readonly BackedPromise[] = [], twist: Twist = {}): Signed {
    const statement = Accept.encode({
      ...this.#binding(),
      ...twist,
      ballot: of,
      valueHash: valueHash(bytes),
      proofHash: proofHash(proof.map(({ promise }) => parsePromise(promise)))
    })
    return this.sign('Accept', leafKey(of.leaf), statement)
  }

  vote(index: number, of: Ballot, bytes: Uint8Array, twist: Twist = {}): Signed {
    const server = this.server(index)
    const statement = Vote.encode({
      ...this.#binding(),
      ...twist,
      ballot: of,
      valueHash: valueHash(bytes),
      server,
      statementSeq: of.round + 1n
    })
    return this.sign('Vote', server, statement)
  }

  /** A promise of the server that reports `bytes` at `at`, or nothing. */
  backed(index: number, of: Ballot, at?: Ballot, bytes?: Uint8Array): BackedPromise {
    if (at === undefined || bytes === undefined) return { promise: this.promise(index, of), accept: undefined }
    const report = { ballot: at, valueHash: valueHash(bytes) }
    return { promise: this.promise(index, of, report), accept: this.accept(at, bytes) }
  }

  report(index: number, of: Ballot, at?: Ballot, bytes?: Uint8Array): Report {
    return this.verified(inspectReport(this.config, this.backed(index, of, at, bytes)))
  }

  checkedPromise(index: number, of: Ballot, at?: Ballot, bytes?: Uint8Array): CheckedPromise {
    const reply = { ...this.backed(index, of, at, bytes), value: bytes ?? new Uint8Array(0) }
    return this.verified(inspectPromise(this.config, this.server(index), reply))
  }

  checkedVote(index: number, of: Ballot, bytes: Uint8Array): CheckedVote {
    return this.verified(inspectVote(this.config, this.vote(index, of, bytes)))
  }

  /** The item of an inspection, once its signatures are verified; throws when anything is wrong. */
  verified<T>(inspected: ToVerify<T> | { readonly kind: string }): T {
    if (!isToVerify(inspected)) throw new Error(`refused: ${JSON.stringify(inspected, (_, v) => String(v))}`)
    if (!inspected.checks.every((check) => this.notary.verify(check))) throw new Error('a signature does not verify')
    return inspected.item
  }

  sign(type: 'Prepare' | 'Promise' | 'Accept' | 'Vote', key: Uint8Array, statement: Uint8Array): Signed {
    return { statement, signature: this.notary.sign(key, SIGNATURE_LABELS[type], statement) }
  }

  #binding(): Required<Twist> {
    const { group, slot, ctx } = this.config
    return { group, slot, ctx }
  }
}

const isToVerify = <T>(inspected: ToVerify<T> | { readonly kind: string }): inspected is ToVerify<T> =>
  inspected.kind === 'verify'

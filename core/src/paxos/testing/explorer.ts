/**
 * Exhaustive exploration of one slot with the real acceptor and the real selection rule: every order of every message,
 * with loss, repetition and delay implied, because what was said stays said and anybody may hear it at any time or never.
 * Ballots 1 to 3 belong in turn to leaf 1 (who wants value 1) and leaf 2 (who wants value 2). Test-only.
 */
import { type AcceptorRecord, Promise as PromiseCodec } from '../../wire/index.js'
import { Acceptor, parseAccept, quorum, type Report, select, valueHash } from '../index.js'
import { equalBytes } from '../../bytes.js'
import { ballot, Fixture, value } from './fixture.js'

export interface Model {
  readonly servers: number
  readonly faultBound: number
  readonly ballots: 1 | 2 | 3
  /** This leaf sends as many values in a ballot as it likes. */
  readonly lyingLeaf?: 1 | 2
  /** Server 0 promises and votes as it likes; with a lying leaf it also gets Accepts that no proof allows. */
  readonly lyingServer?: boolean
  /** Acceptors do not look at proofs, so a lying leaf needs none. */
  readonly withoutProofs?: boolean
  readonly rule?: typeof select
}

export interface Exploration {
  readonly states: number
  /** Steps of the shortest way to two chosen values; undefined when there is none. */
  readonly violationAt: number | undefined
}

/**
 * A state: `accepts` has a bit for every Accept that was sent, a column for every server has what it said and holds.
 * Honest servers are alike, so their columns are kept in order and states that differ by a permutation count once.
 */
interface State {
  readonly accepts: number
  readonly columns: readonly number[]
}

const names = ['1', '2'] as const
const acceptBit = (b: number, v: number): number => 1 << (2 * (b - 1) + v - 1)

// Fields of a column: for each ballot 4 bits of promise (0: none given, 1: reported nothing, else 2 + report), then a bit
// for each vote, then the acceptor's promised ballot, accepted ballot and accepted value, 2 bits each.
const promiseIn = (column: number, b: number): number => (column >> (4 * (b - 1))) & 15
const withPromise = (column: number, b: number, report: number): number => column | (report << (4 * (b - 1)))
const votedIn = (column: number, b: number, v: number): boolean => ((column >> 12) & acceptBit(b, v)) !== 0
const withVote = (column: number, b: number, v: number): number => column | (acceptBit(b, v) << 12)
const reportOf = (b: number, v: number): number => (b === 0 ? 1 : 2 + 2 * (b - 1) + v - 1)
const ballotIn = (report: number): number => (report < 2 ? 0 : 1 + ((report - 2) >> 1))
const valueIn = (report: number): number => (report < 2 ? 0 : 1 + ((report - 2) & 1))
const holding = (column: number): number => column >> 18
const withHolding = (column: number, held: number): number => (column & 0x3ffff) | (held << 18)

const ownerOf = (b: number): number => 1 + ((b - 1) % 2)

export function explore(model: Model): Exploration {
  const rules = new Rules(model)
  const start: State = { accepts: 0, columns: Array.from({ length: model.servers }, () => 0) }
  const seen = new Set([keyOf(start)])
  let front = [start]
  for (let depth = 1; front.length > 0; depth++) {
    const following: State[] = []
    for (const state of front) {
      for (const successor of successors(model, rules, state)) {
        const next = canonical(model, successor)
        const key = keyOf(next)
        if (seen.has(key)) continue
        seen.add(key)
        if (chosen(model, rules.quorum, next).length > 1) return { states: seen.size, violationAt: depth }
        following.push(next)
      }
    }
    front = following
  }
  return { states: seen.size, violationAt: undefined }
}

function* successors(model: Model, rules: Rules, state: State): Generator<State> {
  for (let b = 1; b <= model.ballots; b++) {
    for (let a = 0; a < model.servers; a++) {
      const lies = model.lyingServer === true && a === 0
      for (const column of lies ? lyingSteps(model, state, b) : honestSteps(rules, state, a, b)) {
        const columns = [...state.columns]
        columns[a] = column
        yield { accepts: state.accepts, columns }
      }
    }
    for (const v of proposable(model, rules, state, b)) yield { ...state, accepts: state.accepts | acceptBit(b, v) }
  }
}

function* honestSteps(rules: Rules, state: State, a: number, b: number): Generator<number> {
  const column = state.columns[a] ?? 0
  if (promiseIn(column, b) === 0) {
    const step = rules.prepare(holding(column), b)
    if (step !== undefined) yield withPromise(withHolding(column, step.held), b, step.report)
  }
  for (const v of [1, 2]) {
    if ((state.accepts & acceptBit(b, v)) === 0 || votedIn(column, b, v)) continue
    const held = rules.accept(holding(column), b, v)
    if (held !== undefined) yield withVote(withHolding(column, held), b, v)
  }
}

/** One lie at a time: it may overwrite what it promised, since it can tell everybody something else. */
function* lyingSteps(model: Model, state: State, b: number): Generator<number> {
  const column = state.columns[0] ?? 0
  const cleared = column & ~(15 << (4 * (b - 1)))
  yield withPromise(cleared, b, 1)
  for (let below = 1; below < b; below++)
    for (const v of [1, 2]) {
      const invented = ownerOf(below) === model.lyingLeaf
      if (invented || (state.accepts & acceptBit(below, v)) !== 0) yield withPromise(cleared, b, reportOf(below, v))
    }
  for (const v of [1, 2]) if ((state.accepts & acceptBit(b, v)) !== 0) yield withVote(column, b, v)
}

/** The values that the owner of a ballot can send in it now. */
function proposable(model: Model, rules: Rules, state: State, b: number): readonly number[] {
  const lies = ownerOf(b) === model.lyingLeaf
  const sent = [1, 2].filter((v) => (state.accepts & acceptBit(b, v)) !== 0)
  if (sent.length > (lies ? 1 : 0)) return []
  const allowed = new Set<number>()
  for (let members = 1; members < 1 << model.servers; members++) {
    const heard = state.columns.map((column, a) => ((members >> a) & 1 ? promiseIn(column, b) : -1))
    if (heard.includes(0) || heard.filter((report) => report > 0).length < rules.quorum) continue
    const { kind, v } = rules.select(b, heard)
    if (kind === 'free' || (lies && model.withoutProofs === true))
      for (const w of lies ? [1, 2] : [ownerOf(b)]) allowed.add(w)
    else if (kind === 'adopt') allowed.add(v)
  }
  return [...allowed].filter((v) => !sent.includes(v))
}

function chosen(model: Model, need: number, state: State): readonly number[] {
  return [1, 2].filter((v) => {
    for (let b = 1; b <= model.ballots; b++)
      if (state.columns.filter((column) => votedIn(column, b, v)).length >= need) return true
    return false
  })
}

function canonical(model: Model, { accepts, columns }: State): State {
  const apart = model.lyingServer === true ? 1 : 0
  const alike = columns.slice(apart).sort((a, b) => a - b)
  return { accepts, columns: [...columns.slice(0, apart), ...alike] }
}

const keyOf = ({ accepts, columns }: State): string => `${accepts} ${columns.join(' ')}`

/** The real acceptor and the real rule, asked once for every situation that differs. */
class Rules {
  readonly quorum: number
  readonly #fixture: Fixture
  readonly #rule: typeof select
  readonly #prepares = new Map<number, { readonly held: number; readonly report: number } | undefined>()
  readonly #accepts = new Map<number, number | undefined>()
  readonly #selections = new Map<string, { readonly kind: string; readonly v: number }>()

  constructor({ servers, faultBound, rule = select }: Model) {
    this.#fixture = new Fixture(servers, faultBound)
    this.#rule = rule
    this.quorum = quorum(this.#fixture.config)
  }

  /** What an acceptor that holds `held` holds and reports after a Prepare; undefined when it refuses. */
  prepare(held: number, b: number): { readonly held: number; readonly report: number } | undefined {
    const key = 4 * held + b
    if (!this.#prepares.has(key)) this.#prepares.set(key, this.#prepare(held, b))
    return this.#prepares.get(key)
  }

  accept(held: number, b: number, v: number): number | undefined {
    const key = 16 * held + 4 * b + v
    if (!this.#accepts.has(key)) this.#accepts.set(key, this.#accept(held, b, v))
    return this.#accepts.get(key)
  }

  /** `heard` has a server's report, or -1 where it is left out. */
  select(b: number, heard: readonly number[]): { readonly kind: string; readonly v: number } {
    const key = `${b} ${heard.join(' ')}`
    let known = this.#selections.get(key)
    if (known === undefined) {
      const reports = heard.flatMap((report, a) => (report < 0 ? [] : [this.#report(a, b, report)]))
      const selection = this.#rule(this.#fixture.config, this.#ballot(b), reports)
      known = { kind: selection.kind, v: selection.kind === 'adopt' ? numberOf(selection.valueHash) : 0 }
      this.#selections.set(key, known)
    }
    return known
  }

  #prepare(held: number, b: number): { readonly held: number; readonly report: number } | undefined {
    const acceptor = this.#acceptor(held)
    const inspected = acceptor.inspectPrepare({ prepare: this.#fixture.prepare(this.#ballot(b)) })
    if (inspected.kind !== 'verify') return undefined
    const { reply, record } = acceptor.prepare(this.#fixture.verified(inspected))
    if (reply.kind !== 'promise' || record === undefined) return undefined
    const { accepted } = PromiseCodec.decode(reply.statement)
    const report = accepted === undefined ? 1 : reportOf(Number(accepted.ballot.round), numberOf(accepted.valueHash))
    return { held: heldBy(record), report }
  }

  #accept(held: number, b: number, v: number): number | undefined {
    const bytes = value(String(v))
    const accept = this.#fixture.accept(this.#ballot(b), bytes)
    const acceptor = this.#acceptor(held)
    // That a proof allows the value was established when it was proposed.
    const item = { accept: parseAccept(accept), value: bytes, proven: true, repeated: false }
    const { reply, record } = acceptor.accept(item, 'valid')
    if (reply.kind !== 'vote') return undefined
    return record === undefined ? held : heldBy(record)
  }

  #acceptor(held: number): Acceptor {
    const { config } = this.#fixture
    const [promised, at, v] = [held & 3, (held >> 2) & 3, (held >> 4) & 3]
    const empty = new Acceptor(config, this.#fixture.server(0)).record
    return new Acceptor(config, this.#fixture.server(0), {
      ...empty,
      promised: promised === 0 ? undefined : this.#ballot(promised),
      accepted: at === 0 ? undefined : { ballot: this.#ballot(at), valueHash: valueHash(value(String(v))) },
      accept: at === 0 ? undefined : this.#fixture.accept(this.#ballot(at), value(String(v)))
    })
  }

  #report(a: number, b: number, report: number): Report {
    const at = ballotIn(report)
    if (at === 0) return this.#fixture.report(a, this.#ballot(b))
    return this.#fixture.report(a, this.#ballot(b), this.#ballot(at), value(String(valueIn(report))))
  }

  #ballot = (b: number) => ballot(b, ownerOf(b))
}

const hashes = names.map((name) => valueHash(value(name)))
const numberOf = (hash: Uint8Array): number => 1 + hashes.findIndex((known) => equalBytes(known, hash))
const heldBy = ({ promised, accepted }: AcceptorRecord): number =>
  Number(promised?.round ?? 0n) |
  (Number(accepted?.ballot.round ?? 0n) << 2) |
  ((accepted === undefined ? 0 : numberOf(accepted.valueHash)) << 4)

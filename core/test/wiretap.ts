/**
 * What stands between the devices and the servers of a test world: every frame passes here. Its oracles hold for all
 * tests: what is said once is never contradicted, by nobody and across any crash. A test may also put a liar in front of
 * a server, who drops, changes and invents frames.
 */

import { equalBytes, toHex } from '../src/bytes.js'
import { type Connection, type DialOptions, type FrameStream, HeddleError, type Transport } from '../src/index.js'
import { compareBallots, parseAccept, parsePromise, parseVote } from '../src/paxos/index.js'
import { parseEnvelope } from '../src/sync/index.js'
import { type Ballot, Frame, type Head, Receipt, type Subscribed } from '../src/wire/index.js'

export type Direction = 'to-server' | 'to-device'

/** Decides what becomes of a frame: the frames that go on in its place, or 'close' to break the connection. */
export type Liar = (frame: Frame, direction: Direction, device: string) => Told | Promise<Told>
type Told = readonly (Frame | Uint8Array)[] | 'close'

export class Wiretap {
  /** What an oracle found. A world that is disposed of with any fails its test. */
  readonly violations: string[] = []
  /** By server name. */
  readonly liars = new Map<string, Liar>()
  readonly #hashes = new Map<string, string>()
  readonly #accepts = new Map<string, string>()
  /** By server, document and device: the latest message of the device that the server has receipted. */
  readonly #receipts = new Map<string, Head>()
  /** By server, document and slot: what the server has signed, by its number. */
  readonly #statements = new Map<string, Map<bigint, SignedByServer>>()

  /** The device's transport with this in the way. */
  wrap(transport: Transport, device: string): Transport {
    return {
      schemes: transport.schemes,
      dial: async (address: string, options: DialOptions) =>
        this.#connection(await transport.dial(address, options), device, address.replace('mem://', '')),
      [Symbol.asyncDispose]: () => transport[Symbol.asyncDispose]()
    }
  }

  #connection(connection: Connection, device: string, server: string): Connection {
    return {
      peer: connection.peer,
      incoming: connection.incoming,
      closed: connection.closed,
      open: async (signal) => this.#stream(await connection.open(signal), connection, device, server),
      [Symbol.asyncDispose]: () => connection[Symbol.asyncDispose]()
    }
  }

  #stream(stream: FrameStream, connection: Connection, device: string, server: string): FrameStream {
    const pass = async (bytes: Uint8Array, direction: Direction): Promise<readonly Uint8Array[]> => {
      const frame = Frame.decode(bytes)
      const liar = this.liars.get(server)
      // What a liar makes of a frame is nobody's word; what reaches it is.
      this.#watch(frame, server, device)
      const out = liar === undefined ? [bytes] : await liar(frame, direction, device)
      if (out !== 'close') return out.map((one) => (one instanceof Uint8Array ? one : Frame.encode(one)))
      await connection[Symbol.asyncDispose]()
      throw new HeddleError('TRANSPORT_CLOSED', 'the liar closed the connection')
    }
    return {
      frames: (async function* () {
        for await (const frame of stream.frames) yield* await pass(frame, 'to-device')
      })(),
      write: async (frame, signal) => {
        for (const out of await pass(frame, 'to-server')) await stream.write(out, signal)
      },
      finish: () => stream.finish(),
      [Symbol.asyncDispose]: () => stream[Symbol.asyncDispose]()
    }
  }

  #watch({ body }: Frame, server: string, device: string): void {
    switch (body?.$case) {
      case 'upload':
        for (const bytes of body.value.envelopes) {
          const { header, hash } = parseEnvelope(bytes)
          this.#once(this.#hashes, `message ${toHex(header.member)} ${header.seq}`, toHex(hash))
        }
        break
      case 'accept': {
        if (body.value.accept === undefined) break
        const { group, slot, ballot, valueHash } = parseAccept(body.value.accept).value
        this.#once(this.#accepts, `ballot ${toHex(group)} ${slot} ${ballotText(ballot)}`, toHex(valueHash))
        break
      }
      case 'receipts':
        for (const { statement } of body.value.receipts)
          this.#receipted(`${server} ${device}`, Receipt.decode(statement))
        break
      case 'subscribed':
        this.#subscribed(`${server} ${device}`, body.value)
        break
      case 'promise':
        if (body.value.promise !== undefined) this.#promise(server, parsePromise(body.value.promise).value)
        break
      case 'vote':
        if (body.value.vote !== undefined) this.#vote(server, parseVote(body.value.vote).value)
        break
      default:
        break
    }
  }

  /** Looks back over everything servers have signed, in the order in which they did. */
  check(): void {
    for (const [key, statements] of this.#statements) {
      let promised: Ballot | undefined
      let voted: Ballot | undefined
      for (const [, { kind, ballot, accepted }] of [...statements].sort(([a], [b]) => (a < b ? -1 : 1))) {
        if (promised !== undefined && compareBallots(ballot, promised) < 0)
          this.violations.push(`${key}: a ${kind} in ${ballotText(ballot)} after a promise of ${ballotText(promised)}`)
        const tells = accepted !== undefined && (voted === undefined || compareBallots(accepted, voted) >= 0)
        if (kind === 'promise' && voted !== undefined && !tells)
          this.violations.push(`${key}: the promise of ${ballotText(ballot)} hides the vote in ${ballotText(voted)}`)
        promised = ballot
        if (kind === 'vote') voted = ballot
      }
    }
  }

  #once(known: Map<string, string>, key: string, value: string): void {
    const before = known.get(key)
    if (before !== undefined && before !== value) this.violations.push(`${key} stands for two things`)
    known.set(key, value)
  }

  #receipted(who: string, { group, head }: Receipt): void {
    this.#receipts.set(`${who} ${toHex(group)} ${toHex(head.member)}`, { ...head, hash: head.hash.slice() })
  }

  #subscribed(who: string, { group, heads }: Subscribed): void {
    const prefix = `${who} ${toHex(group)} `
    for (const [key, { member, seq, hash }] of this.#receipts) {
      if (!key.startsWith(prefix)) continue
      const head = heads.find((one) => equalBytes(one.member, member))
      if (head === undefined || head.seq < seq || (head.seq === seq && !equalBytes(head.hash, hash)))
        this.violations.push(`${key}: message ${seq} was receipted and is lost`)
    }
  }

  #promise(server: string, { group, slot, statementSeq, ballot, accepted }: PromiseStatement['value']): void {
    const key = `${server} ${toHex(group)} ${slot}`
    this.#signed(key, statementSeq, { kind: 'promise', ballot, accepted: accepted?.ballot, valueHash: '' })
  }

  #vote(server: string, { group, slot, statementSeq, ballot, valueHash }: VoteStatement['value']): void {
    const key = `${server} ${toHex(group)} ${slot}`
    this.#signed(key, statementSeq, { kind: 'vote', ballot, accepted: undefined, valueHash: toHex(valueHash) })
  }

  #signed(key: string, number: bigint, statement: SignedByServer): void {
    const all = this.#statements.get(key) ?? new Map<bigint, SignedByServer>()
    this.#statements.set(key, all)
    const { kind, ballot, valueHash } = statement
    const before = all.get(number)
    if (before !== undefined && (before.kind !== kind || before.valueHash !== valueHash))
      this.violations.push(`${key}: statement ${number} was signed twice`)
    for (const other of all.values())
      if (kind === 'vote' && other.kind === 'vote' && compareBallots(other.ballot, ballot) === 0)
        if (other.valueHash !== valueHash) this.violations.push(`${key}: two votes in ${ballotText(ballot)}`)
    all.set(number, statement)
  }
}

interface SignedByServer {
  readonly kind: 'promise' | 'vote'
  readonly ballot: Ballot
  /** What a promise reports. */
  readonly accepted: Ballot | undefined
  readonly valueHash: string
}

type PromiseStatement = ReturnType<typeof parsePromise>
type VoteStatement = ReturnType<typeof parseVote>

const ballotText = ({ round, leaf, incarnation }: Ballot): string => `${round}/${leaf}/${incarnation}`

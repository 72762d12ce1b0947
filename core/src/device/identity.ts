/**
 * Whose device a member is (SPEC GROUP-032 and GROUP-033). Heddle authenticates keys; who stands behind a key only the app
 * can know. This file is how the app is asked: about every member of an open document, and about who asks to join. Its
 * word is shown, and never changes what the group accepts.
 */
import { toHex } from '../bytes.js'
import { HeddleError } from '../errors.js'
import type { RosterEntry } from '../group/index.js'
import { LIMITS } from '../wire/index.js'
import { type Room, report } from './room.js'

/** How long the app may take over one member. */
const verdictMsMax = 10_000
/** About how many members it is asked at a time. */
const asksMax = 16

/** A leaf of this device for which the app may claim an identity: what the claim has to be bound to. */
export interface LeafClaim {
  /** 32 hexadecimal digits. */
  readonly documentId: string
  /** 32 hexadecimal digits. */
  readonly memberId: string
  /** Ed25519 key of the leaf, 32 bytes. The app's to keep. */
  readonly signaturePublicKey: Uint8Array
  /** 64 hexadecimal digits. */
  readonly deviceId: string
}

/** A member the app is asked about. */
export interface MemberClaim extends LeafClaim {
  /** What its app said of whose device it is (`DeviceOptions.claimIdentity`), up to 512 bytes. */
  readonly identity: Uint8Array | undefined
  readonly isSelf: boolean
  /** It asks to join and is no member yet: with "rejected" this device does not add it. */
  readonly isJoining: boolean
}

export interface MemberVerdict {
  readonly verdict: 'verified' | 'unverified' | 'rejected'
  readonly displayName?: string | undefined
}

/**
 * Tells whose device a member is. Called for every member when a document is opened or joined and when a commit adds one,
 * and for who asks to join. `signal` aborts when the verdict is of no use any more, after 10 s at the latest. What throws,
 * takes longer or gives no verdict counts as "unverified" and is told as a problem IDENTITY_UNCHECKED: an app that lets
 * nobody in unseen catches its own errors and returns "rejected".
 */
export type VerifyMember = (claim: MemberClaim, signal: AbortSignal) => MemberVerdict | Promise<MemberVerdict>

/**
 * The identity that this device claims in a document, up to 512 bytes, or none: signed by something that `verifyMember` of
 * the others trusts, over the leaf's key and the document, or anybody could repeat it. Called once when it creates or joins a
 * document; everybody in the document and its servers can read it, and it never changes.
 */
export type ClaimIdentity = (leaf: LeafClaim) => Uint8Array | undefined | Promise<Uint8Array | undefined>

export interface Verified {
  readonly verification: 'pending' | MemberVerdict['verdict']
  readonly displayName?: string
}

/** What the app answered, or what no answer counts as. */
interface Answer extends Verified {
  readonly verification: MemberVerdict['verdict']
}

const unverified: Answer = { verification: 'unverified' }
const verdicts: readonly unknown[] = ['verified', 'unverified', 'rejected']

/** What the app says of the members of one document. */
export class Verification {
  readonly #room: Room
  readonly #verify: VerifyMember | undefined
  readonly #changed: (memberId: Uint8Array) => void
  readonly #known = new Map<string, Verified>()
  /** By member: the latest question asked about it. */
  readonly #latest = new Map<string, symbol>()
  readonly #asks: (() => Promise<void>)[] = []
  #asking = 0

  /** `changed`: the app's word on a member is in, or is another than before. */
  constructor(room: Room, verify: VerifyMember | undefined, changed: (memberId: Uint8Array) => void) {
    this.#room = room
    this.#verify = verify
    this.#changed = changed
  }

  of(memberId: Uint8Array): Verified {
    return this.#known.get(toHex(memberId)) ?? (this.#verify === undefined ? unverified : { verification: 'pending' })
  }

  /** Asks about members who are new and forgets those who are gone. */
  update(): void {
    if (this.#verify === undefined) return
    const { roster } = this.#room.group.public
    const present = new Set(roster.map(({ memberId }) => toHex(memberId)))
    for (const member of this.#known.keys()) {
      if (present.has(member)) continue
      this.#known.delete(member)
      this.#latest.delete(member)
    }
    for (const entry of roster) if (!this.#known.has(toHex(entry.memberId))) this.#enqueue(entry)
  }

  /** Asks about all members again; resolves when the app has answered. */
  async again(): Promise<void> {
    if (this.#verify === undefined) return
    await Promise.all(this.#room.group.public.roster.map((entry) => this.#enqueue(entry)))
  }

  /** The app's word on who asks to join; undefined when there is no need to wait for it. */
  ofJoiner(joiner: Omit<RosterEntry, 'leafIndex' | 'role'>): Promise<MemberVerdict['verdict']> | undefined {
    return this.#verify && this.#ask(joiner, true).then(({ verification }) => verification)
  }

  #enqueue(entry: RosterEntry): Promise<void> {
    const key = toHex(entry.memberId)
    if (!this.#known.has(key)) this.#known.set(key, { verification: 'pending' })
    const question = Symbol(key)
    this.#latest.set(key, question)
    return new Promise((resolve) => {
      this.#asks.push(async () => {
        const now = await this.#ask(entry, false)
        // What was asked first may be answered last.
        const isNews = this.#known.has(key) && this.#latest.get(key) === question && !this.#room.signal.aborted
        const before = this.#known.get(key)
        if (isNews) this.#known.set(key, now)
        if (isNews && !isSame(before, now)) this.#changed(entry.memberId)
        resolve()
      })
      this.#next()
    })
  }

  #next(): void {
    while (this.#asking < asksMax) {
      const ask = this.#asks.shift()
      if (ask === undefined) return
      this.#asking++
      void ask().then(() => {
        this.#asking--
        this.#next()
      })
    }
  }

  /** Never throws: what goes wrong in the app is the app's to hear of. */
  async #ask(
    { memberId, signaturePublicKey, device }: Omit<RosterEntry, 'leafIndex' | 'role'>,
    isJoining: boolean
  ): Promise<Answer> {
    const member = toHex(memberId)
    try {
      const given = await this.#withinTime((signal) =>
        this.#verify?.(
          {
            documentId: this.#room.id,
            memberId: member,
            signaturePublicKey: signaturePublicKey.slice(),
            deviceId: toHex(device.endpointId),
            identity: device.identity?.slice(),
            isSelf: member === toHex(this.#room.group.memberId),
            isJoining
          },
          signal
        )
      )
      return read(given)
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause)
      const error = new HeddleError('IDENTITY_UNCHECKED', `verifyMember failed for member ${member}: ${why}`, {
        cause,
        info: { memberId: member }
      })
      if (!this.#room.signal.aborted) report(this.#room, error)
      return unverified
    }
  }

  async #withinTime<T>(ask: (signal: AbortSignal) => T | Promise<T>): Promise<T> {
    const tooLong = new AbortController()
    const signal = AbortSignal.any([tooLong.signal, this.#room.signal])
    const timer = this.#room.context.clock.setTimer(verdictMsMax, () =>
      tooLong.abort(new HeddleError('ABORTED', `no verdict after ${verdictMsMax / 1000} s`))
    )
    try {
      return await new Promise<T>((resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason), { once: true })
        if (signal.aborted) reject(signal.reason)
        else Promise.resolve(ask(signal)).then(resolve, reject)
      })
    } finally {
      timer[Symbol.dispose]()
    }
  }
}

/** The identity this device claims for a new leaf. Throws CONFIG_INVALID for what the app should not have returned. */
export async function claimedIdentity(
  claim: ClaimIdentity | undefined,
  leaf: LeafClaim
): Promise<Uint8Array | undefined> {
  const identity = await claim?.(leaf)
  if (identity === undefined) return undefined
  const { bytesMax } = LIMITS.DeviceExtension.identity
  if (identity instanceof Uint8Array && identity.length > 0 && identity.length <= bytesMax) return identity.slice()
  throw new HeddleError('CONFIG_INVALID', `claimIdentity has to return 1 to ${bytesMax} bytes, or undefined for none`)
}

function read(given: MemberVerdict | undefined): Answer {
  const { verdict, displayName } = given ?? {}
  if (verdict === undefined || !verdicts.includes(verdict))
    throw new TypeError('it has to return a verdict of "verified", "unverified" or "rejected"')
  if (displayName !== undefined && typeof displayName !== 'string') throw new TypeError('displayName is no string')
  return { verification: verdict, ...(displayName === undefined ? {} : { displayName }) }
}

const isSame = (a: Verified | undefined, b: Verified): boolean =>
  a?.verification === b.verification && a.displayName === b.displayName

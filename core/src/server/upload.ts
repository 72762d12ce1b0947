/**
 * Upload (SPEC SRV): which envelopes are stored, and why the others are not. Anyone who is a member may bring anyone's:
 * each proves itself by its sender's signature and its place in the sender's chain.
 */
import { equalBytes, toHex } from '../bytes.js'
import { HeddleError } from '../errors.js'
import type { Entry } from '../plugin/index.js'
import { type ParsedEnvelope, parseEnvelope } from '../sync/index.js'
import { EnvelopeKind, type SenderRecord, type Upload } from '../wire/index.js'
import type { Document } from './document.js'
import type { EpochMember } from './epoch.js'
import { errorFields, isOwnFailure, type Reply } from './parts.js'
import type { StoredEnvelope } from './store.js'

/** Receipts has room for this many. */
const sendersPerUploadMax = 64
/** Signatures verified before other connections get a turn. */
const verifiedPerTurn = 64

/** What became of one sender's envelopes. */
interface SenderOutcome {
  readonly member: Uint8Array
  /** Something was stored or was there already, so a receipt says how far. */
  receipted: boolean
  refusal: HeddleError | undefined
}

/** Runs under the document's mutex. Throws what refuses the whole upload. */
export async function storeUpload(document: Document, upload: Upload, peer: Uint8Array): Promise<Reply> {
  const { parts } = document
  const uploader = document.requireMember(peer)
  document.requireServed()
  if (parts.writer.queuedBytes > parts.limits.writeQueueBytesMax)
    throw new HeddleError('OVERLOADED', 'the server cannot store as fast as it receives', {
      info: { group: document.group, retryAfterMs: 1_000 }
    })
  const envelopes = upload.envelopes.map(parseEnvelope)
  const store = new UploadStore(document, uploader)
  try {
    for (const envelope of envelopes) await store.add(envelope)
  } finally {
    // The document's heads have moved: what was taken is written whatever became of the rest.
    store.write()
  }
  const outcomes = store.outcomes()
  return {
    body: () => {
      const receipts = outcomes.flatMap(({ receipted, member }) => (receipted && document.receipt(member)) || [])
      if (receipts.length > 0) return { $case: 'receipts', value: { receipts } }
      throw outcomes.find(({ refusal }) => refusal !== undefined)?.refusal ?? document.problem('INTERNAL', 'no outcome')
    }
  }
}

class UploadStore {
  readonly #document: Document
  readonly #uploader: EpochMember
  readonly #outcomes = new Map<string, SenderOutcome>()
  #stored: StoredEnvelope[] = []
  #entries: Entry[] = []
  #records = new Map<string, SenderRecord>()
  #verified = 0

  constructor(document: Document, uploader: EpochMember) {
    this.#document = document
    this.#uploader = uploader
  }

  outcomes(): readonly SenderOutcome[] {
    return [...this.#outcomes.values()]
  }

  /** Takes the envelope into the batch, or notes why not: then its sender's later ones are not looked at. */
  async add(envelope: ParsedEnvelope): Promise<void> {
    const { parts } = this.#document
    const outcome = this.#outcome(envelope.header.member)
    if (outcome.refusal !== undefined) return
    try {
      if (await this.#store(envelope)) parts.count('envelopeStored')
      else parts.count('envelopeIgnored')
      outcome.receipted = true
    } catch (error) {
      if (!HeddleError.is(error) || isOwnFailure(error)) throw error
      outcome.refusal = error
      parts.count('envelopeRefused')
      parts.context.log('debug', 'server.envelope-refused', errorFields(error))
    }
  }

  /** Sends what was taken on its way to storage. Then readers hear of it. */
  write(): void {
    const document = this.#document
    const envelopes = this.#stored
    const records = [...this.#records.values()]
    if (envelopes.length === 0) return
    const put = [...this.#entries, ...records.map((record) => document.store.sender(record))]
    this.#stored = []
    this.#entries = []
    this.#records = new Map()
    document.write({ put }, () => document.publish(envelopes, records))
  }

  #outcome(member: Uint8Array): SenderOutcome {
    const key = toHex(member)
    const known = this.#outcomes.get(key)
    if (known !== undefined) return known
    if (this.#outcomes.size >= sendersPerUploadMax)
      throw this.#document.problem('INVALID', `an upload has envelopes of at most ${sendersPerUploadMax} senders`)
    const outcome: SenderOutcome = { member, receipted: false, refusal: undefined }
    this.#outcomes.set(key, outcome)
    return outcome
  }

  /** False when it is there already. Throws why it is refused. */
  async #store(envelope: ParsedEnvelope): Promise<boolean> {
    const document = this.#document
    const { group, epoch, seq } = envelope.header
    if (!equalBytes(group, document.group)) throw document.problem('INVALID', 'an envelope is for another document')
    if (epoch > document.current.number)
      throw document.problem('BEHIND', `this server is at epoch ${document.current.number}, not yet at ${epoch}`)
    const succession = document.heads.succession(envelope)
    if (succession === 'duplicate') return false
    const stored = succession === 'old' ? await this.#find(envelope) : 'none'
    if (stored === 'same') return false
    const key = this.#requireWriter(envelope)
    if (succession === 'old' && stored === 'none')
      throw document.problem('SEQUENCE_GAP', `envelope ${seq} comes before those that this server has of its sender`)
    if (succession === 'gap' && !this.#mayBegin(envelope))
      throw document.problem(
        'SEQUENCE_GAP',
        `envelope ${seq} came, but this server lacks those from ${this.#nextSeq(envelope)} on`
      )
    await this.#verify(envelope, key)
    if (succession === 'old' || succession === 'conflict') throw this.#conflict(envelope)
    this.#chargeReader(envelope)
    this.#append(envelope)
    return true
  }

  /** Signature key of the sender, who may write now and could in the envelope's epoch, if that is still known. */
  #requireWriter({ header }: ParsedEnvelope): Uint8Array {
    const document = this.#document
    const { current } = document
    // Of an epoch that is not retained only the present is checked: a device that was away for long may hold messages
    // of then, without which its chain could not go on here.
    const epoch = document.epoch(header.epoch) ?? current
    if (epoch.number === header.epoch && !equalBytes(header.ctxTag, epoch.ctxTag))
      throw document.problem('FORK', `the envelope's sender holds another group context for epoch ${header.epoch}`)
    const then = epoch.memberById(header.member)
    const now = current.memberById(header.member)
    if (then === undefined || now === undefined)
      throw document.problem('NOT_A_MEMBER', "the envelope's sender is no member, then or now")
    const isControl = header.kind === EnvelopeKind.ENVELOPE_KIND_CONTROL
    // A member that lost the right to write hands in what it sealed before, or its chain would end there; whether it
    // counts is for the devices to say. Where its role of then is not known, its role of now decides.
    if (!isControl && !then.mayWrite)
      throw document.problem('FORBIDDEN', "the role of the envelope's sender at its epoch does not allow writing")
    const isState = !isControl && header.kind !== EnvelopeKind.ENVELOPE_KIND_UPDATE
    if (isState && epoch.number === header.epoch && !then.isAdmin)
      throw document.problem('FORBIDDEN', 'the state of a document comes from its admins only')
    return now.signatureKey
  }

  /** Who may not write sends control messages only so often: they are stored like all others. */
  #chargeReader({ header: { member } }: ParsedEnvelope): void {
    const document = this.#document
    if (document.current.memberById(member)?.mayWrite !== false) return
    const retryAfterMs = document.readersQuota.take(member)
    if (retryAfterMs === 0) return
    const { group } = document
    throw new HeddleError('LIMIT_EXCEEDED', 'a member that may not write sends too many control messages', {
      info: { group, retryAfterMs }
    })
  }

  async #verify(envelope: ParsedEnvelope, key: Uint8Array): Promise<void> {
    const { crypto, context } = this.#document.parts
    if (++this.#verified % verifiedPerTurn === 0)
      await new Promise<void>((resolve) => context.clock.setTimer(0, resolve))
    if (!crypto.verify(key, envelope.signed, envelope.signature))
      throw this.#document.problem('BAD_SIGNATURE', "an envelope's signature is not its sender's")
  }

  /**
   * Whether a sender's chain may begin, or begin anew, with this envelope although those before are missing: on a server
   * that came later, once for the sender's own device. Others may only begin it, so that none can shut a sender out.
   */
  #mayBegin({ header: { member } }: ParsedEnvelope): boolean {
    const { heads, begun, beginning } = this.#document
    if (beginning.broughtIn === 0n) return false
    if (heads.get(member) === undefined) return true
    return this.#isOwn(member) && (begun.get(toHex(member)) ?? 0n) < beginning.broughtIn
  }

  #isOwn(member: Uint8Array): boolean {
    return equalBytes(this.#uploader.id, member)
  }

  /** Whether this very envelope is in the log, or another with its number. */
  async #find(envelope: ParsedEnvelope): Promise<'same' | 'other' | 'none'> {
    const { store } = this.#document
    const { member, seq } = envelope.header
    // It may still be on its way to storage, or in this very batch.
    this.write()
    await this.#document.written
    const [position] = await store.readPositions(member, seq, 1)
    if (position === undefined) throw new HeddleError('STORAGE_CORRUPT', `no position is stored for envelope ${seq}`)
    const { bytes } = await store.readEnvelope(position)
    if (equalBytes(bytes, envelope.bytes)) return 'same'
    const found = parseEnvelope(bytes)
    if (found.header.seq !== seq) return 'none'
    return equalBytes(found.hash, envelope.hash) ? 'same' : 'other'
  }

  #conflict({ header, hash }: ParsedEnvelope): HeddleError {
    const { parts, group, heads } = this.#document
    const { member, seq } = header
    parts.count('conflict')
    const head = heads.get(member)
    parts.context.log('warn', 'server.sequence-conflict', {
      group: toHex(group),
      member: toHex(member),
      seq,
      hash: toHex(hash),
      headSeq: head?.seq,
      headHash: head && toHex(head.hash)
    })
    return this.#document.problem('SEQUENCE_CONFLICT', `envelope ${seq} contradicts the sender's chain on this server`)
  }

  #nextSeq({ header }: ParsedEnvelope): bigint {
    return this.#document.heads.seqOf(header.member) + 1n
  }

  /** Takes the next envelope of its sender's chain into the log. */
  #append(envelope: ParsedEnvelope): void {
    const document = this.#document
    const { member, seq } = envelope.header
    if (document.heads.get(member) === undefined) {
      const max = document.parts.limits.sendersPerDocumentMax
      if (document.senderCount >= max)
        throw document.problem('LIMIT_EXCEEDED', `this server keeps envelopes of at most ${max} senders of a document`)
      document.senderCount++
    }
    const position = ++document.position
    const head = { member, seq, hash: envelope.hash }
    // A copy, or the log's latest entries would keep whole frames in memory.
    const stored = { position, member, bytes: envelope.bytes.slice() }
    document.heads.advance(head)
    this.#stored.push(stored)
    this.#entries.push(...document.store.envelope(stored, seq))
    const key = toHex(member)
    const { broughtIn } = document.beginning
    if (broughtIn > 0n && this.#isOwn(member) && (document.begun.get(key) ?? 0n) < broughtIn)
      document.begun.set(key, document.current.number)
    this.#records.set(key, { head, position, begunEpoch: document.begun.get(key) ?? 0n })
  }
}

/** What every file of the server room shares: the running server's parts, its counters, and how a request is answered. */
import type { CryptoProvider } from '../crypto/index.js'
import type { HeddleError } from '../errors.js'
import type { Body } from '../net/index.js'
import { signedInput } from '../paxos/index.js'
import type { Context, Storage } from '../plugin/index.js'
import { ERRORS, type Signed } from '../wire/index.js'
import type { ServerLimits } from './limits.js'
import type { Writer } from './writer.js'

export interface ServerParts {
  readonly context: Context
  readonly crypto: CryptoProvider
  readonly identity: ServerIdentity
  readonly storage: Storage
  readonly writer: Writer
  readonly limits: ServerLimits
  readonly policy: ServerPolicy
  readonly count: (event: ServerEvent, amount?: number) => void
}

export interface ServerIdentity {
  /** Ed25519 public key: the server's id. */
  readonly id: Uint8Array
  /** Its RFC 8032 seed. */
  readonly secretKey: Uint8Array
}

export interface CreateRequest {
  /** Endpoint id of the device that asks. */
  readonly peer: Uint8Array
  readonly group: Uint8Array
  readonly crdtType: string
}

/** Whom the operator serves. */
export interface ServerPolicy {
  /**
   * Whether this device may create this document here; FORBIDDEN when not. Asked before anything of the document is
   * verified: that the peer is who it says is certain, the rest it claims. Default: anyone may.
   */
  readonly mayCreate?: (request: CreateRequest) => boolean | Promise<boolean>
}

/** What is counted; see `ServerStats`. */
export type ServerEvent =
  | 'connection'
  | 'request'
  | 'problem'
  | 'internalError'
  | 'created'
  | 'envelopeStored'
  | 'envelopeIgnored'
  | 'envelopeRefused'
  | 'conflict'
  | 'promise'
  | 'vote'
  | 'equivocation'
  | 'invalidValue'
  | 'decided'
  | 'envelopeDelivered'

/** What a request comes to. It is sent when everything written before for the document is durable. */
export interface Reply {
  /** Evaluated then: it may speak of what has become durable. */
  readonly body: () => Body
  /** Called once the reply is on its way. */
  readonly sent?: () => void
}

export const reply = (body: Body): Reply => ({ body: () => body })
export const done: Reply = reply({ $case: 'done', value: {} })

/** Signs a statement of this server; the label is that of its type. */
export function signStatement({ crypto, identity }: ServerParts, label: string, statement: Uint8Array): Signed {
  return { statement, signature: crypto.sign(identity.secretKey, signedInput(label, statement)) }
}

/** Codes above are local to a process. */
const wireCodeMax = 99

/** Whether it is this server that failed, and not the peer that asked wrongly. */
export function isOwnFailure(error: HeddleError): boolean {
  return error.code === 'INTERNAL' || ERRORS[error.code].code > wireCodeMax
}

/** Fields for a log of an error that a peer caused or met. */
export function errorFields(error: HeddleError): Readonly<Record<string, unknown>> {
  return { code: error.code, message: error.message }
}

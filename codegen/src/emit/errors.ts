/** Emits the table of errors, on which core/src/errors.ts and the answers to peers stand. */
import { errorCodes, type Model } from '../model/index.js'
import { docComment, fileHeader, quote } from './text.js'

export function emitErrors(model: Model): string {
  const entries = errorCodes(model).map(({ name, value, info }) => {
    const retry = info.retry ?? 'never'
    return `${docComment(info.summary)}${name}: { code: ${value.number}, retry: ${quote(retry)}, fatal: ${info.fatal}, summary: ${quote(info.summary)} },`
  })
  return `${fileHeader('Every error of Heddle: its number, whether to try again, whether the connection closes.')}
/** What the receiver of an error may do. */
export type Retry = 'never' | 'after_cure' | 'after_delay' | 'reconnect'

interface ErrorEntry {
  /** Its number on the wire. */
  readonly code: number
  readonly retry: Retry
  /** Whether the connection closes after it. */
  readonly fatal: boolean
  /** What happened and what to do, one sentence. */
  readonly summary: string
}

/** Errors by name. */
export const ERRORS = {
${entries.join('\n')}
} as const satisfies Readonly<Record<string, ErrorEntry>>

export type ErrorName = keyof typeof ERRORS

/** The name of an error a peer sent; undefined when this version does not know it. */
export function errorNameOf(code: number): ErrorName | undefined {
  return namesByCode.get(code)
}

const namesByCode: ReadonlyMap<number, ErrorName> = /* @__PURE__ */ new Map(
  Object.entries(ERRORS).map(([name, { code }]) => [code, name as ErrorName])
)
`
}

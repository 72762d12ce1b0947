/**
 * Door of the vectors: for every limit of the schema one message just inside and one just over it, as files that any
 * implementation can be tested with. Pure functions of the model; the bytes come from a plain writer that shares nothing
 * with the codecs. Called by generate/.
 */
import { isExported, type Message, type Model, moduleOf } from '../model/index.js'
import { fieldCases } from './cases.js'
import { formCases, sizeCases } from './forms.js'
import { type PlacedCase, placed, UnreachableLimit } from './place.js'

/** One vector, as proto/heddle/report/v1/vectors.proto describes it. */
export interface Vector {
  readonly name: string
  readonly message: string
  readonly bytes: string
  readonly verdict: 'valid' | 'invalid'
  readonly canonical?: boolean
  readonly error?: string
  readonly place?: string
  readonly reason: string
  readonly clause: string
}

/** Files by name without folder; each holds the vectors of one .proto file's messages. */
export function emitBoundaryVectors(model: Model): ReadonlyMap<string, string> {
  const files = new Map<string, Vector[]>()
  for (const message of model.messages) {
    const vectors = files.get(moduleOf(message)) ?? []
    files.set(moduleOf(message), vectors)
    vectors.push(...boundaryVectors(model, message))
  }
  return new Map(
    [...files].map(([module, vectors]) => {
      const lines = vectors.map((vector) => JSON.stringify(vector)).join(',\n')
      const head = `"package": ${JSON.stringify(model.packageName)}, "file": "${module}.proto"`
      return [`${module}.json`, `{\n${head},\n"vectors": [\n${lines}\n]\n}\n`] as const
    })
  )
}

/** What is wrong when a limit of the message cannot be reached, for the max_size of it or of what holds it. */
export function unreachableLimit(model: Model, message: Message): string | undefined {
  try {
    boundaryVectors(model, message)
    return undefined
  } catch (error) {
    if (error instanceof UnreachableLimit) return error.message
    throw error
  }
}

/** The vectors of one message. Throws UnreachableLimit. */
export function boundaryVectors(model: Model, message: Message): readonly Vector[] {
  const own = [...fieldCases(model, message), ...sizeCases(model, message)]
  const forms = message.canonical || isExported(message) ? formCases(model, message) : []
  // Forms are shown where there is room; a small message has none for 33 unknown fields.
  const roomy = forms.filter(({ content }) => message.maxSize === undefined || content.length <= message.maxSize)
  return placed(model, message, [...own, ...roomy]).map((one) => vectorOf(message, one))
}

function vectorOf(message: Message, one: PlacedCase): Vector {
  const { root, name, content, error, reason, clause, canonical } = one
  return {
    name: `${message.name} ${name}`,
    message: root.name,
    bytes: content.text,
    verdict: error === undefined ? 'valid' : 'invalid',
    ...(error === undefined ? { canonical } : { error: error.code, place: error.where }),
    reason,
    clause: error?.code === 'too_large' ? 'WIRE-002' : clause
  }
}

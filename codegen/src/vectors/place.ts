/**
 * Puts the cases of a message that is never met on its own into one that is, so that a codec can be asked about them.
 */
import { type Field, isExported, type Message, type Model } from '../model/index.js'
import type { Case } from './cases.js'
import { itemOf, itemsOf, least, spell, withField, written } from './example.js'
import type { Spelled } from './spelled.js'

/** A limit that no message can come up to, as a max_size is in the way. */
export class UnreachableLimit extends Error {}

/** A message that is met on its own, and the fields that lead from it to the one in question. */
interface Way {
  readonly root: Message
  readonly steps: readonly { readonly message: Message; readonly field: Field }[]
}

/** A case in the message that is met on its own. */
export interface PlacedCase extends Case {
  readonly root: Message
}

/**
 * Each case where it fits; none of a message that nothing with a codec holds. Throws UnreachableLimit when a valid case
 * fits nowhere.
 */
export function placed(model: Model, message: Message, cases: readonly Case[]): readonly PlacedCase[] {
  const ways = waysTo(model, message)
  if (ways.length === 0) return []
  return cases.map((one) => {
    const candidates = ways.map((way) => place(model, message, way, one))
    const fitting = candidates.find(({ error }) => error?.code === one.error?.code)
    const found = one.error === undefined ? fitting : (fitting ?? candidates[0])
    if (found === undefined) {
      throw new UnreachableLimit(
        `${message.name} with ${one.name} fits in no message that has a codec, ${one.content.length} bytes; lower that limit or raise max_size`
      )
    }
    return found
  })
}

function place(model: Model, message: Message, { root, steps }: Way, one: Case): PlacedCase {
  const sizes: { readonly of: Message; readonly size: number }[] = [{ of: message, size: one.content.length }]
  let content = one.content
  for (const step of [...steps].reverse()) {
    content = spell(withField(step.message, least(model, step.message), step.field, wrapped(step.field, content)))
    sizes.unshift({ of: step.message, size: content.length })
  }
  // The outermost size is seen first.
  const large = sizes.find(({ of, size }) => of.maxSize !== undefined && size > of.maxSize)
  const error = large === undefined ? one.error : { code: 'too_large', where: large.of.name }
  return { ...one, root, content, error }
}

function wrapped(field: Field, content: Spelled): Spelled {
  return field.repeated ? itemsOf(field, itemOf(field, content)) : written(field, content)
}

/** The shortest ways first. */
function waysTo(model: Model, message: Message): readonly Way[] {
  if (isExported(message)) return [{ root: message, steps: [] }]
  const ways: Way[] = []
  for (const parent of model.messages) {
    for (const field of parent.fields) {
      if (field.kind !== 'message' || field.typeName !== message.name || (field.limits.itemsMin ?? 0) > 1) continue
      for (const { root, steps } of waysTo(model, parent)) {
        ways.push({ root, steps: [...steps, { message: parent, field }] })
      }
    }
  }
  return ways.sort((a, b) => a.steps.length - b.steps.length)
}

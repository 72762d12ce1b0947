/**
 * How the numbers and names that are unique across the protocol changed: frames, MLS types, storage keys, signature
 * labels, enums and errors. A number that was used once keeps its meaning for ever.
 */
import {
  type Enum,
  type EnumValue,
  errorEnumName,
  type Message,
  type Model,
  type StoragePlace,
  storageRecords
} from '../model/index.js'
import { type Change, change, match } from './change.js'

export function registryChanges(before: Model, after: Model): readonly Change[] {
  return [
    ...numberChanges(before, after, 'frame', 'frame type', ({ frameType }) => frameType),
    ...numberChanges(before, after, 'extension', 'MLS extension type', ({ mlsExtension }) => mlsExtension?.type),
    ...numberChanges(before, after, 'proposal', 'MLS proposal type', ({ mlsProposal }) => mlsProposal?.type),
    ...numberChanges(before, after, 'label', 'signature label', ({ signatureLabel }) => signatureLabel, true),
    ...extensionChanges(before, after),
    ...storageChanges(before, after),
    ...enumChanges(before, after)
  ]
}

/** Numbers that now mean another message, and messages that have another number. */
function numberChanges(
  before: Model,
  after: Model,
  rule: string,
  what: string,
  numberOf: (message: Message) => number | string | undefined,
  reuseOnly = false
): readonly Change[] {
  const reused = match(before.messages, after.messages, numberOf).both.flatMap((pair) => {
    if (pair.before.name === pair.after.name) return []
    const text = `has the ${what} ${numberOf(pair.after)} of ${pair.before.name}; take a number that was never used`
    return [change(`${rule}-reused`, 'breaking', pair.after.name, text)]
  })
  if (reuseOnly) return reused
  const moved = match(before.messages, after.messages, ({ name }) => name).both.flatMap((pair) => {
    const [old, now] = [numberOf(pair.before), numberOf(pair.after)]
    if (old === now) return []
    const text = `${what} was ${old ?? 'none'}, is ${now ?? 'none'}`
    return [change(`${rule}-renumbered`, 'breaking', pair.after.name, text)]
  })
  return [...reused, ...moved]
}

function extensionChanges(before: Model, after: Model): readonly Change[] {
  return match(before.messages, after.messages, ({ name }) => name).both.flatMap((pair) => {
    const [old, now] = [pair.before.mlsExtension, pair.after.mlsExtension]
    if (old === undefined || now === undefined) return []
    const { name } = pair.after
    const changes: Change[] = []
    const gone = old.contexts.filter((context) => !now.contexts.includes(context))
    const more = now.contexts.filter((context) => !old.contexts.includes(context))
    if (gone.length > 0) {
      changes.push(change('context-removed', 'breaking', name, `it is not allowed in ${gone.join(', ')} any more`))
    }
    if (more.length > 0) {
      changes.push(change('context-added', 'new_version', name, `it is allowed in ${more.join(', ')} now`))
    }
    if (old.required !== now.required) {
      const text = now.required ? 'every member must support it now' : 'members may lack it now'
      changes.push(change('extension-required', 'new_version', name, text))
    }
    return changes
  })
}

type Stored = ReturnType<typeof storageRecords>[number]

function storageChanges(before: Model, after: Model): readonly Change[] {
  const [old, now] = [storageRecords(before), storageRecords(after)]
  const keyOf = ({ keeper, place }: Stored) => `${keeper} ${place.ofDocument} ${place.number}`
  const reused = match(old, now, keyOf).both.flatMap((pair) => {
    if (pair.before.message.name === pair.after.message.name) return []
    const text = `has the storage number ${pair.after.place.number} of ${pair.before.message.name} on a ${pair.after.keeper}; take one that was never used`
    return [change('storage-reused', 'breaking', pair.after.message.name, text)]
  })
  const moved = match(old, now, ({ keeper, message }) => `${keeper} ${message.name}`)
  return [
    ...reused,
    ...moved.both.flatMap((pair) => {
      const [from, to] = [placeText(pair.before.place), placeText(pair.after.place)]
      if (from === to) return []
      const text = `on a ${pair.after.keeper} the key was ${from}, is ${to}: what is stored is not found`
      return [change('storage-moved', 'breaking', pair.after.message.name, text)]
    }),
    ...moved.removed.map(({ keeper, message }) =>
      change(
        'storage-removed',
        'breaking',
        message.name,
        `a ${keeper} does not store it any more: what is stored is lost`
      )
    ),
    ...moved.added.map(({ keeper, message }) =>
      change('storage-added', 'compatible', message.name, `a ${keeper} stores it`)
    )
  ]
}

function placeText({ number, ofDocument, key }: StoragePlace): string {
  return `${ofDocument ? 'document ' : ''}${number}${key === '' ? '' : ` ${key}`}`
}

function enumChanges(before: Model, after: Model): readonly Change[] {
  const { both, removed, added } = match(before.enums, after.enums, ({ name }) => name)
  return [
    ...removed.map(({ name }) => change('enum-removed', 'breaking', name, 'it is gone')),
    ...added.map(({ name }) => change('enum-added', 'compatible', name, 'it is new')),
    ...both.flatMap((pair) => valueChanges(after, pair.before, pair.after))
  ]
}

function valueChanges(model: Model, before: Enum, after: Enum): readonly Change[] {
  const isError = after.name === errorEnumName
  const what = isError ? 'error' : 'enum-value'
  const { both, removed, added } = match(before.values, after.values, ({ number }) => number)
  const closed = model.messages.some((message) =>
    message.fields.some((field) => field.typeName === after.name && field.limits.definedOnly)
  )
  return [
    ...removed.map((value) => change(`${what}-removed`, 'breaking', value.name, `number ${value.number} is gone`)),
    ...added.map((value) =>
      closed
        ? change(
            `${what}-added`,
            'new_version',
            value.name,
            'it is new; older receivers refuse values they do not know'
          )
        : change(`${what}-added`, 'compatible', value.name, 'it is new; older receivers take it as unknown')
    ),
    ...both.flatMap((pair) => {
      if (pair.before.name === pair.after.name) return isError ? errorChanges(pair.before, pair.after) : []
      const text = `number ${pair.after.number} was ${pair.before.name}: a number has one meaning for ever`
      return [change(`${what}-reused`, 'breaking', pair.after.name, text)]
    })
  ]
}

/** From this number on errors are local to a process. */
const localErrorsMin = 100

function errorChanges({ error: before }: EnumValue, { error: after, name, number }: EnumValue): readonly Change[] {
  if (before === undefined || after === undefined) return []
  // Peers have to agree on what follows from an error that travels.
  const severity = number < localErrorsMin ? 'new_version' : 'compatible'
  const changes: Change[] = []
  if (before.retry !== after.retry) {
    const text = `retry was ${before.retry ?? 'not set'}, is ${after.retry ?? 'not set'}`
    changes.push(change('retry-changed', severity, name, text))
  }
  if (before.fatal !== after.fatal) {
    const text = after.fatal ? 'the connection closes after it now' : 'the connection stays open after it now'
    changes.push(change('fatal-changed', severity, name, text))
  }
  if (before.summary !== after.summary)
    changes.push(change('summary-changed', 'compatible', name, 'it says other words'))
  return changes
}

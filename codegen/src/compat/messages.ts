/** How the messages changed: what says who sends them, how large they are, in how many forms they come. */
import { canonicalReach, type Direction, isRequiredOneof, type Message, type Model } from '../model/index.js'
import { type Change, change, match } from './change.js'
import { fieldChanges } from './fields.js'

export function messageChanges(before: Model, after: Model): readonly Change[] {
  const { both, removed, added } = match(before.messages, after.messages, ({ name }) => name)
  const strict = new Set([...canonicalReach(before), ...canonicalReach(after)])
  return [
    ...removed.map(({ name }) =>
      change('message-removed', 'breaking', name, 'it is gone: older peers and storage have it')
    ),
    ...added.map((message) => addedMessage(message, versionOf(before))),
    ...both.flatMap((pair) => [
      ...optionChanges(pair.before, pair.after),
      ...fieldChanges(pair.before, pair.after, strict.has(pair.after.name)),
      ...oneofChanges(pair.before, pair.after)
    ])
  ]
}

/** A oneof that was there already and that a new member makes required. */
function oneofChanges(before: Message, after: Message): readonly Change[] {
  return match(before.oneofs, after.oneofs, ({ name }) => name).both.flatMap((pair) => {
    if (isRequiredOneof(before, pair.before)) return []
    const known = new Set(before.fields.map(({ number }) => number))
    const isNew = after.fields.some(
      (field) => field.oneof === pair.after.name && field.limits.required && !known.has(field.number)
    )
    if (!isNew) return []
    const text = 'one of its members must be there now: messages without one are refused'
    return [change('required-added', 'breaking', `${after.name}.${pair.after.name}`, text)]
  })
}

/** The protocol version a schema describes: the highest that anything in it is said to begin with. */
export function versionOf(model: Model): number {
  return Math.max(0, ...model.messages.map(({ since }) => since ?? 0))
}

function addedMessage(message: Message, version: number): Change {
  const { name, frameType, mlsExtension, mlsProposal, since = 0 } = message
  const what =
    frameType !== undefined
      ? 'frame'
      : mlsExtension !== undefined
        ? 'extension'
        : mlsProposal !== undefined
          ? 'proposal'
          : undefined
  if (what === undefined) return change('message-added', 'compatible', name, 'it is new')
  if ((since ?? 0) > version) {
    return change(`${what}-added`, 'compatible', name, `it is new, from version ${since} on`)
  }
  const text = `it is new and said to be there since version ${since}, whose other implementations refuse it; raise since_version`
  return change(`${what}-added`, 'new_version', name, text)
}

function optionChanges(before: Message, after: Message): readonly Change[] {
  return [
    ...sizeChange(before, after),
    ...directionChange(before, after),
    ...canonicalChange(before, after),
    ...sinceChange(before, after),
    ...labelChange(before, after),
    ...(before.topLevel && !after.topLevel && after.storageRecord === undefined
      ? [change('codec-removed', 'breaking', after.name, 'it is not met on its own any more')]
      : [])
  ]
}

function sizeChange({ maxSize: before }: Message, { maxSize: after, name }: Message): readonly Change[] {
  if (before === after) return []
  const text = `max_size was ${before ?? 'unlimited'}, is ${after ?? 'unlimited'}`
  return [
    (after ?? Number.POSITIVE_INFINITY) > (before ?? Number.POSITIVE_INFINITY)
      ? change('size-loosened', 'new_version', name, `${text}: older receivers refuse what lies between`)
      : change('size-tightened', 'breaking', name, `${text}: what was allowed before is refused`)
  ]
}

function directionChange({ direction: before }: Message, { direction: after, name }: Message): readonly Change[] {
  if (before === after) return []
  const text = `was sent by ${directionText(before)}, is by ${directionText(after)}`
  return [
    after === 'both'
      ? change('direction-widened', 'new_version', name, `${text}: older sides refuse it`)
      : change('direction-changed', 'breaking', name, `${text}: what was sent before is refused`)
  ]
}

function directionText(direction: Direction | undefined): string {
  if (direction === undefined) return 'nobody'
  return direction === 'both' ? 'both sides' : direction === 'device_to_server' ? 'devices' : 'servers'
}

function canonicalChange({ canonical: before }: Message, { canonical: after, name }: Message): readonly Change[] {
  if (before === after) return []
  return [
    after
      ? change('canonical-added', 'breaking', name, 'it is canonical now: other encodings, allowed before, are refused')
      : change(
          'canonical-removed',
          'new_version',
          name,
          'it is not canonical any more: older receivers refuse other encodings'
        )
  ]
}

function sinceChange({ since: before }: Message, { since: after, name }: Message): readonly Change[] {
  if (before === after) return []
  const text = `since_version was ${before ?? 'not set'}, is ${after ?? 'not set'}`
  return [
    (after ?? 0) > (before ?? 0)
      ? change('since-raised', 'breaking', name, `${text}: peers of the versions between have it`)
      : change('since-lowered', 'new_version', name, `${text}: peers of the versions between lack it`)
  ]
}

function labelChange({ signatureLabel: before }: Message, { signatureLabel: after, name }: Message): readonly Change[] {
  if (before === after) return []
  const text = `signature_label was ${before ?? 'not set'}, is ${after ?? 'not set'}: older signatures do not verify`
  return [change('label-changed', 'breaking', name, text)]
}

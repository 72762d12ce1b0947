/**
 * How the fields of a message changed. A limit that is tightened makes a receiver refuse what was sent and stored
 * before; one that is loosened lets a sender send what older receivers refuse.
 */
import { type Field, isRequired, type Limits, type Message } from '../model/index.js'
import { type Change, change, match, type Severity } from './change.js'

/** `canonical`: the message is canonical or stands inside one that is, so that older receivers refuse unknown fields. */
export function fieldChanges(before: Message, after: Message, canonical: boolean): readonly Change[] {
  const { both, removed, added } = match(before.fields, after.fields, ({ number }) => number)
  return [
    ...removed.map((field) => {
      const text = `number ${field.number} is gone: what was sent or stored with it loses it`
      return change('field-removed', 'breaking', placeOf(before, field), text)
    }),
    ...added.map((field) => addedField(after, field, canonical)),
    ...both.flatMap((pair) => pairChanges(after, pair.before, pair.after, canonical))
  ]
}

function addedField(message: Message, field: Field, canonical: boolean): Change {
  const place = placeOf(message, field)
  const must = field.repeated ? (field.limits.itemsMin ?? 0) > 0 : isRequired(field)
  if (must) return change('required-added', 'breaking', place, 'it is new and required: every older message lacks it')
  if (!canonical) return change('field-added', 'compatible', place, 'it is new; older receivers skip it')
  return change('canonical-grew', 'new_version', place, 'it is new in a canonical message: older receivers refuse it')
}

function pairChanges(message: Message, before: Field, after: Field, canonical: boolean): readonly Change[] {
  const place = placeOf(message, after)
  if (before.name !== after.name) {
    const text = `number ${after.number} was ${before.name}: a number has one meaning for ever`
    return [change('field-reused', 'breaking', place, text)]
  }
  const changes: Change[] = []
  const [old, now] = [typeText(before), typeText(after)]
  if (old !== now)
    changes.push(change('field-type', 'breaking', place, `was ${old}, is ${now}: the bytes mean another thing`))
  if (before.oneof !== after.oneof) {
    const text = `was ${oneofText(before)}, is ${oneofText(after)}`
    changes.push(change('field-oneof', 'breaking', place, text))
  }
  if (before.optional && !after.optional && isRequired(after)) {
    const text = 'it must be there now, as its limits leave no zero: messages without it are refused'
    changes.push(change('required-added', 'breaking', place, text))
  } else if (before.optional !== after.optional) {
    const text = after.optional ? 'a zero is told from absence now' : 'a zero is not told from absence any more'
    changes.push(change('field-presence', canonical ? 'new_version' : 'compatible', place, text))
  }
  return old === now ? [...changes, ...limitChanges(place, before, after)] : changes
}

function limitChanges(place: string, before: Field, after: Field): readonly Change[] {
  const changes: Change[] = []
  const bounds = [
    ['length', 'bytesMin', 'bytesMax'],
    ['number of items', 'itemsMin', 'itemsMax'],
    ['value', 'valueMin', 'valueMax']
  ] as const
  for (const [what, min, max] of bounds) {
    changes.push(...limitChange(place, `least ${what}`, lower(before.limits[min]), lower(after.limits[min]), -1n))
    changes.push(...limitChange(place, `greatest ${what}`, upper(before.limits[max]), upper(after.limits[max]), 1n))
  }
  if (before.limits.required !== after.limits.required) {
    changes.push(
      after.limits.required
        ? change('required-added', 'breaking', place, 'it is required now: messages without it are refused')
        : change('required-removed', 'new_version', place, 'it may be absent now, which older receivers refuse')
    )
  }
  changes.push(
    ...flagChange(
      'defined-only',
      place,
      before.limits.definedOnly,
      after.limits.definedOnly,
      'values that are not defined'
    )
  )
  changes.push(...sortChanges(place, before.limits, after.limits))
  return changes
}

/** Unlimited is beyond every number. */
const unlimited = 1n << 64n
const lower = (limit: number | bigint | undefined): bigint => BigInt(limit ?? 0)
const upper = (limit: number | bigint | undefined): bigint => (limit === undefined ? unlimited : BigInt(limit))

/** `direction` is 1 where more allows more. */
function limitChange(place: string, what: string, before: bigint, after: bigint, direction: bigint): readonly Change[] {
  if (before === after) return []
  const text = `${what} was ${limitText(before)}, is ${limitText(after)}`
  return [
    (after - before) * direction > 0n
      ? change('limit-loosened', 'new_version', place, `${text}: older receivers refuse what lies between`)
      : change('limit-tightened', 'breaking', place, `${text}: what was allowed before is refused`)
  ]
}

const limitText = (limit: bigint): string => (limit === unlimited ? 'unlimited' : `${limit}`)

function flagChange(rule: string, place: string, before: boolean, after: boolean, what: string): readonly Change[] {
  if (before === after) return []
  const [name, severity, text] = (
    after
      ? [`${rule}-added`, 'breaking', `${what} are refused now, and were allowed before`]
      : [`${rule}-removed`, 'new_version', `${what} are allowed now; older receivers refuse them`]
  ) satisfies readonly [string, Severity, string]
  return [change(name, severity, place, text)]
}

function sortChanges(place: string, before: Limits, after: Limits): readonly Change[] {
  const keyOf = ({ sortedBy, sortedUnique }: Limits) =>
    sortedBy ?? (sortedUnique === true ? 'the item itself' : undefined)
  const [old, now] = [keyOf(before), keyOf(after)]
  if (old === now) return []
  if (old !== undefined && now !== undefined) {
    return [change('sorted-key', 'breaking', place, `items were sorted by ${old}, are by ${now}`)]
  }
  return flagChange('sorted', place, old !== undefined, now !== undefined, 'items in another order, or twice,')
}

function placeOf(message: Message, field: Field): string {
  return `${message.name}.${field.name}`
}

function typeText(field: Field): string {
  return `${field.repeated ? 'repeated ' : ''}${field.typeName}`
}

function oneofText(field: Field): string {
  return field.oneof === undefined ? 'in no oneof' : `in ${field.oneof}`
}

/** How reports changed: JSON that programs read, who take what they know and pass over the rest. */
import type { Enum, Field, Message, Model } from '../model/index.js'
import { type Change, change, match } from './change.js'

export function reportChanges(before: Model, after: Model): readonly Change[] {
  const messages = match(before.messages, after.messages, ({ name }) => name)
  const enums = match(before.enums, after.enums, ({ name }) => name)
  return [
    ...messages.removed.map(({ name }) => change('report-removed', 'breaking', name, 'it is gone')),
    ...messages.added.map(({ name }) => change('report-added', 'compatible', name, 'it is new')),
    ...messages.both.flatMap((pair) => propertyChanges(pair.before, pair.after)),
    ...enums.both.flatMap((pair) => valueChanges(pair.before, pair.after))
  ]
}

/** JSON has names and no numbers. */
function propertyChanges(before: Message, after: Message): readonly Change[] {
  const { both, removed, added } = match(before.fields, after.fields, ({ localName }) => localName)
  const placeOf = (field: Field) => `${after.name}.${field.localName}`
  return [
    ...removed.map((field) => change('property-removed', 'breaking', placeOf(field), 'it is gone')),
    ...added.map((field) => change('property-added', 'compatible', placeOf(field), 'it is new')),
    ...both.flatMap((pair) => {
      const changes: Change[] = []
      const [old, now] = [typeText(pair.before), typeText(pair.after)]
      if (old !== now) changes.push(change('property-type', 'breaking', placeOf(pair.after), `was ${old}, is ${now}`))
      if (canLack(pair.before) !== canLack(pair.after)) {
        changes.push(
          canLack(pair.after)
            ? change('property-optional', 'breaking', placeOf(pair.after), 'it may be absent or null now')
            : change('property-always', 'compatible', placeOf(pair.after), 'it is always there now')
        )
      }
      return changes
    })
  ]
}

function valueChanges(before: Enum, after: Enum): readonly Change[] {
  const { removed, added } = match(before.values, after.values, ({ name }) => name)
  return [
    ...removed.map(({ name }) => change('value-removed', 'compatible', name, 'it is not printed any more')),
    ...added.map(({ name }) =>
      change('value-added', 'new_version', name, 'it is new: programs that know all values meet another')
    )
  ]
}

function canLack(field: Field): boolean {
  return field.optional
}

function typeText(field: Field): string {
  return `${field.repeated ? 'repeated ' : ''}${field.typeName}${field.json?.nullable === true ? ' or null' : ''}`
}

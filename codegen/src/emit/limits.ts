/** Emits the limits of every message, so that hand-written code repeats no number of the schema. */
import { type Field, isBigint, type Message, type Model } from '../model/index.js'
import { fileHeader, properties } from './text.js'

export function emitLimits(model: Model): string {
  const entries = model.messages.flatMap((message) => {
    const limits = messageLimits(message)
    return limits === '' ? [] : [`${message.name}: { ${limits} },`]
  })
  return `${fileHeader('Limits of messages and fields.')}
/**
 * Limits by message and field: \`maxSize\` of the whole message in bytes; of a field the length in bytes (of an item, when
 * it is repeated), the number of items, the value. Absent: not limited.
 */
export const LIMITS = {
${entries.join('\n')}
} as const
`
}

function messageLimits(message: Message): string {
  const fields = message.fields.map((field) => {
    const limits = fieldLimits(field)
    return [field.localName, limits === '' ? undefined : `{ ${limits} }`] as const
  })
  return properties([['maxSize', message.maxSize?.toString()], ...fields])
}

function fieldLimits(field: Field): string {
  const { bytesMin, bytesMax, itemsMin, itemsMax, valueMin, valueMax } = field.limits
  const value = (limit: bigint | undefined) =>
    limit === undefined ? undefined : `${limit}${isBigint(field) ? 'n' : ''}`
  return properties([
    ['bytesMin', bytesMin?.toString()],
    ['bytesMax', bytesMax?.toString()],
    ['itemsMin', itemsMin?.toString()],
    ['itemsMax', itemsMax?.toString()],
    ['valueMin', value(valueMin)],
    ['valueMax', value(valueMax)]
  ])
}

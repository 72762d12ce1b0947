/** Rules about one message or enum as a whole: those of any schema, and those of what is on the wire. */
import { type Enum, innerMessages, isExported, type Message, type Model } from '../model/index.js'
import { duplicates, type Finding, finding } from './finding.js'

export function messageFindings(model: Model, message: Message): readonly Finding[] {
  return [
    ...fieldOrder(message),
    ...recursion(model, message),
    ...missingComments([message, ...message.fields, ...message.oneofs])
  ]
}

export function wireMessageFindings(message: Message): readonly Finding[] {
  return [...missingBounds(message), ...reservedNames(message)]
}

export function enumFindings(described: Enum): readonly Finding[] {
  const findings: Finding[] = [...missingComments([described, ...described.values])]
  if (!described.values.some((value) => value.number === 0)) {
    const cure = `add ${screamingCase(described.name)}_UNSPECIFIED = 0`
    findings.push(finding('enum-zero', described, `${described.name} has no value 0; ${cure}`))
  }
  for (const value of described.values) {
    if (value.number < 0) {
      findings.push(finding('enum-negative', value, `${value.name} is negative; give it a number above zero`))
    }
  }
  return [
    ...findings,
    ...duplicates(
      'enum-alias',
      described.values,
      (value) => value.number,
      (value, first) => `${value.name} has the number of ${first.name}; give it one of its own`
    )
  ]
}

function fieldOrder(message: Message): readonly Finding[] {
  return message.fields.flatMap((field, index) => {
    const before = message.fields[index - 1]
    if (before === undefined || before.number < field.number) return []
    const name = `${message.name}.${field.name}`
    return [finding('field-order', field, `${name} = ${field.number} stands after number ${before.number}; move it up`)]
  })
}

/** Without recursion the schema itself bounds how deep a decoder goes. */
function recursion(model: Model, message: Message): readonly Finding[] {
  const reached = new Set<string>()
  const visit = (current: Message): void => {
    for (const inner of innerMessages(model, current)) {
      if (reached.has(inner.name)) continue
      reached.add(inner.name)
      visit(inner)
    }
  }
  visit(message)
  if (!reached.has(message.name)) return []
  return [finding('recursion', message, `${message.name} contains itself; make it a flat list`)]
}

type Commented = Pick<Message, 'name' | 'at' | 'comment'>

function missingComments(declared: readonly Commented[]): readonly Finding[] {
  return declared
    .filter(({ comment }) => comment === '')
    .map((item) => finding('comment', item, `${item.name} has no comment; say in the line above what it means`))
}

/** What arrives on its own is bounded before it is read. */
function missingBounds(message: Message): readonly Finding[] {
  if (!isExported(message)) return []
  const missing = [
    ...((message.maxSize ?? 0) === 0 ? ['max_size'] : []),
    ...((message.since ?? 0) === 0 ? ['since_version'] : [])
  ]
  return missing.map((option) =>
    finding('bounds', message, `${message.name} has no ${option}; add option (heddle.options.v1.${option})`)
  )
}

/** Names the generated index exports beside the types. */
const exportedNames = new Set([
  ...['Codec', 'Direction', 'ErrorName', 'FrameCase', 'MlsContext', 'Retry', 'SignedMessageName', 'StoragePlace'],
  'StorageRecordName',
  ...['MlsExtensionEntry', 'MlsExtensionName', 'MlsProposalEntry', 'MlsProposalName', 'WireError', 'WireErrorCode']
])

function reservedNames(message: Message): readonly Finding[] {
  const findings: Finding[] = []
  if (exportedNames.has(message.name)) {
    findings.push(finding('reserved-name', message, `${message.name} is the name of another export; choose another`))
  }
  for (const field of message.fields) {
    if (field.localName !== 'maxSize') continue
    findings.push(
      finding(
        'reserved-name',
        field,
        `${message.name}.${field.name} hides LIMITS.${message.name}.maxSize; choose another name`
      )
    )
  }
  return findings
}

function screamingCase(name: string): string {
  return name.replace(/([a-z0-9])([A-Z])/g, '$1_$2').toUpperCase()
}

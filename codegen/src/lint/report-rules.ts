/** Rules about reports: JSON that tools read, which has other kinds than the wire and no limits. */
import { type Field, type Kind, type Message, type Model, messageNamed } from '../model/index.js'
import { type Finding, finding } from './finding.js'

const jsonKinds: ReadonlySet<Kind> = new Set(['bool', 'double', 'string', 'message', 'enum', 'uint32', 'uint64'])

/** Findings of a message in a package of reports. */
export function reportFindings(model: Model, message: Message): readonly Finding[] {
  const findings: Finding[] = []
  const isWire = message.frameType ?? message.maxSize ?? message.mlsExtension ?? message.mlsProposal ?? message.since
  if (isWire !== undefined || message.topLevel || message.canonical || message.storageRecord !== undefined) {
    const text = `${message.name} is in a report and has options of the wire; remove them, or move it`
    findings.push(finding('report-wire', message, text))
  }
  for (const oneof of message.oneofs) {
    const text = `${message.name}.${oneof.name} is a oneof, which JSON does not show; use optional fields`
    findings.push(finding('report-kind', oneof, text))
  }
  return [...findings, ...message.fields.flatMap((field) => fieldFindings(model, message, field))]
}

function fieldFindings(model: Model, message: Message, field: Field): readonly Finding[] {
  const name = `${message.name}.${field.name}`
  const findings: Finding[] = []
  if (!jsonKinds.has(field.kind)) {
    const cure = field.kind === 'bytes' ? 'use a string with a pattern' : 'use another type'
    findings.push(
      finding('report-kind', field, `${name} is a ${field.typeName}, which has no one form in JSON; ${cure}`)
    )
  }
  if (field.kind === 'message' && messageNamed(model, field.typeName)?.output !== undefined) {
    const text = `${name} holds ${field.typeName}, which is a whole report; take its output away or use another type`
    findings.push(finding('report-nested', field, text))
  }
  if (field.json?.pattern !== undefined && field.kind !== 'string') {
    findings.push(finding('report-json', field, `${name} has a pattern and is no string; remove it`))
  }
  if (field.json?.nullable === true && (!field.optional || field.repeated)) {
    findings.push(finding('report-json', field, `${name} is nullable and always there; make it optional`))
  }
  return findings
}

/** Findings of a message on the wire: it has no options of reports. */
export function wireOnlyFindings(message: Message): readonly Finding[] {
  const findings: Finding[] = []
  if (message.output !== undefined) {
    const text = `${message.name} has an output and is no report; remove it, or add option (heddle.options.v1.report) = true to the file`
    findings.push(finding('report-only', message, text))
  }
  for (const field of message.fields) {
    if (field.json === undefined) continue
    const text = `${message.name}.${field.name} has a form in JSON and is in no report; remove it`
    findings.push(finding('report-only', field, text))
  }
  return findings
}

/** Rules about what is unique across the whole protocol: frames, MLS types, errors, signature labels, storage keys. */
import {
  enumNamed,
  errorEnumName,
  frameBodyName,
  frameMessageName,
  type Message,
  type Model,
  messageNamed,
  storageRecords
} from '../model/index.js'
import { duplicates, type Finding, finding } from './finding.js'

export function registryFindings(model: Model): readonly Finding[] {
  return [
    ...frameFindings(model),
    ...model.messages.flatMap(mlsFindings),
    ...duplicateNumbers(model),
    ...labelFindings(model),
    ...storageFindings(model),
    ...errorFindings(model)
  ]
}

function frameFindings(model: Model): readonly Finding[] {
  const frame = messageNamed(model, frameMessageName)
  const bodies = (frame?.fields ?? []).filter((field) => field.oneof === frameBodyName)
  const findings: Finding[] = []
  for (const message of model.messages) {
    if (message.frameType === undefined) continue
    const field = bodies.find((candidate) => candidate.typeName === message.name)
    if (field?.number !== message.frameType) {
      const cure =
        field === undefined ? `add it to ${frameMessageName}.${frameBodyName}` : `its number there is ${field.number}`
      const text = `${message.name} has frame_type ${message.frameType}, which is not its number in the frame; ${cure}`
      findings.push(finding('frame-type', message, text))
    }
    if (message.direction === undefined) {
      const text = `${message.name} does not say who sends it; add option (heddle.options.v1.direction)`
      findings.push(finding('frame-direction', message, text))
    }
    if (frame?.maxSize !== undefined && message.maxSize !== undefined && message.maxSize >= frame.maxSize) {
      const text = `${message.name} may have ${message.maxSize} bytes, ${frameMessageName} only ${frame.maxSize}; raise that`
      findings.push(finding('frame-size', message, text))
    }
  }
  for (const field of bodies) {
    if (messageNamed(model, field.typeName)?.frameType !== undefined) continue
    const text = `${frameMessageName}.${field.name} carries ${field.typeName}, which has no frame_type; add it, ${field.number}`
    findings.push(finding('frame-type', field, text))
  }
  return findings
}

function mlsFindings(message: Message): readonly Finding[] {
  const findings: Finding[] = []
  const parts = [
    ['Extension', message.mlsExtension],
    ['Proposal', message.mlsProposal]
  ] as const
  for (const [suffix, data] of parts) {
    if (data === undefined) continue
    if (!message.canonical) {
      const text = `${message.name} is MLS data and not canonical; add option (heddle.options.v1.canonical) = true`
      findings.push(finding('mls-canonical', message, text))
    }
    if (data.type < 0xf000 || data.type > 0xffff) {
      const text = `${message.name} has type ${data.type}; choose one of the private range, 0xF000 to 0xFFFF`
      findings.push(finding('mls-type-range', message, text))
    }
    if (!message.name.endsWith(suffix)) {
      findings.push(finding('mls-name', message, `${message.name} does not end with ${suffix}; rename it`))
    }
  }
  if (message.mlsExtension?.contexts.length === 0) {
    findings.push(finding('mls-contexts', message, `${message.name} does not say where it may occur; add contexts`))
  }
  return findings
}

function duplicateNumbers(model: Model): readonly Finding[] {
  const registries = [
    ['frame-duplicate', 'frame type', (message: Message) => message.frameType],
    ['mls-duplicate', 'MLS extension type', (message: Message) => message.mlsExtension?.type],
    ['mls-duplicate', 'MLS proposal type', (message: Message) => message.mlsProposal?.type]
  ] as const
  return registries.flatMap(([rule, what, numberOf]) =>
    duplicates(
      rule,
      model.messages,
      numberOf,
      (message, first) => `${message.name} has the ${what} of ${first.name}, ${numberOf(message)}; choose a free one`
    )
  )
}

function labelFindings(model: Model): readonly Finding[] {
  return [
    ...model.messages
      .filter((message) => message.signatureLabel !== undefined && !message.canonical)
      .map((message) =>
        finding('label-canonical', message, `${message.name} is signed and not canonical; make it canonical`)
      ),
    ...duplicates(
      'label-duplicate',
      model.messages,
      (message) => message.signatureLabel,
      (message, first) => `${message.name} has the signature label of ${first.name}; give it its own`
    )
  ]
}

function storageFindings(model: Model): readonly Finding[] {
  const findings: Finding[] = []
  for (const message of model.messages) {
    if (message.name.endsWith('Record') && message.storageRecord === undefined) {
      const text = `${message.name} does not say where it is stored; add option (heddle.options.v1.storage_record)`
      findings.push(finding('storage-record', message, text))
    }
    const places = [message.storageRecord?.server, message.storageRecord?.device]
    if (message.storageRecord !== undefined && places.every((place) => place === undefined)) {
      findings.push(finding('storage-record', message, `${message.name} has a key nowhere; say server or device`))
    }
    for (const place of places) {
      if (place === undefined || (place.number >= 1 && place.number <= 0xfe)) continue
      const text = `${message.name} has the storage number ${place.number}; choose one from 1 to 254`
      findings.push(finding('storage-range', message, text))
    }
  }
  const taken = storageRecords(model).map(({ message, keeper, place }) => ({ message, keeper, place, at: message.at }))
  return [
    ...findings,
    ...duplicates(
      'storage-duplicate',
      taken,
      ({ keeper, place }) => `${keeper} ${place.ofDocument} ${place.number}`,
      ({ message, keeper, place }, first) =>
        `${message.name} has the storage number of ${first.message.name} on a ${keeper}, ${place.number}; choose a free one`
    )
  ]
}

function errorFindings(model: Model): readonly Finding[] {
  const findings: Finding[] = []
  for (const value of enumNamed(model, errorEnumName)?.values ?? []) {
    if (value.number === 0) continue
    if (value.error === undefined || value.error.retry === undefined || value.error.summary === '') {
      const text = `${value.name} does not say retry and summary; add option (heddle.options.v1.error)`
      findings.push(finding('error-info', value, text))
    }
  }
  return findings
}

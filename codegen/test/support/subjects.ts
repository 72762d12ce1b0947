/** The codecs under test, those of the protocol and those of the fixtures, each with its model and its oracles. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import {
  buildImage,
  type Image,
  isExported,
  type Message,
  type Model,
  readModel,
  temporaryFolder,
  wirePackage
} from '@heddle/codegen'
import * as protocol from '../../../core/src/wire/index.js'
import type { Codec } from '../../../core/src/wire/index.js'
import * as fixture from '../fixtures/generated/index.js'
import type { AnyMessage } from './arbitraries.js'
import { compileFixtures, repository } from './compile.js'
import { type Reference, reference } from './reference.js'
import { type TsProtoType, tsProtoTypes } from './ts-proto.js'

export interface Subject {
  readonly name: string
  readonly message: Message
  readonly model: Model
  readonly codec: Codec<AnyMessage>
  readonly reference: Reference
}

/** A subject with ts-proto's codec of it. */
export interface ComparedSubject extends Subject {
  readonly tsProto: TsProtoType
}

/** Every exported message of both schemas. */
export async function subjects(): Promise<readonly Subject[]> {
  await using folder = await temporaryFolder()
  return (await schemas(folder.path)).flatMap(({ model, exports }) => subjectsOf(model, exports))
}

/** The same with ts-proto's codecs, which take a few seconds to make. */
export async function comparedSubjects(): Promise<readonly ComparedSubject[]> {
  await using folder = await temporaryFolder()
  const compared: ComparedSubject[] = []
  for (const { model, image, exports } of await schemas(folder.path)) {
    const tsProto = await tsProtoTypes(image, model, folder.path)
    for (const subject of subjectsOf(model, exports)) compared.push({ ...subject, tsProto: tsProto(subject.message) })
  }
  return compared
}

interface Schema {
  readonly model: Model
  readonly image: Image
  /** All that the index of its generated folder exports. */
  readonly exports: Readonly<Record<string, unknown>>
}

async function schemas(folder: string): Promise<readonly Schema[]> {
  const ofProtocol = join(folder, 'protocol')
  const ofFixture = join(folder, 'fixture')
  await Promise.all([ofProtocol, ofFixture].map((path) => mkdir(path)))
  const images = await Promise.all([buildImage(repository, ofProtocol), compileFixtures(ofFixture)])
  return [
    { model: readModel(images[0].bytes, wirePackage), image: images[0], exports: protocol },
    { model: readModel(images[1].bytes, 'fixture.v1'), image: images[1], exports: fixture }
  ]
}

function subjectsOf(model: Model, exports: Readonly<Record<string, unknown>>): readonly Subject[] {
  const files = [...new Set([...model.messages, ...model.enums].map((declared) => declared.at.file))]
  const independent = reference(model, files)
  return model.messages.filter(isExported).map((message) => {
    const codec = exports[message.name] as Codec<AnyMessage> | undefined
    if (codec === undefined) throw new Error(`${message.name} has no codec`)
    return { name: `${model.packageName}.${message.name}`, message, model, codec, reference: independent }
  })
}

/** The codecs under test, those of the protocol and those of the fixtures, each with its model and its reference. */
import { isExported, type Message, type Model, readModel, temporaryFolder } from '@heddle/codegen'
import * as protocol from '../../../core/src/wire/index.js'
import type { Codec } from '../../../core/src/wire/index.js'
import * as fixture from '../fixtures/generated/index.js'
import type { AnyMessage } from './arbitraries.js'
import { compileFixtures, protocolModel } from './compile.js'
import { type Reference, reference } from './reference.js'

export interface Subject {
  readonly name: string
  readonly message: Message
  readonly model: Model
  readonly codec: Codec<AnyMessage>
  readonly reference: Reference
}

/** Every exported message of both schemas. */
export async function subjects(): Promise<readonly Subject[]> {
  await using folder = await temporaryFolder()
  const fixtureModel = readModel((await compileFixtures(folder.path)).bytes, 'fixture.v1')
  return [...subjectsOf(await protocolModel(), protocol), ...subjectsOf(fixtureModel, fixture)]
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

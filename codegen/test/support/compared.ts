/** The codecs under test, each with ts-proto's codec of the same message beside it: what the long searches work on. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { buildImage, readModel, temporaryFolder, wirePackage } from '@heddle/codegen'
import { compileFixtures, repository } from './compile.js'
import { type Subject, subjects } from './subjects.js'
import { type TsProtoType, tsProtoTypes } from './ts-proto.js'

export interface ComparedSubject extends Subject {
  readonly tsProto: TsProtoType
}

/** Every exported message of the protocol and of the fixtures. Takes a few seconds. */
export async function comparedSubjects(): Promise<readonly ComparedSubject[]> {
  await using folder = await temporaryFolder()
  const types = new Map<string, Awaited<ReturnType<typeof tsProtoTypes>>>()
  const schemas = [
    [wirePackage, (path: string) => buildImage(repository, path)],
    ['fixture.v1', compileFixtures]
  ] as const
  for (const [packageName, compile] of schemas) {
    const path = join(folder.path, packageName)
    await mkdir(path)
    const image = await compile(path)
    types.set(packageName, await tsProtoTypes(image, readModel(image.bytes, packageName), path))
  }
  return (await subjects()).map((subject) => {
    const tsProto = types.get(subject.model.packageName)?.(subject.message)
    if (tsProto === undefined) throw new Error(`${subject.name} is of no schema that ts-proto was given`)
    return { ...subject, tsProto }
  })
}

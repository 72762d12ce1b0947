/**
 * Finds the comment and the line of a declaration in the source information of its file
 * (google.protobuf.SourceCodeInfo). Called by build.ts only.
 */
import type { DescEnum, DescEnumValue, DescField, DescFile, DescMessage, DescOneof } from '@bufbuild/protobuf'
import type { Location } from './types.js'

type Declared = DescMessage | DescEnum | DescField | DescEnumValue | DescOneof

export interface Source {
  /** The leading comment in one line; empty when there is none. */
  comment(declared: Declared): string
  location(declared: Declared): Location
}

/** Reads the source information of each file once. */
export function sourceReader(): Source {
  const files = new Map<DescFile, ReadonlyMap<string, { comment: string; line: number }>>()
  const lookUp = (declared: Declared) => {
    const file = fileOf(declared)
    let entries = files.get(file)
    if (entries === undefined) {
      entries = indexSource(file)
      files.set(file, entries)
    }
    return entries.get(pathOf(declared).join('.'))
  }
  return {
    comment: (declared) => lookUp(declared)?.comment ?? '',
    location: (declared) => ({ file: `${fileOf(declared).name}.proto`, line: lookUp(declared)?.line ?? 1 })
  }
}

function indexSource(file: DescFile): ReadonlyMap<string, { comment: string; line: number }> {
  const entries = new Map<string, { comment: string; line: number }>()
  for (const location of file.proto.sourceCodeInfo?.location ?? []) {
    const comment = location.leadingComments.trim().replace(/\s+/g, ' ')
    entries.set(location.path.join('.'), { comment, line: (location.span[0] ?? 0) + 1 })
  }
  return entries
}

function fileOf(declared: Declared): DescFile {
  return declared.kind === 'message' || declared.kind === 'enum' ? declared.file : declared.parent.file
}

/** Field numbers of descriptor.proto and positions, as SourceCodeInfo.Location.path has them. */
function pathOf(declared: Declared): readonly number[] {
  switch (declared.kind) {
    case 'message':
      return declared.parent === undefined
        ? [4, declared.file.proto.messageType.indexOf(declared.proto)]
        : [...pathOf(declared.parent), 3, declared.parent.proto.nestedType.indexOf(declared.proto)]
    case 'enum':
      return declared.parent === undefined
        ? [5, declared.file.proto.enumType.indexOf(declared.proto)]
        : [...pathOf(declared.parent), 4, declared.parent.proto.enumType.indexOf(declared.proto)]
    case 'field':
      return [...pathOf(declared.parent), 2, declared.parent.proto.field.indexOf(declared.proto)]
    case 'oneof':
      return [...pathOf(declared.parent), 8, declared.parent.proto.oneofDecl.indexOf(declared.proto)]
    case 'enum_value':
      return [...pathOf(declared.parent), 2, declared.parent.proto.value.indexOf(declared.proto)]
  }
}

/**
 * The program under test of protobuf's official conformance runner: reads requests from standard input and answers each,
 * with codecs that codegen made of the runner's own schemas. Bundled and started by conformance.test.ts.
 */
import { readSync, writeSync } from 'node:fs'
import { type Codec, WireError } from '../../../core/src/wire/index.js'

/** The codecs of conformance.proto, and the messages under test by their full name. */
export interface Codecs {
  readonly request: Codec<ConformanceRequest>
  readonly response: Codec<ConformanceResponse>
  readonly messages: Readonly<Record<string, Codec<unknown>>>
}

interface ConformanceRequest {
  readonly payload: { readonly $case: string; readonly value: Uint8Array | string } | undefined
  readonly requestedOutputFormat: number
  readonly messageType: string
}

interface ConformanceResponse {
  readonly result: { readonly $case: string; readonly value: Uint8Array | string }
}

const wireFormatProtobuf = 1
const standardInput = 0
const standardOutput = 1

/** Answers until the runner closes the pipe. */
export function serve({ request, response, messages }: Codecs): void {
  for (let bytes = readFrame(); bytes !== undefined; bytes = readFrame()) {
    const answer = response.encode({ result: answerTo(request.decode(bytes), messages) })
    const frame = Buffer.alloc(4 + answer.length)
    frame.writeUInt32LE(answer.length)
    frame.set(answer, 4)
    for (let sent = 0; sent < frame.length; ) sent += writeSync(standardOutput, frame, sent)
  }
}

function answerTo(request: ConformanceRequest, messages: Codecs['messages']): ConformanceResponse['result'] {
  // The first request asks for the tests that are expected to fail: they are in a file instead.
  if (request.messageType === 'conformance.FailureSet') return { $case: 'protobufPayload', value: new Uint8Array(0) }
  const codec = messages[request.messageType]
  const { payload } = request
  if (codec === undefined) return { $case: 'skipped', value: `${request.messageType} is not proto3` }
  if (payload?.$case !== 'protobufPayload' || !(payload.value instanceof Uint8Array)) {
    return { $case: 'skipped', value: 'there is only the binary format' }
  }
  if (request.requestedOutputFormat !== wireFormatProtobuf) {
    return { $case: 'skipped', value: 'there is only the binary format' }
  }
  let message: unknown
  try {
    message = codec.decode(payload.value)
  } catch (error) {
    if (error instanceof WireError) return { $case: 'parseError', value: error.message }
    return { $case: 'runtimeError', value: String(error) }
  }
  try {
    return { $case: 'protobufPayload', value: codec.encode(message) }
  } catch (error) {
    if (error instanceof WireError) return { $case: 'serializeError', value: error.message }
    return { $case: 'runtimeError', value: String(error) }
  }
}

/** The next request, or undefined at the end. */
function readFrame(): Uint8Array | undefined {
  const head = readExactly(4)
  return head && readExactly(new DataView(head.buffer).getUint32(0, true))
}

function readExactly(length: number): Uint8Array | undefined {
  const bytes = new Uint8Array(length)
  for (let done = 0; done < length; ) {
    const count = readSync(standardInput, bytes, done, length - done, null)
    if (count === 0) return undefined
    done += count
  }
  return bytes
}

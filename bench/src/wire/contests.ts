/**
 * What is measured: each sample, decoded and encoded by each contender. Before anything is timed it is made sure that all
 * of them do the same work: equal bytes out, equal messages in.
 */
import { isDeepStrictEqual } from 'node:util'
import type * as wire from '../../../core/src/wire/index.js'
import type { Codec } from '../../../core/src/wire/index.js'
import * as byHand from './hand-written.js'
import type { Libraries } from './libraries.js'
import { batch, envelope, snapshot, vote } from './samples.js'

export const contenders = ['heddle', 'hand-written', 'ts-proto', 'protobufjs'] as const
export type Contender = (typeof contenders)[number]

/** The modules of the schema in which ts-proto finds the messages. */
export const wireHomes = { Vote: 'paxos', Envelope: 'sync', StatePayload: 'sync', Frame: 'frame' }

/** One kind of work, done by everyone. */
export interface Contest {
  /** "decode.vote". */
  readonly id: string
  /** "decode a vote". */
  readonly label: string
  /** Size of the message, bytes. */
  readonly size: number
  readonly tasks: Readonly<Record<Contender, () => unknown>>
}

type Wire = typeof wire

/** A sample, and who can read and write it. */
interface Sample<T> {
  readonly id: string
  readonly what: string
  /** Name of its type. */
  readonly name: keyof typeof wireHomes
  readonly message: T
  readonly codec: Codec<T>
  readonly byHand: Codec<T>
}

/** The contests on all samples. Throws when two contenders disagree. */
export function newContests({ Vote, Envelope, Frame, StatePayload }: Wire, libraries: Libraries): readonly Contest[] {
  const samples = [
    contest(libraries, {
      ...{ id: 'vote', what: 'a Paxos vote', name: 'Vote', message: vote, codec: Vote },
      byHand: { decode: byHand.decodeVote, encode: byHand.encodeVote }
    }),
    contest(libraries, {
      ...{ id: 'envelope', what: 'an envelope of 100 bytes', name: 'Envelope', message: envelope, codec: Envelope },
      byHand: { decode: byHand.decodeEnvelope, encode: byHand.encodeEnvelope }
    }),
    contest(libraries, {
      ...{ id: 'batch', what: 'a batch of 1000', name: 'Frame', message: batch, codec: Frame },
      byHand: { decode: byHand.decodeBatch, encode: byHand.encodeBatch }
    }),
    contest(libraries, {
      ...{ id: 'snapshot', what: 'a snapshot of 1 MiB', name: 'StatePayload', message: snapshot, codec: StatePayload },
      byHand: { decode: byHand.decodeSnapshot, encode: byHand.encodeSnapshot }
    })
  ]
  return samples.flat()
}

function contest<T>(libraries: Libraries, sample: Sample<T>): readonly Contest[] {
  const { id, what, name, message, codec } = sample
  const bytes = codec.encode(message)
  const tsProto = libraries.tsProto(name)
  const protobufjs = libraries.protobufjs(name)
  const tsProtoMessage = tsProto.decode(bytes)
  const protobufjsMessage = protobufjs.decode(bytes)
  const decode = {
    heddle: () => codec.decode(bytes),
    'hand-written': () => sample.byHand.decode(bytes),
    'ts-proto': () => tsProto.decode(bytes),
    protobufjs: () => protobufjs.decode(bytes)
  }
  const encode = {
    heddle: () => codec.encode(message),
    'hand-written': () => sample.byHand.encode(message),
    'ts-proto': () => tsProto.encode(tsProtoMessage).finish(),
    protobufjs: () => protobufjs.encode(protobufjsMessage).finish()
  }
  for (const contender of ['heddle', 'hand-written', 'ts-proto'] as const) {
    if (!isDeepStrictEqual(decode[contender](), message))
      throw new Error(`${contender} reads ${what} as another message`)
  }
  for (const contender of contenders) {
    if (Buffer.compare(encode[contender](), bytes) !== 0) throw new Error(`${contender} writes ${what} as other bytes`)
  }
  return [
    { id: `decode.${id}`, label: `decode ${what}`, size: bytes.length, tasks: decode },
    { id: `encode.${id}`, label: `encode ${what}`, size: bytes.length, tasks: encode }
  ]
}

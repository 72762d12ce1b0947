/**
 * What the command writes: results on stdout, remarks for a person on stderr. Colour only where a person looks.
 */
import type { Report } from './generated/reports.js'

export interface Terminal {
  /** A line of the result. */
  line(text?: string): void
  /** Text as it is, without a line end. */
  write(text: string): void
  /** One line of JSON: the result for a program, as conformance/schemas describes it. */
  json<R extends Report>(value: R): void
  /** A remark for a person. */
  note(text: string): void
  readonly paint: Paint
  /** A person sees the remarks as they come. */
  readonly isWatched: boolean
}

export type Paint = { readonly [C in keyof typeof codes]: (text: string) => string }

const codes = { bold: [1, 22], dim: [2, 22], red: [31, 39], green: [32, 39], yellow: [33, 39], cyan: [36, 39] } as const

type Stream = Pick<NodeJS.WriteStream, 'write' | 'isTTY'>

export function terminal(
  stdout: Stream,
  stderr: Stream,
  environment: Readonly<Record<string, string | undefined>>
): Terminal {
  const colour = stdout.isTTY === true && !environment.NO_COLOR && environment.TERM !== 'dumb'
  return {
    line: (text = '') => void stdout.write(`${text}\n`),
    write: (text) => void stdout.write(text),
    json: (value) => void stdout.write(`${JSON.stringify(value, jsonValue)}\n`),
    note: (text) => void stderr.write(`${text}\n`),
    paint: paintWith(colour),
    isWatched: stderr.isTTY === true
  }
}

function paintWith(colour: boolean): Paint {
  const brush =
    ([on, off]: readonly [number, number]) =>
    (text: string) =>
      colour ? `\u001b[${on}m${text}\u001b[${off}m` : text
  return {
    bold: brush(codes.bold),
    dim: brush(codes.dim),
    red: brush(codes.red),
    green: brush(codes.green),
    yellow: brush(codes.yellow),
    cyan: brush(codes.cyan)
  }
}

/** Epochs and sequence numbers are bigint and far below 2^53. */
const jsonValue = (_key: string, value: unknown): unknown => (typeof value === 'bigint' ? Number(value) : value)

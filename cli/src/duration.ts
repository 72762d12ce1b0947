/** Durations as people write them on a command line: "90s", "30m", "1h", "2d", "1w". */
import { HeddleError } from '@heddle/core'

const unitMs: Readonly<Record<string, number>> = {
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000
}

/** Milliseconds. Throws CONFIG_INVALID for anything but a whole number above 0 with a unit. */
export function parseDuration(text: string): number {
  const [, digits = '', unit = ''] = /^(\d{1,6})([smhdw])$/.exec(text) ?? []
  const durationMs = Number(digits) * (unitMs[unit] ?? 0)
  if (durationMs > 0) return durationMs
  throw new HeddleError(
    'CONFIG_INVALID',
    `"${text}" is no duration; write a number and a unit, like 90s, 30m, 1h or 7d`
  )
}

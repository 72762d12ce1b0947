/** The log of a child: what goes wrong in it is shown when the benchmark fails. */
import type { Log } from 'heddle'

export const logToStderr: Log = (level, event, fields = {}) => {
  if (level !== 'warn' && level !== 'error') return
  const details = Object.entries(fields).map(([name, value]) => `${name}=${String(value)}`)
  process.stderr.write(`${[level, event, ...details].join(' ')}\n`)
}

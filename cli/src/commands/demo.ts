/** `heddle demo`: plays the demo and reports. */
import { HeddleError } from '@heddle/core'
import { Command, InvalidArgumentError, Option } from 'commander'
import { runDemo } from '../demo/demo.js'
import { failedChecks, printReport } from '../demo/report.js'
import type { DemoTransport } from '../demo/story.js'
import type { Surroundings } from '../session.js'

interface Options {
  readonly seed: number
  readonly transport: DemoTransport
  readonly trace?: string
  readonly characters?: number
  readonly keep?: true
  readonly json?: true
}

export function demoCommand({ terminal, signal }: Surroundings): Command {
  return new Command('demo')
    .description('three servers and three devices as real processes: two people write two chapters at once')
    .option('--seed <n>', 'what the typists do; the same number types the same', wholeNumber, 1)
    .addOption(
      new Option('--transport <kind>', 'how servers are reached; with both, A has iroh and the others WebSocket')
        .choices(['websocket', 'iroh', 'both'])
        .default('websocket')
    )
    .option('--trace <file>', 'A replays a recorded editing history (josephg/editing-traces) instead of typing')
    .option('--characters <n>', 'type about so many characters only', wholeNumber)
    .option('--keep', 'leave the folders of servers and devices behind, and say where')
    .option('--json', 'print the measures as one line of JSON, last')
    .addHelpText(
      'after',
      `
A server is killed and restarted, a writer goes offline and loses power, keys are renewed, a reader
is removed. Takes about half a minute; leaves no process, port or folder behind.

A history of several authors is put in one line first, as its positions are valid at one version
only, and A replays it; B types chapter II in its own section meanwhile.`
    )
    .action(async (options: Options) => {
      const report = await runDemo({
        seed: options.seed,
        transport: options.transport,
        keep: options.keep === true,
        ...(options.trace !== undefined && { trace: options.trace }),
        ...(options.characters !== undefined && { characters: options.characters }),
        signal,
        // With --json, stdout is for the program.
        say: (line) => (options.json ? terminal.note(line) : terminal.line(line))
      })
      if (options.json) terminal.json(report.measures)
      else printReport(report, terminal)
      const failed = failedChecks(report)
      if (failed.length === 0) return
      const what = failed.map(({ what, found }) => (found === undefined ? what : `${what} (${found})`))
      throw new HeddleError('INTERNAL', `the demo failed, this does not hold: ${what.join('; ')}`)
    })
}

function wholeNumber(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text)
  throw new InvalidArgumentError('It is a whole number.')
}

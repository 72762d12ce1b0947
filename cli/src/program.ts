/**
 * The command line: every command with its options, and how a run of it ends. `main.ts` runs it; tests look at its help.
 */
import { type Argument, Command } from 'commander'
import { demoCommand } from './commands/demo.js'
import { docCommand } from './commands/doc.js'
import { serveCommand } from './commands/serve.js'
import { exitCodes, failureOf } from './failure.js'
import type { Surroundings } from './session.js'
import { version } from './version.js'

export function createProgram(surroundings: Surroundings): Command {
  const program = new Command('heddle')
    .description('Local-first documents, end-to-end encrypted, synced through servers nobody has to trust.')
    .version(version, '-V, --version', 'print the version')
    .helpCommand('help [command]', 'show help for a command')
    .configureOutput({
      writeOut: (text) => surroundings.terminal.write(text),
      writeErr: (text) => surroundings.terminal.note(text.trimEnd())
    })
    .addHelpText(
      'after',
      `
Examples:
  $ heddle demo
      three servers, three people, one document: typed, killed, cut off, and whole in the end
  $ heddle serve --listen ws://127.0.0.1:8440 --data server1
      runs a server and prints its ticket, ws://127.0.0.1:8440/#<server id>
  $ heddle doc create --server "ws://127.0.0.1:8440/#<server id>"
      creates a document there and prints its id
  $ heddle doc invite <doc> --wait
      prints a link for one more device and adds it when it comes
  $ heddle doc join "<link>" --data other/device
  $ heddle doc edit <doc>
      appends the lines you type and shows what others type

Exit codes: 0 done, 1 failed, 2 wrong input or nothing there to work with.
HEDDLE_DEBUG=1 adds stack traces, NO_COLOR=1 leaves colours out.`
    )
  // All of them have options; said each time, that would leave no room for what they do.
  program.configureHelp({
    subcommandTerm: (command) => [command.name(), ...command.registeredArguments.map(term)].join(' ')
  })
  program.addCommand(serveCommand(surroundings))
  program.addCommand(docCommand(surroundings))
  program.addCommand(demoCommand(surroundings))
  return inherit(program.exitOverride().showHelpAfterError('("heddle help" shows what there is)'))
}

/** Runs it with the arguments after "heddle". Returns the exit code; never throws. */
export async function run(
  args: readonly string[],
  surroundings: Surroundings,
  environment: Readonly<Record<string, string | undefined>>
): Promise<number> {
  const { terminal, signal } = surroundings
  try {
    await createProgram(surroundings).parseAsync(args, { from: 'user' })
    return exitCodes.ok
  } catch (error) {
    if (signal.aborted) {
      terminal.note('Stopped.')
      return exitCodes.interrupted
    }
    const { exitCode, sentence } = failureOf(error)
    if (sentence !== undefined) terminal.note(`heddle: ${sentence}`)
    if (environment.HEDDLE_DEBUG) terminal.note(debugText(error))
    return exitCode
  }
}

/** Every command below takes on the settings: errors are thrown instead of ending the process, output goes one way. */
function inherit(command: Command): Command {
  for (const child of command.commands) inherit(child.copyInheritedSettings(command))
  return command
}

const term = (argument: Argument): string => (argument.required ? `<${argument.name()}>` : `[${argument.name()}]`)

function debugText(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const cause = error.cause === undefined ? '' : `\ncaused by: ${debugText(error.cause)}`
  return `${error.stack ?? error.message}${cause}`
}

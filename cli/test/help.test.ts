import { PassThrough } from 'node:stream'
import type { Command } from 'commander'
import { describe, expect, it } from 'vitest'
import { createProgram } from '../src/program.js'
import { terminal } from '../src/terminal.js'

function programWithOutput() {
  const written: string[] = []
  const stream = { isTTY: false, write: (text: string | Uint8Array) => written.push(String(text)) > 0 }
  const program = createProgram({
    terminal: terminal(stream, stream, {}),
    signal: new AbortController().signal,
    stdin: new PassThrough()
  })
  const widen = (command: Command) => {
    command.configureOutput({ getOutHelpWidth: () => 80 })
    command.commands.forEach(widen)
  }
  widen(program)
  return { program, written }
}

function* everyCommand(command: Command): Generator<Command> {
  yield command
  for (const child of command.commands) yield* everyCommand(child)
}

describe('help', () => {
  it('reads as recorded, for every command', async () => {
    const { program, written } = programWithOutput()
    for (const command of everyCommand(program)) {
      written.push(`\n===== ${command.name()} =====\n`)
      command.outputHelp()
    }
    await expect(written.join('')).toMatchFileSnapshot('./help.txt')
  })

  it('describes every command, argument and option, in lines that fit', () => {
    const { program, written } = programWithOutput()
    for (const command of everyCommand(program)) {
      expect(command.description(), command.name()).not.toBe('')
      for (const option of command.options) expect(option.description, option.flags).not.toBe('')
      for (const argument of command.registeredArguments) {
        expect(argument.description, `${command.name()} ${argument.name()}`).not.toBe('')
      }
      command.outputHelp()
    }
    for (const line of written.join('').split('\n')) expect(line.length).toBeLessThanOrEqual(100)
  })
})

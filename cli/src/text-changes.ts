/** Shows on a terminal how others change a Y.Text while it is open. Used by `doc show --follow` and `doc edit`. */
import type * as Y from 'yjs'
import type { TextChangeReport } from './generated/reports.js'
import type { Terminal } from './terminal.js'

/** Prints every change that comes from another device, until disposed of. */
export function printChanges(text: Y.Text, terminal: Terminal, json: boolean): Disposable {
  const { paint } = terminal
  const observer = (event: Y.YTextEvent, transaction: Y.Transaction) => {
    if (transaction.local) return
    let at = 0
    for (const { retain, insert, delete: remove } of event.delta) {
      if (retain !== undefined) at += retain
      if (remove !== undefined) {
        if (json) terminal.json<TextChangeReport>({ at, delete: remove })
        else terminal.line(paint.red(`- ${at}: ${remove} ${remove === 1 ? 'character' : 'characters'}`))
      }
      if (typeof insert === 'string') {
        if (json) terminal.json<TextChangeReport>({ at, insert })
        else terminal.line(paint.green(`+ ${at}: ${insert.replace(/^\n|\n$/g, '')}`))
        at += insert.length
      }
    }
  }
  text.observe(observer)
  return { [Symbol.dispose]: () => text.unobserve(observer) }
}

import { describe, expect, it } from 'vitest'
import { terminal } from './terminal.js'

function collect(isTTY: boolean, environment: Record<string, string>) {
  const out: string[] = []
  const err: string[] = []
  const stream = (list: string[]) => ({ isTTY, write: (text: string | Uint8Array) => list.push(String(text)) > 0 })
  return { out, err, terminal: terminal(stream(out), stream(err), environment) }
}

describe('terminal', () => {
  it('colours on a TTY only, and not with NO_COLOR', () => {
    expect(collect(true, {}).terminal.paint.red('x')).toBe('\u001b[31mx\u001b[39m')
    expect(collect(false, {}).terminal.paint.red('x')).toBe('x')
    expect(collect(true, { NO_COLOR: '1' }).terminal.paint.red('x')).toBe('x')
    expect(collect(true, { TERM: 'dumb' }).terminal.paint.red('x')).toBe('x')
  })

  it('keeps results and remarks apart', () => {
    const { out, err, terminal: both } = collect(false, {})
    both.line('result')
    both.note('remark')
    both.json({ document: 'd', epoch: 3n, text: 'a\nb' })
    expect(out).toEqual(['result\n', '{"document":"d","epoch":3,"text":"a\\nb"}\n'])
    expect(err).toEqual(['remark\n'])
  })
})

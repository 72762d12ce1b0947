import { describe, expect, it } from 'vitest'
import { parseArguments } from '../src/arguments.js'
import { type Metric, metric } from '../src/metric.js'
import { findings, format, json, type Report, type ScenarioResult, section } from '../src/report.js'

const result = (name: string, metrics: readonly Metric[]): ScenarioResult => ({ name, about: 'x', seconds: 1, metrics })
const report = (...scenarios: readonly ScenarioResult[]): Report => ({
  quick: false,
  machine: { node: 'v20', platform: 'linux', cpu: 'x', cores: 2, load: 0 },
  scenarios
})
const streamed = (editsPerSecond: number) =>
  result('streamed', [
    metric(
      {
        id: 'streamed.edits-per-second',
        label: 'typed',
        unit: 'edits/s',
        yardstick: 'floor.streamed.edits-per-second'
      },
      [editsPerSecond]
    )
  ])
const floor = result('floor', [
  metric({ id: 'floor.streamed.edits-per-second', label: 'typed', unit: 'edits/s' }, [1_000])
])

const verdictOf = ({ isMet }: { readonly isMet?: boolean }) => isMet

describe('a section', () => {
  it('shows the ratio to a yardstick measured in the same run, and none without', () => {
    expect(section(streamed(2_500), [floor])).toContain('2.5 × the yardstick')
    expect(section(streamed(2_500), [])).not.toContain('yardstick')
    expect(JSON.parse(json(report(floor, streamed(2_500)))).scenarios[1].metrics[0].ratio).toBe(2.5)
  })

  it('shows how far the rounds lie apart', () => {
    const spread = metric({ id: 'a.b', label: 'b', unit: 'ms' }, [3, 1, 2])
    expect(section(result('a', [spread]), [])).toContain('1 to 3')
  })

  it('shows the target, and whether it is met', () => {
    const fast = metric({ id: 'a.b', label: 'b', unit: 'ms', target: { atMost: 8 } }, [3])
    const few = metric({ id: 'a.c', label: 'c', unit: 'edits/s', target: { atLeast: 9_000 } }, [100])
    expect(section(result('a', [fast]), [])).toContain('target ≤ 8: met')
    expect(section(result('a', [few]), [])).toContain('target ≥ 9,000: missed')
    expect(JSON.parse(json(report(result('a', [fast, few])))).scenarios[0].metrics.map(verdictOf)).toEqual([
      true,
      false
    ])
  })

  it('says why a scenario was skipped or failed', () => {
    expect(section({ ...result('a', []), skipped: 'no folder' }, [])).toContain('skipped: no folder')
    expect(section({ ...result('a', []), failed: 'it broke' }, [])).toContain('FAILED: it broke')
  })
})

describe('numbers', () => {
  it('have three digits, or are whole', () => {
    expect([0.12345, 1.2345, 99.96, 100.4, 12_345.6].map(format)).toEqual(['0.123', '1.23', '100', '100', '12,346'])
  })
})

describe('--check', () => {
  const paced = (p50: number) => result('paced', [metric({ id: 'paced.p50', label: 'p50', unit: 'ms' }, [p50])])

  it('accepts what is in bounds', () => {
    expect(findings(report(streamed(1_000), paced(20)))).toEqual([])
    expect(findings(report(paced(3)))).toEqual([])
  })

  it('names what is out of bounds', () => {
    expect(findings(report(streamed(999), paced(20.5)))).toEqual([
      'streamed.edits-per-second is 999 edits/s and has to be at least 1,000',
      'paced.p50 is 20.5 ms and has to be at most 20'
    ])
  })

  it('is not content with nothing', () => {
    expect(findings(report(floor))).toEqual(['nothing to check: run streamed or paced or group'])
  })
})

describe('the command line', () => {
  it('takes scenarios by name, and refuses names there are not', () => {
    expect(parseArguments(['--only', 'b', '--only', 'a', '--quick'], ['a', 'b'])).toMatchObject({
      only: ['b', 'a'],
      quick: true,
      json: false
    })
    expect(() => parseArguments(['--only', 'c'], ['a', 'b'])).toThrow('there is no scenario "c"; there are a, b')
    expect(() => parseArguments(['--fast'], [])).toThrow('--fast')
  })
})

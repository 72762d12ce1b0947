/**
 * Two images for each kind of change: fixtures/compat/base.proto as released, and changed in one place. Every kind is
 * found, is all that is found, and has the severity it must have.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  type Change,
  compare,
  isAllowed,
  type Model,
  raisesVersion,
  readModels,
  temporaryFolder
} from '@heddle/codegen'
import { beforeAll, describe, expect, test } from 'vitest'
import { compileSources, fixtures } from './support/compile.js'

type Edit = readonly [from: string | RegExp, to: string]
/** What is done to the schema, and what is found: "severity rule place". */
type Case = readonly [what: string, edits: readonly Edit[], found: readonly string[]]

const option = (name: string, value: string) => `option (heddle.options.v1.${name}) = ${value};`
const frameOptions = (type: number, since = 1) =>
  `${option('frame_type', `${type}`)} ${option('direction', 'DIRECTION_BOTH')} ${option('max_size', '9')} ${option('since_version', `${since}`)}`

const limits: readonly Case[] = [
  ['a longer greatest length', [['max_len: 16', 'max_len: 17']], ['new_version limit-loosened Question.id']],
  ['a shorter greatest length', [['max_len: 16', 'max_len: 15']], ['breaking limit-tightened Question.id']],
  ['no greatest length', [[', max_len: 16', '']], ['new_version limit-loosened Question.id']],
  ['a longer least length', [['min_len: 4', 'min_len: 5']], ['breaking limit-tightened Question.id']],
  ['a shorter least length', [['min_len: 4', 'min_len: 3']], ['new_version limit-loosened Question.id']],
  ['more items', [['max_items: 9, max', 'max_items: 10, max']], ['new_version limit-loosened Question.numbers']],
  ['fewer items', [['max_items: 9, max', 'max_items: 8, max']], ['breaking limit-tightened Question.numbers']],
  ['more least items', [['min_items: 1', 'min_items: 2']], ['breaking limit-tightened Question.numbers']],
  ['a greater value', [['max_value: 100', 'max_value: 101']], ['new_version limit-loosened Question.numbers']],
  ['a smaller value', [['max_value: 100', 'max_value: 99']], ['breaking limit-tightened Question.numbers']],
  [
    'a limit where there was none',
    [['uint64 count = 5', 'uint64 count = 5 [(heddle.options.v1.limits) = {max_value: 7}]']],
    ['breaking limit-tightened Question.count']
  ],
  [
    'a field that need not be there',
    [['Inner inner = 8 [(heddle.options.v1.limits) = {required: true}]', 'Inner inner = 8']],
    ['new_version required-removed Question.inner']
  ],
  [
    'a field that must be there',
    [['Part part = 2', 'Part part = 2 [(heddle.options.v1.limits) = {required: true}]']],
    ['breaking required-added Statement.part']
  ],
  [
    'a oneof that must be there',
    [['uint32 first = 6', 'uint32 first = 6 [(heddle.options.v1.limits) = {required: true}]']],
    ['breaking required-added Question.first']
  ],
  [
    'a oneof that must be there, by a new member',
    [['uint32 second = 7;', 'uint32 second = 7; uint32 third = 20 [(heddle.options.v1.limits) = {required: true}];']],
    ['breaking required-added Question.choice', 'compatible field-added Question.third']
  ],
  [
    'a field that must be there, as absence would be a zero below its limit',
    [['optional bytes mark', 'bytes mark']],
    ['breaking required-added Question.mark']
  ],
  ['an enum that is open', [[', defined_only: true', '']], ['new_version defined-only-removed Question.colour']],
  [
    'an enum that is closed',
    [['Mood mood = 4', 'Mood mood = 4 [(heddle.options.v1.limits) = {defined_only: true}]']],
    ['breaking defined-only-added Question.mood']
  ],
  ['no order', [[', sorted_unique: true', '']], ['new_version sorted-removed Question.numbers']],
  [
    'an order',
    [
      [
        'Inner loose = 10 [(heddle.options.v1.limits) = {max_items: 9',
        'Inner loose = 10 [(heddle.options.v1.limits) = {max_items: 9, sorted_by: "number"'
      ]
    ],
    ['breaking sorted-added Question.loose']
  ],
  ['another order', [['sorted_by: "number"', 'sorted_by: "other"']], ['breaking sorted-key Question.list']],
  ['an order by a field', [[', sorted_by: "number"', '']], ['new_version sorted-removed Question.list']]
]

const fields: readonly Case[] = [
  ['a field', [['uint64 count = 5', 'uint64 count = 5; uint64 more = 20']], ['compatible field-added Question.more']],
  [
    'a required field',
    [['uint64 count = 5', 'uint64 count = 5; uint64 more = 20 [(heddle.options.v1.limits) = {min_value: 1}]']],
    ['breaking required-added Question.more']
  ],
  [
    'a field of a canonical message',
    [['Part part = 2', 'Part part = 2; uint32 more = 3']],
    ['new_version canonical-grew Statement.more']
  ],
  [
    'a field inside a canonical message',
    [[/message Part \{\s+uint32 number = 1/, 'message Part { uint32 number = 1; uint32 more = 2']],
    ['new_version canonical-grew Part.more']
  ],
  ['no field', [['uint64 count = 5;', '']], ['breaking field-removed Question.count']],
  ['another name', [['uint64 count = 5', 'uint64 amount = 5']], ['breaking field-reused Question.amount']],
  ['another type', [['uint64 count = 5', 'sint64 count = 5']], ['breaking field-type Question.count']],
  ['a list', [['Inner inner', 'repeated Inner inner']], ['breaking field-type Question.inner']],
  [
    'another number',
    [['uint64 count = 5', 'uint64 count = 50']],
    ['breaking field-removed Question.count', 'compatible field-added Question.count']
  ],
  [
    'a member of no oneof',
    [['uint32 second = 7;\n  }', '}\n  uint32 second = 7;']],
    ['breaking field-oneof Question.second']
  ],
  ['presence', [['uint64 count = 5', 'optional uint64 count = 5']], ['compatible field-presence Question.count']],
  [
    'presence in a canonical message',
    [['uint64 slot = 1', 'optional uint64 slot = 1']],
    ['new_version field-presence Statement.slot']
  ]
]

const messages: readonly Case[] = [
  ['nothing', [], []],
  ['a message', [['message Part {', 'message More {} message Part {']], ['compatible message-added More']],
  ['no message', [[/message Loose \{[^}]*\}/, '']], ['breaking message-removed Loose']],
  [
    'a message of its own that is none',
    [[/message Loose \{\s+option \(heddle.options.v1.top_level\) = true;/, 'message Loose {']],
    ['breaking codec-removed Loose']
  ],
  [
    'a frame of this version',
    [
      ['message Part {', `message More { ${frameOptions(12)} } message Part {`],
      ['Answer answer = 11;', 'Answer answer = 11; More more = 12;']
    ],
    ['new_version frame-added More', 'compatible field-added Frame.more']
  ],
  [
    'a frame of the next version',
    [
      ['message Part {', `message More { ${frameOptions(12, 2)} } message Part {`],
      ['Answer answer = 11;', 'Answer answer = 11; More more = 12;']
    ],
    ['compatible frame-added More', 'compatible field-added Frame.more']
  ],
  ['a larger size', [[/(message Answer \{[^}]*max_size\) = )1000/, '$1 1001']], ['new_version size-loosened Answer']],
  ['a smaller size', [[/(message Answer \{[^}]*max_size\) = )1000/, '$1 999']], ['breaking size-tightened Answer']],
  ['both directions', [['DIRECTION_DEVICE_TO_SERVER', 'DIRECTION_BOTH']], ['new_version direction-widened Question']],
  ['one direction', [['DIRECTION_BOTH', 'DIRECTION_SERVER_TO_DEVICE']], ['breaking direction-changed Answer']],
  [
    'the other direction',
    [['DIRECTION_DEVICE_TO_SERVER', 'DIRECTION_SERVER_TO_DEVICE']],
    ['breaking direction-changed Question']
  ],
  [
    'a canonical form',
    [[/message Loose \{/, `message Loose { ${option('canonical', 'true')}`]],
    ['breaking canonical-added Loose']
  ],
  [
    'no canonical form',
    [[/(message MoveProposal \{[\s\S]*?canonical\) = )true/, '$1 false']],
    ['new_version canonical-removed MoveProposal']
  ],
  ['a later beginning', [[/(message Loose \{[^}]*since_version\) = )1/, '$1 2']], ['breaking since-raised Loose']],
  [
    'an earlier beginning',
    [[/(message Later \{[^}]*since_version\) = )1/, '$1 0']],
    ['new_version since-lowered Later']
  ],
  ['another label', [['compat/1 statement', 'compat/1 word']], ['breaking label-changed Statement']]
]

const registries: readonly Case[] = [
  [
    'the frame number of another',
    [
      [/(message Question \{\s+option \(heddle.options.v1.frame_type\) = )10/, '$1 11'],
      [/(message Answer \{\s+option \(heddle.options.v1.frame_type\) = )11/, '$1 12'],
      ['Question question = 10;\n    Answer answer = 11;', 'Question question = 11;\n    Answer answer = 12;']
    ],
    [
      'breaking field-removed Frame.question',
      'breaking field-reused Frame.question',
      'breaking frame-renumbered Answer',
      'breaking frame-renumbered Question',
      'breaking frame-reused Question',
      'compatible field-added Frame.answer'
    ]
  ],
  [
    'the extension type of another',
    [['message RulesExtension', 'message OtherExtension']],
    [
      'breaking extension-reused OtherExtension',
      'breaking message-removed RulesExtension',
      'new_version extension-added OtherExtension'
    ]
  ],
  ['another extension type', [['0xF001', '0xF009']], ['breaking extension-renumbered RulesExtension']],
  ['one context less', [[', MLS_CONTEXT_GROUP_INFO', '']], ['breaking context-removed RulesExtension']],
  [
    'one context more',
    [['MLS_CONTEXT_GROUP_INFO]', 'MLS_CONTEXT_GROUP_INFO, MLS_CONTEXT_KEY_PACKAGE]']],
    ['new_version context-added RulesExtension']
  ],
  [
    'an extension everybody needs',
    [['MLS_CONTEXT_GROUP_INFO]', 'MLS_CONTEXT_GROUP_INFO], required: true']],
    ['new_version extension-required RulesExtension']
  ],
  [
    'the proposal type of another',
    [['message MoveProposal', 'message TurnProposal']],
    [
      'breaking message-removed MoveProposal',
      'breaking proposal-reused TurnProposal',
      'new_version proposal-added TurnProposal'
    ]
  ],
  ['another proposal type', [['0xF002', '0xF009']], ['breaking proposal-renumbered MoveProposal']],
  [
    'the label of another',
    [
      [/(message Statement \{[^}]*?)option \(heddle.options.v1.signature_label\) = "compat\/1 statement";/, '$1'],
      [/message RulesExtension \{/, `message RulesExtension { ${option('signature_label', '"compat/1 statement"')}`]
    ],
    [
      'breaking label-changed RulesExtension',
      'breaking label-changed Statement',
      'breaking label-reused RulesExtension'
    ]
  ],
  [
    'the storage number of another',
    [
      ['device: {number: 1}', 'device: {number: 2}'],
      [
        'message Loose {',
        `message LooseRecord { ${option('storage_record', '{device: {number: 1}}')} } message Loose {`
      ]
    ],
    [
      'breaking storage-moved FirstRecord',
      'breaking storage-reused LooseRecord',
      'compatible message-added LooseRecord',
      'compatible storage-added LooseRecord'
    ]
  ],
  ['another key', [['key: "slot"', 'key: "epoch"']], ['breaking storage-moved FirstRecord']],
  ['no longer stored', [[', device: {number: 1}', '']], ['breaking storage-removed FirstRecord']],
  [
    'a value of a closed enum',
    [['COLOUR_BLUE = 2;', 'COLOUR_BLUE = 2; COLOUR_RARE = 3;']],
    ['new_version enum-value-added COLOUR_RARE']
  ],
  [
    'a value of an open enum',
    [['MOOD_GOOD = 1;', 'MOOD_GOOD = 1; MOOD_BAD = 2;']],
    ['compatible enum-value-added MOOD_BAD']
  ],
  ['no value', [['COLOUR_BLUE = 2;', '']], ['breaking enum-value-removed COLOUR_BLUE']],
  [
    'a value with another meaning',
    [['COLOUR_BLUE = 2', 'COLOUR_PINK = 2']],
    ['breaking enum-value-reused COLOUR_PINK']
  ],
  [
    'no enum',
    [
      [/enum Mood \{[^}]*\}/, ''],
      ['Mood mood = 4;', '']
    ],
    ['breaking enum-removed Mood', 'breaking field-removed Question.mood']
  ],
  ['an enum', [['// An open enum.', 'enum More { MORE_UNSPECIFIED = 0; }']], ['compatible enum-added More']],
  [
    'an error',
    [['ERROR_CODE_LATE = 2', 'ERROR_CODE_MORE = 3; ERROR_CODE_LATE = 2']],
    ['compatible error-added ERROR_CODE_MORE']
  ],
  ['no error', [[/ERROR_CODE_LOST = 1 \[[^\]]*\];/, '']], ['breaking error-removed ERROR_CODE_LOST']],
  [
    'an error of another meaning',
    [['ERROR_CODE_LOST = 1', 'ERROR_CODE_GONE = 1']],
    ['breaking error-reused ERROR_CODE_GONE']
  ],
  [
    'another retry',
    [[/(LOST = 1 .*)RETRY_NEVER/, '$1RETRY_AFTER_DELAY']],
    ['new_version retry-changed ERROR_CODE_LOST']
  ],
  [
    'another retry of an error that stays here',
    [[/(LOCAL = 100 .*)RETRY_NEVER/, '$1RETRY_AFTER_DELAY']],
    ['compatible retry-changed ERROR_CODE_LOCAL']
  ],
  ['an error that is not fatal', [[', fatal: true', '']], ['new_version fatal-changed ERROR_CODE_LATE']],
  ['other words', [['Lost; look.', 'Lost; search.']], ['compatible summary-changed ERROR_CODE_LOST']]
]

const reports: readonly Case[] = [
  ['a property', [['uint64 count = 3', 'uint64 count = 3; bool more = 9']], ['compatible property-added Status.more']],
  ['no property', [['uint64 count = 3;', '']], ['breaking property-removed Status.count']],
  ['a property of another type', [['uint64 count', 'string count']], ['breaking property-type Status.count']],
  [
    'a property that may be absent',
    [['uint64 count', 'optional uint64 count']],
    ['breaking property-optional Status.count']
  ],
  ['a property that is always there', [['optional string', 'string']], ['compatible property-always Status.note']],
  ['another number', [['uint64 count = 3', 'uint64 count = 30']], []],
  ['a value', [['STATE_OFF = 2;', 'STATE_OFF = 2; STATE_SLOW = 3;']], ['new_version value-added STATE_SLOW']],
  ['no value', [['STATE_OFF = 2;', '']], ['compatible value-removed STATE_OFF']],
  ['no report', [[/message Status \{[^}]*\}/, '']], ['breaking report-removed Status']],
  ['a report', [['message Status', 'message More {} message Status']], ['compatible report-added More']]
]

const suites = [
  ['limits', 'base', limits],
  ['fields', 'base', fields],
  ['messages', 'base', messages],
  ['registries', 'base', registries],
  ['reports', 'report', reports]
] as const

const released = (base: string) => readFileSync(join(fixtures, 'compat', `${base}.proto`), 'utf8')
const packageOf = (suite: string, index: number) => `compat.${suite}${index}`
const names = suites.flatMap(([suite, , cases]) => cases.map((_, index) => packageOf(suite, index)))

/** The released schema in a package of its own, changed or not. Throws when an edit changes nothing. */
function sourceOf(base: string, name: string, edits: readonly Edit[]): string {
  let source = released(base)
  for (const [from, to] of edits) {
    const edited = source.replace(from, to)
    if (edited === source) throw new Error(`${name}: nothing to replace: ${from}`)
    source = edited
  }
  return source.replace(`package compat.${base};`, `package ${name};`)
}

async function compiled(changed: boolean): Promise<Uint8Array> {
  await using folder = await temporaryFolder()
  const sources = suites.flatMap(([suite, base, cases]) =>
    cases.map(([, edits], index) => {
      const name = packageOf(suite, index)
      return [`${name.replaceAll('.', '/')}.proto`, sourceOf(base, name, changed ? edits : [])] as const
    })
  )
  return (await compileSources(Object.fromEntries(sources), folder.path)).bytes
}

const text = ({ severity, rule, place }: Change) => `${severity} ${rule} ${place}`

describe('compatibility', () => {
  let before: ReadonlyMap<string, Model>
  let after: ReadonlyMap<string, Model>
  beforeAll(async () => {
    const read = async (changed: boolean) => {
      const models = readModels(await compiled(changed), names)
      return new Map(models.map((model) => [model.packageName, model]))
    }
    before = await read(false)
    after = await read(true)
  }, 120_000)
  const models = (suite: string, index: number): readonly [Model, Model] => {
    const [old, now] = [before.get(packageOf(suite, index)), after.get(packageOf(suite, index))]
    if (old === undefined || now === undefined) throw new Error(`no models of ${suite} ${index}`)
    return [old, now]
  }

  describe.each(suites)('%s', (suite, _, cases) => {
    test.each(cases.map(([what, , found], index) => [what, found, index] as const))('%s', (_, found, index) => {
      const changes = compare(...models(suite, index))
      expect(changes.map(text).sort()).toEqual([...found].sort())
      for (const { message } of changes) expect(message).not.toMatch(/undefined/)
    })
  })

  test('every kind of change has a case', () => {
    const found = new Set(
      suites.flatMap(([, , cases]) => cases.flatMap(([, , lines]) => lines.map((line) => line.split(' ')[1])))
    )
    const sources = ['fields', 'messages', 'registries', 'reports'].map((file) =>
      readFileSync(new URL(`../src/compat/${file}.ts`, import.meta.url), 'utf8')
    )
    const rules = sources.flatMap((source) => [...source.matchAll(/change\(\s*'([a-z-]+)'/g)].map((match) => match[1]))
    expect(rules.length).toBeGreaterThan(35)
    expect(rules.filter((rule) => !found.has(rule))).toEqual([])
  })

  test('the gravest change comes first, and decides', () => {
    const change = (severity: Change['severity']): Change => ({ rule: 'r', severity, place: 'p', message: 'm' })
    expect(isAllowed([], false)).toBe(true)
    expect(isAllowed([change('compatible')], false)).toBe(true)
    expect(isAllowed([change('new_version')], false)).toBe(false)
    expect(isAllowed([change('new_version')], true)).toBe(true)
    expect(isAllowed([change('breaking')], true)).toBe(false)
    const index = registries.findIndex(([what]) => what === 'the frame number of another')
    const severities = compare(...models('registries', index)).map(({ severity }) => severity)
    expect(severities).toEqual([...severities].sort((a, b) => a.localeCompare(b)))
  })

  test('a version is raised by what begins with it', () => {
    const of = (what: string) =>
      models(
        'messages',
        messages.findIndex(([name]) => name === what)
      )
    expect(raisesVersion(...of('a frame of the next version'))).toBe(true)
    expect(raisesVersion(...of('a frame of this version'))).toBe(false)
  })
})

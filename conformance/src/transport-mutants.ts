/**
 * Broken transports. Each wraps a right one, breaks one rule, and names the check that has to notice: the proof that the
 * suite sees. Run them against your own subject with `mutateTransport`.
 */
import {
  type Connection,
  type FrameStream,
  HeddleError,
  type Listener,
  type Manifest,
  type Transport,
  type TransportSupports
} from '@heddle/core'
import { ALPN, type TransportSubject } from './transport-bench.js'

/** Replaces what it returns; everything else of the right one stays. */
type Override<T> = (inner: T) => Partial<T>

export interface TransportMutant {
  readonly id: string
  /** The check that fails for it. */
  readonly caughtBy: string
  readonly supports?: (supports: TransportSupports) => Partial<TransportSupports>
  readonly transport?: Override<Transport>
  readonly listener?: Override<Listener>
  readonly connection?: Override<Connection>
  readonly accepted?: Override<Connection>
  readonly stream?: Override<FrameStream>
}

/** The subject with one rule broken. */
export function mutateTransport(subject: TransportSubject, mutant: TransportMutant): TransportSubject {
  const { supports } = subject.manifest
  const manifest: Manifest<'transport'> = {
    ...subject.manifest,
    supports: { ...supports, ...mutant.supports?.(supports) }
  }
  const create = async (start: Promise<Transport>) => wrapTransport(await start, mutant)
  return {
    manifest,
    create: (limits) => create(subject.create(limits)),
    // A manifest that denies a half it has leaves the other transport as it was.
    createCounterpart: (limits) => create((subject.createCounterpart ?? subject.create).call(subject, limits)),
    freeAddress: () => subject.freeAddress(),
    unreachableAddress: () => subject.unreachableAddress(),
    detour: (address) => subject.detour(address)
  }
}

export const TRANSPORT_MUTANTS: readonly TransportMutant[] = [
  { id: 'shouts-its-scheme', caughtBy: 'TRANSPORT-SCHEMES', transport: () => ({ schemes: ['WS:'] }) },
  { id: 'denies-listening', caughtBy: 'TRANSPORT-FLAG-LISTEN', supports: () => ({ listen: false }) },
  { id: 'denies-dialling', caughtBy: 'TRANSPORT-FLAG-DIAL', supports: () => ({ dial: false }) },
  { id: 'denies-datagrams', caughtBy: 'TRANSPORT-FLAG-DATAGRAMS', connection: () => ({ sendDatagram: () => {} }) },
  {
    id: 'lies-about-authentication',
    caughtBy: 'TRANSPORT-FLAG-PEER-AUTH',
    supports: ({ peerAuth }) => ({ peerAuth: !peerAuth })
  },
  { id: 'knows-nobody', caughtBy: 'TRANSPORT-PEER-KEYS', connection: () => ({ peer: new Uint8Array(32) }) },
  {
    id: 'ignores-expect-peer',
    caughtBy: 'TRANSPORT-EXPECT-PEER',
    transport: (inner) => ({
      dial: (address, { expectPeer: _ignored, ...options }) => inner.dial(address, options)
    })
  },
  {
    id: 'ignores-alpn',
    caughtBy: 'TRANSPORT-ALPN',
    transport: (inner) => ({ dial: (address, options) => inner.dial(address, { ...options, alpn: ALPN }) })
  },
  {
    id: 'fails-without-a-code',
    caughtBy: 'TRANSPORT-UNREACHABLE',
    transport: (inner) => ({
      dial: (address, options) =>
        inner.dial(address, options).catch((cause: unknown) => {
          throw new Error(`cannot dial ${address}`, { cause })
        })
    })
  },
  {
    id: 'dials-on-after-abort',
    caughtBy: 'TRANSPORT-DIAL-ABORT',
    transport: (inner) => ({
      dial: (address, options) => inner.dial(address, { ...options, signal: new AbortController().signal })
    })
  },
  { id: 'opens-after-abort', caughtBy: 'TRANSPORT-OPEN-ABORT', connection: (inner) => ({ open: () => inner.open() }) },
  {
    id: 'shares-its-address',
    caughtBy: 'TRANSPORT-ADDRESS-IN-USE',
    transport: (inner) => ({
      listen: async (options) => {
        try {
          return await listenOf(inner, options)
        } catch (error) {
          if (!HeddleError.is(error, 'TRANSPORT_ADDRESS_IN_USE')) throw error
          return { addresses: [options.address], connections: ended(), [Symbol.asyncDispose]: async () => {} }
        }
      }
    })
  },
  {
    id: 'never-stops-listening',
    caughtBy: 'TRANSPORT-LISTENER-DISPOSE',
    listener: (inner) => ({ connections: endless(inner.connections) })
  },
  {
    id: 'cannot-tell-a-goodbye',
    caughtBy: 'TRANSPORT-CLOSE',
    connection: (inner) => ({ closed: inner.closed.then(({ by }) => ({ by: by === 'remote' ? 'lost' : by })) })
  },
  {
    id: 'takes-a-loss-for-a-goodbye',
    caughtBy: 'TRANSPORT-LOSS',
    connection: (inner) => ({ closed: inner.closed.then(({ by }) => ({ by: by === 'lost' ? 'remote' : by })) })
  },
  {
    id: 'disposes-once',
    caughtBy: 'TRANSPORT-DISPOSE-TWICE',
    stream: (inner) => {
      let disposed = false
      return {
        [Symbol.asyncDispose]: async () => {
          if (disposed) throw new Error('already disposed of')
          disposed = true
          await inner[Symbol.asyncDispose]()
        }
      }
    }
  },
  {
    id: 'leaves-connections-behind',
    caughtBy: 'TRANSPORT-DISPOSE',
    transport: () => ({ [Symbol.asyncDispose]: async () => {} })
  },
  {
    id: 'swaps-neighbours',
    caughtBy: 'TRANSPORT-ORDER',
    stream: (inner) => {
      let count = 0
      let held: Uint8Array | undefined
      return {
        write: async (frame, signal) => {
          count += 1
          if (count > 1 && held === undefined) {
            held = new Uint8Array(frame)
            return
          }
          await inner.write(frame, signal)
          if (held !== undefined) await inner.write(held, signal)
          held = undefined
        }
      }
    }
  },
  {
    id: 'cuts-large-frames',
    caughtBy: 'TRANSPORT-LARGE-FRAME',
    stream: (inner) => ({ write: (frame, signal) => inner.write(frame.subarray(0, 65_536), signal) })
  },
  {
    id: 'loses-empty-frames',
    caughtBy: 'TRANSPORT-EMPTY-FRAME',
    stream: (inner) => ({
      write: async (frame, signal) => {
        if (frame.length > 0) await inner.write(frame, signal)
      }
    })
  },
  {
    id: 'mixes-up-streams',
    caughtBy: 'TRANSPORT-MANY-STREAMS',
    connection: (inner) => {
      let latest: FrameStream | undefined
      return {
        open: async (signal) => {
          const stream = await inner.open(signal)
          latest = stream
          return { ...delegateStream(stream), write: (frame, by) => (latest ?? stream).write(frame, by) }
        }
      }
    }
  },
  {
    id: 'only-the-dialler-opens',
    caughtBy: 'TRANSPORT-BOTH-DIRECTIONS',
    accepted: (inner) => ({ open: (signal) => inner.open(signal).then((stream) => mute(stream)) })
  },
  {
    id: 'buffers-without-bound',
    caughtBy: 'TRANSPORT-BACK-PRESSURE',
    stream: (inner) => ({
      write: async (frame) => {
        inner.write(new Uint8Array(frame)).catch(() => {})
      }
    })
  },
  {
    id: 'writes-on-after-abort',
    caughtBy: 'TRANSPORT-WRITE-ABORT',
    stream: (inner) => ({ write: (frame) => inner.write(frame) })
  },
  {
    id: 'finish-closes-both-directions',
    caughtBy: 'TRANSPORT-HALF-CLOSE',
    stream: (inner) => ({
      finish: async () => {
        await inner.finish()
        await inner[Symbol.asyncDispose]()
      }
    })
  },
  {
    id: 'finish-overtakes-writes',
    caughtBy: 'TRANSPORT-FINISH-DELIVERS',
    stream: (inner) => {
      let finished = false
      return {
        write: async (frame, signal) => {
          const copy = new Uint8Array(frame)
          await Promise.resolve()
          if (!finished) await inner.write(copy, signal)
        },
        finish: () => {
          finished = true
          return inner.finish()
        }
      }
    }
  },
  {
    id: 'reset-looks-like-the-end',
    caughtBy: 'TRANSPORT-RESET',
    stream: (inner) => ({
      [Symbol.asyncDispose]: async () => {
        await inner.finish().catch(() => {})
        await inner[Symbol.asyncDispose]()
      }
    })
  },
  {
    id: 'reads-once',
    caughtBy: 'TRANSPORT-READ-RESUMED',
    stream: (inner) => {
      const once = (async function* () {
        yield* inner.frames
      })()
      return { frames: once }
    }
  },
  {
    id: 'swallows-what-is-too-large',
    caughtBy: 'TRANSPORT-FRAME-TOO-LARGE',
    stream: (inner) => ({
      write: (frame, signal) =>
        inner.write(frame, signal).catch((error: unknown) => {
          if (!HeddleError.is(error, 'FRAME_TOO_LARGE')) throw error
        })
    })
  },
  {
    id: 'keeps-the-argument',
    caughtBy: 'TRANSPORT-OWNERSHIP',
    stream: (inner) => {
      let before = Promise.resolve()
      return {
        write: async (frame) => {
          before = before
            .then(() => new Promise<void>((resolve) => setTimeout(resolve)))
            .then(() => inner.write(frame))
            .catch(() => {})
        }
      }
    }
  }
]

function wrapTransport(inner: Transport, mutant: TransportMutant): Transport {
  const base: Transport = {
    schemes: inner.schemes,
    dial: (address, options) => inner.dial(address, options),
    ...(inner.listen === undefined ? {} : { listen: (options) => listenOf(inner, options) }),
    [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose]()
  }
  const broken: Transport = { ...base, ...mutant.transport?.(inner) }
  return {
    ...broken,
    dial: async (address, options) => wrapConnection(await broken.dial(address, options), mutant, mutant.connection),
    ...(broken.listen === undefined
      ? {}
      : { listen: async (options) => wrapListener(await listenOf(broken, options), mutant) })
  }
}

function wrapListener(inner: Listener, mutant: TransportMutant): Listener {
  const base: Listener = {
    addresses: inner.addresses,
    connections: inner.connections,
    [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose]()
  }
  const broken: Listener = { ...base, ...mutant.listener?.(inner) }
  const accepted: Override<Connection> = (connection) => ({
    ...mutant.connection?.(connection),
    ...mutant.accepted?.(connection)
  })
  return {
    ...broken,
    connections: mapped(broken.connections, (connection) => wrapConnection(connection, mutant, accepted))
  }
}

function wrapConnection(inner: Connection, mutant: TransportMutant, override?: Override<Connection>): Connection {
  const base: Connection = {
    peer: inner.peer,
    open: (signal) => inner.open(signal),
    incoming: inner.incoming,
    closed: inner.closed,
    ...(inner.sendDatagram === undefined ? {} : { sendDatagram: (bytes) => inner.sendDatagram?.(bytes) }),
    [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose]()
  }
  const broken: Connection = { ...base, ...override?.(inner) }
  const wrapStream = (stream: FrameStream): FrameStream => ({ ...delegateStream(stream), ...mutant.stream?.(stream) })
  return {
    ...broken,
    open: async (signal) => wrapStream(await broken.open(signal)),
    incoming: mapped(broken.incoming, wrapStream)
  }
}

function delegateStream(inner: FrameStream): FrameStream {
  return {
    frames: inner.frames,
    write: (frame, signal) => inner.write(frame, signal),
    finish: () => inner.finish(),
    [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose]()
  }
}

function mute(inner: FrameStream): FrameStream {
  return { ...delegateStream(inner), write: async () => {}, finish: async () => {} }
}

function listenOf(transport: Transport, options: Parameters<NonNullable<Transport['listen']>>[0]): Promise<Listener> {
  if (transport.listen === undefined) throw new Error('this transport does not listen')
  return transport.listen(options)
}

/** Maps without hiding that the iteration can be left and taken up again. */
function mapped<T>(source: AsyncIterable<T>, change: (value: T) => T): AsyncIterable<T> {
  return {
    [Symbol.asyncIterator]() {
      const iterator = source[Symbol.asyncIterator]()
      return {
        async next() {
          const result = await iterator.next()
          return result.done === true ? result : { done: false, value: change(result.value) }
        },
        return: async () => ({ done: true, value: undefined })
      }
    }
  }
}

function endless<T>(source: AsyncIterable<T>): AsyncIterable<T> {
  return {
    [Symbol.asyncIterator]() {
      const iterator = source[Symbol.asyncIterator]()
      return {
        async next() {
          const result = await iterator.next()
          return result.done === true ? new Promise<never>(() => {}) : result
        }
      }
    }
  }
}

async function* ended(): AsyncGenerator<never> {}

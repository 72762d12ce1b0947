/** Checks of frame streams: order, bounds, back-pressure, and how a stream ends (SPEC PLUGIN-*, transport). */
import { type Bench, bytesOf, ensure, equalBytes, later, MIB, pattern } from './transport-bench.js'
import type { TransportRule } from './transport.js'

/** More than any transport may take for a reader that does not read. */
const UNREAD_BYTES_MAX = 8 * MIB

export const STREAM_RULES: readonly TransportRule[] = [
  {
    id: 'TRANSPORT-ORDER',
    title: 'frames arrive complete, once, and in the order written',
    async run(bench) {
      const { client, server } = await bench.streams()
      const sizes = Array.from({ length: 400 }, (_, index) => (index * 37) % 1500)
      const writing = later(
        writeAll(
          client,
          sizes.map((size, index) => pattern(size, index))
        )
      )
      for (const [index, size] of sizes.entries()) {
        equalBytes(await bench.frame(server), pattern(size, index), `frame ${index}`)
      }
      await bench.within(writing, 'the writes')
    }
  },
  {
    id: 'TRANSPORT-LARGE-FRAME',
    title: 'a frame of 1 MiB crosses unchanged in both directions',
    async run(bench) {
      const { client, server } = await bench.streams()
      const frame = pattern(MIB, 7)
      for (const [from, to] of [[client, server] as const, [server, client] as const]) {
        const writing = later(from.write(frame))
        equalBytes(await bench.frame(to), frame, 'the frame of 1 MiB')
        await bench.within(writing, 'the write of 1 MiB')
      }
    }
  },
  {
    id: 'TRANSPORT-EMPTY-FRAME',
    title: 'an empty frame is a frame',
    async run(bench) {
      const { client, server } = await bench.streams()
      await writeAll(client, [bytesOf('a'), new Uint8Array(0), bytesOf('b'), new Uint8Array(0)])
      await bench.within(client.finish(), 'finish()')
      const lengths = (await bench.rest(server)).map((frame) => frame.length)
      ensure(lengths.join() === '1,0,1,0', `frames of 1, 0, 1, 0 bytes were written; ${lengths.join(', ')} came`)
    }
  },
  {
    id: 'TRANSPORT-MANY-STREAMS',
    title: 'fifty streams of one connection carry their own frames at once',
    async run(bench) {
      const connection = await bench.connect()
      const rounds = 20
      const pairs = []
      for (let index = 0; index < 50; index++) pairs.push(await bench.stream(connection.client, connection.server))
      await Promise.all(
        pairs.map(async ({ client, server }, index) => {
          const frames = Array.from({ length: rounds }, (_, round) => pattern(100 + index, index * rounds + round))
          const writing = later(writeAll(client, frames))
          for (const [round, frame] of frames.entries()) {
            equalBytes(await bench.frame(server), frame, `stream ${index}, frame ${round}`)
          }
          await bench.within(writing, 'the writes')
        })
      )
    }
  },
  {
    id: 'TRANSPORT-BOTH-DIRECTIONS',
    title: 'both sides open streams, and both ends of a stream write at once',
    async run(bench) {
      const connection = await bench.connect()
      const streams = [
        await bench.stream(connection.client, connection.server),
        await bench.stream(connection.server, connection.client)
      ]
      const frames = (seed: number) => Array.from({ length: 100 }, (_, index) => pattern(2000, seed + index))
      await Promise.all(
        streams.flatMap(({ client, server }) =>
          [[client, server, 1000] as const, [server, client, 5000] as const].map(async ([from, to, seed]) => {
            const writing = later(writeAll(from, frames(seed)).then(() => from.finish()))
            const got = await bench.rest(to)
            ensure(got.length === 100, `100 frames were written, ${got.length} came`)
            for (const [index, frame] of got.entries()) equalBytes(frame, pattern(2000, seed + index), `frame ${index}`)
            await bench.within(writing, 'the writes and finish()')
          })
        )
      )
    }
  },
  {
    id: 'TRANSPORT-BACK-PRESSURE',
    title: 'a reader that does not read stops its writer, not the other streams, and loses nothing',
    async run(bench) {
      const { client, server, connection } = await bench.streams()
      const other = await bench.stream(connection.client, connection.server)
      const frameBytes = 64 * 1024
      const framesMax = UNREAD_BYTES_MAX / frameBytes
      let accepted = 0
      const write = async () => {
        for (; accepted < framesMax; accepted++) await client.write(pattern(frameBytes, accepted))
      }
      const writing = later(write())
      // Round trips of another stream are the clock: the writer is stopped when many of them saw no progress.
      for (let quietTrips = 0, before = -1; quietTrips < 50 && accepted < framesMax; ) {
        await echo(bench, other)
        quietTrips = accepted === before ? quietTrips + 1 : 0
        before = accepted
      }
      ensure(
        accepted < framesMax,
        `write() must wait when the reader does not read; ${UNREAD_BYTES_MAX} bytes were taken unread`
      )
      for (let index = 0; index < framesMax; index++) {
        equalBytes(await bench.frame(server), pattern(frameBytes, index), `frame ${index} after the pause`)
      }
      await bench.within(writing, 'the writer to go on')
    }
  },
  {
    id: 'TRANSPORT-WRITE-ABORT',
    title: 'a waiting write can be aborted, and the stream stays whole',
    async run(bench) {
      const { client, server, connection } = await bench.streams()
      const other = await bench.stream(connection.client, connection.server)
      const frameBytes = 64 * 1024
      let settled = 0
      const writes = Array.from({ length: UNREAD_BYTES_MAX / frameBytes }, (_, index) =>
        later(client.write(pattern(frameBytes, index)).finally(() => settled++))
      )
      const controller = new AbortController()
      const last = later(client.write(pattern(frameBytes, 999), controller.signal))
      await echo(bench, other)
      ensure(settled < writes.length, 'write() must wait when the reader does not read')
      controller.abort(new Error('enough'))
      await bench.fails(last, 'ABORTED', 'a write aborted while it waits')
      await bench.fails(client.write(bytesOf('x'), AbortSignal.abort()), 'ABORTED', 'a write with an aborted signal')
      for (let index = 0; index < writes.length; index++) {
        equalBytes(await bench.frame(server), pattern(frameBytes, index), `frame ${index}`)
      }
      await bench.within(Promise.all(writes), 'the other writes')
      const finishing = later(client.finish())
      const rest = await bench.rest(server)
      ensure(rest.length === 0, 'an aborted write that had not begun must not be sent')
      await bench.within(finishing, 'finish()')
    }
  },
  {
    id: 'TRANSPORT-HALF-CLOSE',
    title: 'finish() ends one direction and leaves the other open',
    async run(bench) {
      const { client, server } = await bench.streams()
      await bench.within(client.finish(), 'finish()')
      ensure((await bench.rest(server)).length === 0, 'nothing was written before finish()')
      await bench.fails(client.write(bytesOf('late')), 'TRANSPORT_CLOSED', 'a write after finish()')
      await bench.within(client.finish(), 'a second finish()')
      await writeAll(server, [bytesOf('still'), bytesOf('here')])
      await bench.within(server.finish(), 'finish() of the other side')
      const frames = await bench.rest(client)
      ensure(frames.length === 2, `the other direction must stay open: 2 frames were written, ${frames.length} came`)
    }
  },
  {
    id: 'TRANSPORT-FINISH-DELIVERS',
    title: 'what was written before finish() arrives, even when the writer is disposed of at once',
    async run(bench) {
      const { client, server, connection } = await bench.streams()
      const frames = Array.from({ length: 10 }, (_, index) => pattern(5000, index))
      const writing = frames.map((frame) => later(client.write(frame)))
      await bench.within(client.finish(), 'finish()')
      await bench.within(Promise.all(writing), 'the writes before finish()')
      await bench.within(client[Symbol.asyncDispose](), 'the disposal')
      // The goodbye is there before anything is read.
      await echo(bench, await bench.stream(connection.client, connection.server))
      const got = await bench.rest(server)
      ensure(got.length === 10, `10 frames were written before finish(), ${got.length} came`)
    }
  },
  {
    id: 'TRANSPORT-RESET',
    title: 'disposing of a stream without finish() fails the other side and nothing else',
    async run(bench) {
      const { client, server, connection } = await bench.streams()
      const reading = later(bench.rest(server))
      await bench.within(client[Symbol.asyncDispose](), 'the disposal')
      await bench.fails(reading, 'TRANSPORT_CLOSED', 'reading from a stream the other side reset')
      await bench.fails(server.write(bytesOf('x')), 'TRANSPORT_CLOSED', 'writing to a stream the other side reset')
      await bench.fails(client.write(bytesOf('x')), 'TRANSPORT_CLOSED', 'writing to a stream this side disposed of')
      await bench.fails(bench.rest(client), 'TRANSPORT_CLOSED', 'reading from a stream this side disposed of')
      await echo(bench, await bench.stream(connection.client, connection.server))
    }
  },
  {
    id: 'TRANSPORT-READ-RESUMED',
    title: 'leaving a loop over the frames loses none of them',
    async run(bench) {
      const { client, server } = await bench.streams()
      await writeAll(client, [bytesOf('1'), bytesOf('2'), bytesOf('3')])
      await bench.within(client.finish(), 'finish()')
      for await (const frame of server.frames) {
        equalBytes(frame, bytesOf('1'), 'the first frame')
        break
      }
      const rest = await bench.rest(server)
      ensure(rest.length === 2, `a second loop must go on with the second frame; ${rest.length} of 2 frames came`)
      equalBytes(rest[0] ?? new Uint8Array(0), bytesOf('2'), 'the first frame of the second loop')
    }
  },
  {
    id: 'TRANSPORT-FRAME-TOO-LARGE',
    title: 'supports.frameBytesMax and the host limit: a frame of the limit passes, one byte more is refused here',
    limits: (manifest) => ({ frameBytesMax: Math.min(100_000, manifest.supports.frameBytesMax) }),
    async run(bench) {
      const limit = Math.min(100_000, bench.subject.manifest.supports.frameBytesMax)
      const { client, server } = await bench.streams()
      await bench.fails(client.write(new Uint8Array(limit + 1)), 'FRAME_TOO_LARGE', `a frame of ${limit + 1} bytes`)
      const frame = pattern(limit, 3)
      const writing = later(client.write(frame))
      equalBytes(await bench.frame(server), frame, 'a frame of the limit, after one too large')
      await bench.within(writing, 'the write')
    }
  },
  {
    id: 'TRANSPORT-OWNERSHIP',
    title: 'arguments are only borrowed, frames belong to the reader and are plain Uint8Arrays',
    async run(bench) {
      const { client, server } = await bench.streams()
      const frame = pattern(300, 1)
      await bench.within(client.write(frame), 'the write')
      equalBytes(frame, pattern(300, 1), 'the argument of write() after it resolved')
      frame.fill(0xee)
      await bench.within(client.write(pattern(300, 2)), 'the write')
      const first = await bench.frame(server)
      equalBytes(first, pattern(300, 1), 'a frame whose array was reused after write() resolved')
      first.fill(0xdd)
      equalBytes(await bench.frame(server), pattern(300, 2), 'a frame after the reader wrote into the one before it')
      ensure(
        Object.getPrototypeOf(first) === Uint8Array.prototype && first.byteLength === first.buffer.byteLength,
        'a frame must be a plain Uint8Array with a buffer of its own'
      )
    }
  }
]

async function writeAll(
  stream: { write(frame: Uint8Array): Promise<void> },
  frames: readonly Uint8Array[]
): Promise<void> {
  for (const frame of frames) await stream.write(frame)
}

/** A round trip, after which both sides have seen all that was sent before. */
export async function echo(bench: Bench, pair: Awaited<ReturnType<Bench['stream']>>): Promise<void> {
  await bench.within(pair.client.write(bytesOf('ping')), 'the write of a round trip')
  equalBytes(await bench.frame(pair.server), bytesOf('ping'), 'a round trip')
  await bench.within(pair.server.write(bytesOf('pong')), 'the write of a round trip')
  equalBytes(await bench.frame(pair.client), bytesOf('pong'), 'a round trip')
}

/** Checks of dialling, listening, identities and how a connection ends (SPEC PLUGIN-*, transport). */
import {
  ALPN,
  bytesOf,
  CLIENT_IDENTITY,
  ensure,
  equalBytes,
  later,
  OTHER_IDENTITY,
  SERVER_IDENTITY
} from './transport-bench.js'
import type { TransportRule } from './transport.js'
import { echo } from './transport-streams.js'

export const CONNECTION_RULES: readonly TransportRule[] = [
  {
    id: 'TRANSPORT-SCHEMES',
    title: 'schemes are named as URLs write them, and listen() answers with addresses of them',
    async run(bench) {
      const { schemes } = bench.dialling
      ensure(schemes.length > 0, 'a transport must name the schemes it dials')
      for (const scheme of schemes) ensure(/^[a-z][a-z0-9+.-]*$/.test(scheme), `"${scheme}" is no URL scheme`)
      for (const address of (await bench.listener()).addresses) {
        const scheme = address.slice(0, address.indexOf(':'))
        ensure(schemes.includes(scheme), `the listener's address ${address} has a scheme the transport does not dial`)
        ensure(!address.endsWith(':0'), `${address} must carry the real port`)
      }
    }
  },
  {
    id: 'TRANSPORT-FLAG-LISTEN',
    title: 'supports.listen: listen is there exactly when the manifest says so',
    async run(bench) {
      const { listen } = bench.subject.manifest.supports
      ensure(
        (bench.own.listen !== undefined) === listen,
        `the manifest says listen: ${listen}, and the transport has ${listen ? 'no' : 'a'} listen()`
      )
    }
  },
  {
    id: 'TRANSPORT-FLAG-DIAL',
    title: 'supports.dial: dial connects, or fails with CAPABILITY_MISSING',
    async run(bench) {
      if (bench.subject.manifest.supports.dial) {
        const { client, server } = await bench.connect()
        await echo(bench, await bench.stream(client, server))
        return
      }
      const dialling = bench.own.dial(await bench.address(), {
        identity: OTHER_IDENTITY,
        alpn: ALPN,
        signal: new AbortController().signal
      })
      await bench.fails(dialling, 'CAPABILITY_MISSING', 'dialling with a transport whose manifest says dial: false')
    }
  },
  {
    id: 'TRANSPORT-FLAG-DATAGRAMS',
    title: 'supports.datagrams: sendDatagram is there exactly when the manifest says so',
    async run(bench) {
      const { datagrams } = bench.subject.manifest.supports
      const { client, server } = await bench.connect()
      for (const connection of [client, server]) {
        ensure(
          (connection.sendDatagram !== undefined) === datagrams,
          `the manifest says datagrams: ${datagrams}, and a connection has ${datagrams ? 'no' : 'a'} sendDatagram()`
        )
      }
      client.sendDatagram?.(bytesOf('lossy'))
      await echo(bench, await bench.stream(client, server))
    }
  },
  {
    id: 'TRANSPORT-FLAG-PEER-AUTH',
    title:
      'supports.peerAuth: a public key without its secret key gets no connection, exactly when the manifest says so',
    async run(bench) {
      const impostor = { publicKey: OTHER_IDENTITY.publicKey, secretKey: CLIENT_IDENTITY.secretKey }
      const dialled = await bench.dial({ identity: impostor }).then(
        () => true,
        () => false
      )
      if (bench.subject.manifest.supports.peerAuth) {
        // The impostor may learn of its failure late; what counts is that the listener never hands it out.
        const honest = await bench.connect()
        equalBytes(honest.server.peer, CLIENT_IDENTITY.publicKey, 'the first connection after an impostor dialled')
        return
      }
      ensure(dialled, 'the manifest says peerAuth: false, and yet a key was not believed')
      equalBytes((await bench.accept()).peer, OTHER_IDENTITY.publicKey, 'the key a peer claims')
    }
  },
  {
    id: 'TRANSPORT-PEER-KEYS',
    title: 'each side sees the public key of the other',
    async run(bench) {
      const { client, server } = await bench.connect({ expectPeer: SERVER_IDENTITY.publicKey })
      equalBytes(client.peer, SERVER_IDENTITY.publicKey, 'the peer of the dialling side')
      equalBytes(server.peer, CLIENT_IDENTITY.publicKey, 'the peer of the listening side')
      const second = await bench.connect({ identity: OTHER_IDENTITY })
      equalBytes(second.server.peer, OTHER_IDENTITY.publicKey, 'the peer of a second connection')
    }
  },
  {
    id: 'TRANSPORT-EXPECT-PEER',
    title: 'dialling a peer with another key than expected fails with UNAUTHENTICATED, and the listener sees nothing',
    async run(bench) {
      await bench.fails(
        bench.dial({ expectPeer: OTHER_IDENTITY.publicKey }),
        'UNAUTHENTICATED',
        'dialling with expectPeer of another key'
      )
      const { server } = await bench.connect({ identity: OTHER_IDENTITY })
      equalBytes(server.peer, OTHER_IDENTITY.publicKey, 'the first connection after one that was refused')
    }
  },
  {
    id: 'TRANSPORT-ALPN',
    title: 'a peer that speaks another protocol is unreachable',
    async run(bench) {
      await bench.fails(bench.dial({ alpn: 'other/7' }), 'TRANSPORT_UNREACHABLE', 'dialling with another protocol name')
      await bench.connect()
    }
  },
  {
    id: 'TRANSPORT-UNREACHABLE',
    title: 'dialling where nothing answers fails with TRANSPORT_UNREACHABLE and names the address',
    async run(bench) {
      const address = bench.subject.unreachableAddress()
      await bench.fails(bench.dial({ address }), 'TRANSPORT_UNREACHABLE', `dialling ${address}`)
      const message = await bench.dial({ address }).catch((error: unknown) => String(error))
      ensure(String(message).includes(address), `the message must name the address ${address}: ${message}`)
    }
  },
  {
    id: 'TRANSPORT-DIAL-ABORT',
    title: 'an aborted dial fails with ABORTED, before it starts and under way',
    async run(bench) {
      const address = await bench.address()
      await bench.fails(
        bench.dial({ address, signal: AbortSignal.abort() }),
        'ABORTED',
        'a dial with an aborted signal'
      )
      const controller = new AbortController()
      const dialling = later(bench.dial({ address, signal: controller.signal }))
      queueMicrotask(() => controller.abort(new Error('changed my mind')))
      await bench.fails(dialling, 'ABORTED', 'a dial aborted under way')
      await bench.dial({ address, identity: OTHER_IDENTITY })
      for (;;) {
        const accepted = await bench.accept()
        if (accepted.peer[0] === OTHER_IDENTITY.publicKey[0]) return
        await bench.within(accepted.closed, 'the end of a connection whose dial was aborted')
      }
    }
  },
  {
    id: 'TRANSPORT-OPEN-ABORT',
    title: 'open() with an aborted signal fails with ABORTED',
    async run(bench) {
      const { client, server } = await bench.connect()
      await bench.fails(client.open(AbortSignal.abort()), 'ABORTED', 'open() with an aborted signal')
      await echo(bench, await bench.stream(client, server))
    }
  },
  {
    id: 'TRANSPORT-ADDRESS-IN-USE',
    title: 'listening twice on an address fails with TRANSPORT_ADDRESS_IN_USE',
    async run(bench) {
      const address = await bench.address()
      await bench.fails(bench.listen(address), 'TRANSPORT_ADDRESS_IN_USE', `a second listen("${address}")`)
    }
  },
  {
    id: 'TRANSPORT-LISTENER-DISPOSE',
    title:
      'disposing of a listener ends its connections iterator, frees the address and leaves accepted connections alone',
    async run(bench) {
      const { client, server } = await bench.connect()
      const listener = await bench.listener()
      const address = await bench.address()
      const waiting = later(bench.ends(listener.connections, 'the connections of a disposed listener'))
      await bench.within(listener[Symbol.asyncDispose](), 'the disposal of the listener')
      await waiting
      await bench.ends(listener.connections, 'the connections of a disposed listener, asked again')
      await echo(bench, await bench.stream(client, server))
      await bench.fails(bench.dial({ address }), 'TRANSPORT_UNREACHABLE', 'dialling a disposed listener')
      await bench.listen(address)
    }
  },
  {
    id: 'TRANSPORT-CLOSE',
    title: 'disposing of a connection ends it on both sides, and each side knows who did it',
    async run(bench) {
      const { client, server, connection } = await bench.streams()
      const failures = [client, server].map((stream) =>
        later(bench.fails(bench.rest(stream), 'TRANSPORT_CLOSED', 'reading from a closed connection'))
      )
      const incoming = later(bench.ends(connection.server.incoming, 'the incoming streams of a closed connection'))
      await bench.within(connection.client[Symbol.asyncDispose](), 'the disposal')
      await Promise.all(failures)
      await incoming
      const local = await bench.within(connection.client.closed, '`closed` of the side that closed')
      const remote = await bench.within(connection.server.closed, '`closed` of the other side')
      ensure(
        local.by === 'local' && remote.by === 'remote',
        `closed by local and remote, told ${local.by}, ${remote.by}`
      )
      await bench.fails(connection.client.open(), 'TRANSPORT_CLOSED', 'open() on a closed connection')
      await bench.fails(server.write(bytesOf('x')), 'TRANSPORT_CLOSED', 'a write on a closed connection')
    }
  },
  {
    id: 'TRANSPORT-LOSS',
    title: 'a lost connection is told to readers, writers and `closed` on both sides',
    async run(bench) {
      await using detour = await bench.subject.detour(await bench.address())
      const connection = await bench.connect({ address: detour.address })
      const { client, server } = await bench.stream(connection.client, connection.server)
      const failures = [client, server].map((stream) =>
        later(bench.fails(bench.rest(stream), 'TRANSPORT_CLOSED', 'reading from a lost connection'))
      )
      await detour.sever()
      await Promise.all(failures)
      for (const end of [connection.client, connection.server]) {
        const { by } = await bench.within(end.closed, '`closed` of a lost connection')
        ensure(by === 'lost', `a connection that broke is closed by "lost", not by "${by}"`)
        await bench.ends(end.incoming, 'the incoming streams of a lost connection')
        await bench.fails(end.open(), 'TRANSPORT_CLOSED', 'open() on a lost connection')
      }
      await bench.fails(client.write(bytesOf('x')), 'TRANSPORT_CLOSED', 'a write on a lost connection')
    }
  },
  {
    id: 'TRANSPORT-DISPOSE-TWICE',
    title: 'everything can be disposed of twice',
    async run(bench) {
      const { client, server, connection } = await bench.streams()
      const listener = await bench.listener()
      for (const item of [client, server, connection.client, connection.server, listener]) {
        await bench.within(item[Symbol.asyncDispose](), 'the first disposal')
        await bench.within(item[Symbol.asyncDispose](), 'the second disposal')
      }
      await bench.within(bench.dialling[Symbol.asyncDispose](), 'the first disposal of a transport')
      await bench.within(bench.dialling[Symbol.asyncDispose](), 'the second disposal of a transport')
    }
  },
  {
    id: 'TRANSPORT-DISPOSE',
    title: 'disposing of a transport closes what it opened, and it then refuses with DISPOSED',
    async run(bench) {
      const address = await bench.address()
      const { client, server } = await bench.connect()
      await bench.within(bench.dialling[Symbol.asyncDispose](), 'the disposal of the dialling transport')
      const local = await bench.within(client.closed, '`closed` of a connection of a disposed transport')
      const remote = await bench.within(server.closed, '`closed` of the other side of a disposed transport')
      ensure(
        local.by === 'local' && remote.by === 'remote',
        `closed by local and remote, told ${local.by}, ${remote.by}`
      )
      await bench.fails(bench.dial({ address }), 'DISPOSED', 'dialling with a disposed transport')
      const listener = await bench.listener()
      await bench.within(bench.listening[Symbol.asyncDispose](), 'the disposal of the listening transport')
      await bench.ends(listener.connections, 'the connections of a listener whose transport was disposed of')
      await bench.fails(bench.listen(address), 'DISPOSED', 'listening with a disposed transport')
    }
  }
]

/**
 * iroh as this transport uses it: endpoints, connections and streams with Uint8Arrays in and out. Every object keeps the
 * native one alive, since iroh closes a connection that is garbage-collected, and lets go of it at its end, since a closed
 * endpoint holds its UDP port until it and all its connections and streams are collected. None of the watch functions is
 * used: they abort the process in 1.1.0.
 */
import type * as Binding from '@number0/iroh'
import { type ByteForm, byteForm } from './bytes.js'
import { bindError, describeFailure, isAddressInUse } from './errors.js'
import { collectGarbage } from './garbage.js'

type IrohBinding = typeof Binding

/** Most a read gives, bytes. */
const READ_BYTES_MAX = 32 * 1024

export interface BindOptions {
  /** 32 bytes. */
  readonly secretKey: Uint8Array
  readonly alpns: readonly string[]
  /** "ip:port" of the families that matter; a family left out is bound on all its addresses. */
  readonly sockets: readonly string[]
  readonly relays: readonly string[]
  /** The address as its user wrote it, for messages. */
  readonly where: string
}
export interface QuicTarget {
  readonly id: Uint8Array
  readonly direct: readonly string[]
  readonly relay: string | undefined
}

export interface Iroh {
  /** The Ed25519 public key of a 32-byte seed. */
  publicKey(secretKey: Uint8Array): Uint8Array
  /** Throws TRANSPORT_ADDRESS_IN_USE, CONFIG_INVALID. */
  bind(options: BindOptions): Promise<QuicEndpoint>
}
/** What it throws is iroh's own; see errors.ts. */
export interface QuicEndpoint {
  /** "ip:port" as bound, with the real ports. */
  readonly sockets: readonly string[]
  /** The relay it can be reached through now. */
  relay(): string | undefined
  /** Resolves with the first relay; stays pending for as long as none answers. */
  online(): Promise<void>
  setAlpns(alpns: readonly string[]): void
  /** Cannot be aborted; after an abort, close what it gives. */
  connect(target: QuicTarget, alpn: string): Promise<QuicConnection>
  /** The next attempt of somebody to connect; undefined once the endpoint is closed. */
  accept(): Promise<QuicIncoming | undefined>
  close(): Promise<void>
}
export interface QuicIncoming {
  accept(): Promise<QuicConnection>
  refuse(): Promise<void>
  /** Makes the peer prove that it receives at its address; false when it had not, and now has to come again. */
  validate(): Promise<boolean>
}
export interface QuicConnection {
  /** The other side's public key, proven. */
  readonly peer: Uint8Array
  limitStreams(count: number): void
  openStream(): Promise<QuicStream>
  /** Streams come in the order they were opened, each with its first byte. */
  acceptStream(): Promise<QuicStream>
  /** Resolves with iroh's text once the connection has ended; never rejects. */
  closed(): Promise<string>
  /** Ends everything that waits; the reason reaches the peer if anything does. */
  close(code: number, reason: string): void
}
/** At most one of `write`, `finish` and `reset` at a time, and one `read`: iroh reorders what is not awaited. */
export interface QuicStream {
  /** The parts may change once the call has returned; it resolves when QUIC has taken them. */
  write(parts: readonly Uint8Array[], length: number): Promise<void>
  finish(): Promise<void>
  reset(): Promise<void>
  /** Undefined at the end. Rejects when the peer reset it, or the connection is gone. */
  read(): Promise<Uint8Array | undefined>
}

export function irohOf(binding: IrohBinding): Iroh {
  const form = byteForm((bytes) => binding.EndpointId.fromBytes(bytes))
  return {
    publicKey: (secretKey) =>
      form.unpack(
        binding.SecretKey.fromBytes(form.pack([secretKey], secretKey.length))
          .public()
          .toBytes()
      ),
    async bind(options) {
      try {
        return new NativeEndpoint(binding, form, await bindOnce(binding, form, options))
      } catch (error) {
        if (!isAddressInUse(error)) throw bindError(error, options.where)
        // It may be this process that holds the port, by an endpoint closed long ago.
        await collectGarbage()
        try {
          return new NativeEndpoint(binding, form, await bindOnce(binding, form, options))
        } catch (again) {
          throw bindError(again, options.where)
        }
      }
    }
  }
}

function bindOnce(
  binding: IrohBinding,
  form: ByteForm,
  { secretKey, alpns, sockets, relays }: BindOptions
): Promise<Binding.Endpoint> {
  const builder = binding.Endpoint.builder()
  // No discovery service and no relays but the given ones: nothing is contacted that was not named.
  binding.presetMinimal(builder)
  builder.secretKey(form.pack([secretKey], secretKey.length))
  builder.alpns(alpns.map((alpn) => packText(form, alpn)))
  for (const socket of sockets) builder.bindAddr(socket)
  const map = binding.RelayMap.empty()
  // fromUrls would add a QUIC port, and wait for it.
  for (const url of relays) map.insert({ url })
  builder.relayMode(binding.RelayMode.custom(map))
  return builder.bind()
}

class NativeEndpoint implements QuicEndpoint {
  readonly sockets: readonly string[]
  readonly #binding: IrohBinding
  readonly #form: ByteForm
  #native: Binding.Endpoint | undefined

  constructor(binding: IrohBinding, form: ByteForm, endpoint: Binding.Endpoint) {
    this.#binding = binding
    this.#form = form
    this.#native = endpoint
    this.sockets = endpoint.boundSockets()
  }

  relay(): string | undefined {
    return this.#native?.addr().relayUrl() ?? undefined
  }

  async online(): Promise<void> {
    await live(this.#native).online()
  }

  setAlpns(alpns: readonly string[]): void {
    live(this.#native).setAlpns(alpns.map((alpn) => packText(this.#form, alpn)))
  }

  async connect({ id, direct, relay }: QuicTarget, alpn: string): Promise<QuicConnection> {
    const { EndpointAddr, EndpointId } = this.#binding
    const address = new EndpointAddr(EndpointId.fromBytes(this.#form.pack([id], id.length)), relay, [...direct])
    return new NativeConnection(this.#form, await live(this.#native).connect(address, packText(this.#form, alpn)))
  }

  async accept(): Promise<QuicIncoming | undefined> {
    const incoming = (await this.#native?.acceptNext()) ?? undefined
    if (incoming === undefined) return undefined
    return {
      accept: async () => new NativeConnection(this.#form, await (await incoming.accept()).connect()),
      refuse: () => incoming.refuse(),
      async validate() {
        if (await incoming.remoteAddrValidated()) return true
        await incoming.retry()
        return false
      }
    }
  }

  async close(): Promise<void> {
    const endpoint = this.#native
    this.#native = undefined
    await endpoint?.close()
  }
}

class NativeConnection implements QuicConnection {
  readonly peer: Uint8Array
  readonly #form: ByteForm
  #native: Binding.Connection | undefined
  readonly #closed: Promise<string>

  constructor(form: ByteForm, connection: Binding.Connection) {
    this.#form = form
    this.#native = connection
    this.peer = form.unpack(connection.remoteId().toBytes())
    this.#closed = connection
      .closed()
      .catch(describeFailure)
      .finally(() => {
        this.#native = undefined
      })
  }

  limitStreams(count: number): void {
    this.#native?.setMaxConcurrentBiStreams(BigInt(count))
    this.#native?.setMaxConcurrentUniStreams(0n)
  }

  async openStream(): Promise<QuicStream> {
    return new NativeStream(this.#form, await live(this.#native).openBi())
  }

  async acceptStream(): Promise<QuicStream> {
    return new NativeStream(this.#form, await live(this.#native).acceptBi())
  }

  closed(): Promise<string> {
    return this.#closed
  }

  close(code: number, reason: string): void {
    this.#native?.close(BigInt(code), packText(this.#form, reason.slice(0, 100)))
  }
}

class NativeStream implements QuicStream {
  readonly #form: ByteForm
  #send: Binding.SendStream | undefined
  #receive: Binding.RecvStream | undefined

  constructor(form: ByteForm, stream: Binding.BiStream) {
    this.#form = form
    this.#send = stream.send
    this.#receive = stream.recv
  }

  async write(parts: readonly Uint8Array[], length: number): Promise<void> {
    await live(this.#send).writeAll(this.#form.pack(parts, length))
  }

  async finish(): Promise<void> {
    const send = live(this.#send)
    this.#send = undefined
    await send.finish()
  }

  async reset(): Promise<void> {
    const send = live(this.#send)
    this.#send = undefined
    await send.reset(0n)
  }

  async read(): Promise<Uint8Array | undefined> {
    let isOver = true
    try {
      const bytes = await live(this.#receive).read(READ_BYTES_MAX)
      isOver = bytes.length === 0
      return isOver ? undefined : this.#form.unpack(bytes)
    } finally {
      if (isOver) this.#receive = undefined
    }
  }
}

/** The native object, unless it was let go of at its end. */
function live<T>(native: T | undefined): T {
  if (native === undefined) throw new Error('it is closed')
  return native
}

function packText(form: ByteForm, text: string): number[] {
  const bytes = new TextEncoder().encode(text)
  return form.pack([bytes], bytes.length)
}

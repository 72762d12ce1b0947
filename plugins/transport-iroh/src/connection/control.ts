/** The control lane of a connection: messages in order, each way. Both sides begin with HELLO. */
import { HeddleError } from '@heddle/core'
import type { QuicStream } from '../native/index.js'
import { LaneReader, type LaneSink } from './lane-reader.js'
import { LaneWriter } from './lane-writer.js'
import {
  CONTROL_FRAME_BYTES_MAX,
  type ControlMessage,
  decodeControl,
  encodeControl,
  LANE,
  malformed,
  VERSION
} from './wire.js'

/** A peer that reads so little of this lane has stopped reading it. */
const QUEUED_BYTES_MAX = 64 * 1024
/** What waits before anybody is attached: a peer sends hardly anything so early. */
const EARLY_MESSAGES_MAX = 1024

export interface Hello {
  readonly frameBytesMax: number
}
export interface ControlHandlers {
  message(message: ControlMessage): void
  /** Nothing comes any more, the reason being the connection's to know. */
  ended(): void
  broke(error: HeddleError): void
  heard(): void
}

export class ControlLane {
  /** The peer's HELLO. Rejects with MALFORMED, UNSUPPORTED_VERSION, TRANSPORT_CLOSED. */
  readonly hello: Promise<Hello>
  readonly #writer: LaneWriter
  #handlers: ControlHandlers | undefined
  #early: ControlMessage[] = []
  #earlyEnd: { readonly error: HeddleError | undefined } | undefined
  #isGreeted = false
  #resolveHello: (hello: Hello) => void = () => {}
  #rejectHello: (error: HeddleError) => void = () => {}

  /** `first`: what was read after the preamble on the side that did not open it; undefined on the side that does. */
  constructor(stream: QuicStream, first: Uint8Array | undefined) {
    this.hello = new Promise((resolve, reject) => {
      this.#resolveHello = resolve
      this.#rejectHello = reject
    })
    this.hello.catch(() => {
      // The handshake awaits it unless it was aborted before.
    })
    const closed = (cause: unknown) => new HeddleError('TRANSPORT_CLOSED', 'the control lane is closed', { cause })
    this.#writer = new LaneWriter(stream, 'the control lane', closed)
    if (first === undefined) this.#writer.preamble(LANE.control)
    new LaneReader(stream, 'the control lane', this.#sink(), first)
  }

  greet(frameBytesMax: number): void {
    this.send({ kind: 'hello', version: VERSION, frameBytesMax })
  }

  /** Hands over what came after HELLO, and everything from now on. */
  attach(handlers: ControlHandlers): void {
    this.#handlers = handlers
    try {
      for (const message of this.#early.splice(0)) handlers.message(message)
    } catch (error) {
      handlers.broke(error instanceof HeddleError ? error : malformed(String(error)))
    }
    if (this.#earlyEnd !== undefined) this.#end(this.#earlyEnd.error)
  }

  /** False when the peer does not read what it is sent. */
  send(message: ControlMessage): boolean {
    if (!this.#writer.isOpen) return true
    this.#writer.write(encodeControl(message)).catch(() => {
      // The lane is gone, which the connection hears by reading it.
    })
    return this.#writer.queuedBytes <= QUEUED_BYTES_MAX
  }

  /** Nothing more is sent. Resolves when all of it was, or cannot be. */
  async finish(): Promise<void> {
    if (this.#writer.isOpen) {
      this.#writer.finish().catch(() => {
        // Gone before all was sent: `ended` resolves all the same.
      })
    }
    await this.#writer.ended
  }

  #sink(): LaneSink {
    return {
      frameBytesMax: CONTROL_FRAME_BYTES_MAX,
      wantsMore: () => true,
      frame: (bytes) => this.#receive(decodeControl(bytes)),
      finished: () => {},
      ended: (cause) => {
        this.#rejectHello(new HeddleError('TRANSPORT_CLOSED', 'the peer hung up during the handshake', { cause }))
        this.#end(undefined)
      },
      broke: (error) => {
        this.#rejectHello(error)
        this.#end(error)
      },
      heard: () => this.#handlers?.heard()
    }
  }

  #receive(message: ControlMessage): void {
    if (!this.#isGreeted) {
      this.#isGreeted = true
      if (message.kind !== 'hello') throw malformed(`${message.kind} before hello`)
      if (message.version !== VERSION) {
        throw new HeddleError(
          'UNSUPPORTED_VERSION',
          `the peer speaks version ${message.version} of the iroh transport, this side ${VERSION}; update the older one`
        )
      }
      this.#resolveHello({ frameBytesMax: message.frameBytesMax })
    } else if (message.kind === 'hello') {
      throw malformed('a second hello')
    } else if (this.#handlers !== undefined) {
      this.#handlers.message(message)
    } else {
      if (this.#early.length >= EARLY_MESSAGES_MAX) throw malformed('too many messages before the end of the handshake')
      this.#early.push(message)
    }
  }

  #end(error: HeddleError | undefined): void {
    if (this.#handlers === undefined) this.#earlyEnd ??= { error }
    else if (error !== undefined) this.#handlers.broke(error)
    else this.#handlers.ended()
  }
}

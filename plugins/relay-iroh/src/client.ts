/** A client that has proven its key and may use the relay: its link, its liveness, and its frames on their way. */
import { KeepAlive } from './keep-alive.js'
import { CLOSE, type Link, type LinkHandlers, type LinkHost } from './link/index.js'
import {
  answerPing,
  clientFrameKind,
  type EndpointKey,
  keyOf,
  type ProtocolVersion,
  restarting,
  type Status,
  status
} from './protocol/index.js'
import type { Party, Switchboard } from './switchboard.js'

export class Client implements Party, LinkHandlers, Disposable {
  readonly endpointId: Uint8Array
  readonly key: EndpointKey
  readonly link: Link
  readonly #version: ProtocolVersion
  readonly #switchboard: Switchboard
  readonly #keepAlive: KeepAlive

  /** From here on the link's messages are this client's. */
  constructor(link: Link, endpointId: Uint8Array, version: ProtocolVersion, switchboard: Switchboard, host: LinkHost) {
    this.link = link
    this.endpointId = endpointId
    this.key = keyOf(endpointId)
    this.#version = version
    this.#switchboard = switchboard
    this.#keepAlive = new KeepAlive(host.context, host.limits, {
      send: (frame) => link.send(frame),
      lost: () => link.lost('it does not answer a ping')
    })
    link.attach(this)
  }

  /** Throws MALFORMED. */
  message(frame: Buffer): void {
    this.#keepAlive.heard()
    switch (clientFrameKind(frame)) {
      case 'datagrams':
        this.#switchboard.forward(this, frame)
        break
      case 'ping':
        answerPing(frame)
        this.link.send(frame)
        break
      case 'pong':
        this.#keepAlive.pong(frame)
        break
    }
  }

  throttled(): void {
    this.tell('rate-limited')
  }

  send(frame: Uint8Array): boolean {
    return this.link.send(frame)
  }

  tell(name: Status): void {
    this.link.send(status(name, this.#version))
  }

  crowdedOut(): void {
    void this.link.close(CLOSE.refused, 'too many connections of one endpoint')
  }

  /** The policy has changed its mind. */
  expelled(): void {
    void this.link.close(CLOSE.refused, 'this endpoint may not use this relay any more; ask its operator')
  }

  /** Says when to come back and closes. */
  async restart(reconnectInMs: number, tryForMs: number): Promise<void> {
    this.link.send(restarting(reconnectInMs, tryForMs))
    await this.link.close(CLOSE.goingAway, 'the relay is shutting down')
  }

  [Symbol.dispose](): void {
    this.#keepAlive[Symbol.dispose]()
    this.#switchboard.unregister(this)
  }
}

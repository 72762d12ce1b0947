/** A relay client written by hand, for what iroh's own would never send, and for seeing every frame. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { WebSocket } from 'ws'
import { FRAME, signedMessage } from '../src/protocol/index.js'

export interface Identity {
  /** 32 bytes. */
  readonly id: Uint8Array
  readonly key: KeyObject
}

export function newIdentity(): Identity {
  // Exporting generated keys as JWK can deadlock Node 20; through DER it does not.
  const { privateKey } = generateKeyPairSync('ed25519', {
    privateKeyEncoding: { format: 'der', type: 'pkcs8' },
    publicKeyEncoding: { format: 'der', type: 'spki' }
  })
  const key = createPrivateKey({ key: privateKey, format: 'der', type: 'pkcs8' })
  return { id: new Uint8Array(createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32)), key }
}

export function clientAuth({ id, key }: Identity, challenge: Uint8Array): Uint8Array {
  return Uint8Array.of(FRAME.clientAuth, ...id, 64, ...sign(null, signedMessage(challenge), key))
}

export function datagram(destination: Uint8Array, payload: Uint8Array): Uint8Array {
  const frame = new Uint8Array(34 + payload.length)
  frame[0] = FRAME.clientToRelayDatagram
  frame.set(destination, 1)
  frame.set(payload, 34)
  return frame
}

export class RawClient implements Disposable {
  readonly ws: WebSocket
  /** The close code. */
  readonly closed: Promise<number>
  readonly #frames: Uint8Array[] = []
  #arrived: (() => void) | undefined
  #isClosed = false

  private constructor(ws: WebSocket) {
    this.ws = ws
    ws.on('message', (data) => {
      this.#frames.push(new Uint8Array(data as Buffer))
      this.#arrived?.()
    })
    ws.on('error', () => {})
    this.closed = new Promise((resolve) =>
      ws.once('close', (code) => {
        this.#isClosed = true
        this.#arrived?.()
        resolve(code)
      })
    )
  }

  /** An upgraded WebSocket; the first frame to come is the challenge. Rejects when the upgrade is refused. */
  static async connect(
    url: string,
    protocols: string[] = ['iroh-relay-v2', 'iroh-relay-v1'],
    headers: Record<string, string> = {},
    query = ''
  ): Promise<RawClient> {
    const ws = new WebSocket(`${url.replace('http', 'ws')}/relay${query}`, protocols, {
      perMessageDeflate: false,
      headers
    })
    const client = new RawClient(ws)
    await new Promise((resolve, reject) => {
      ws.once('open', resolve)
      ws.once('error', reject)
    })
    return client
  }

  /** Connected and confirmed. */
  static async open(url: string, identity = newIdentity(), protocols?: string[]): Promise<RawClient> {
    const client = await RawClient.connect(url, protocols)
    client.send(clientAuth(identity, (await client.next(FRAME.serverChallenge)).subarray(1)))
    await client.next(FRAME.serverConfirmsAuth)
    return client
  }

  send(frame: Uint8Array): void {
    this.ws.send(frame)
  }

  /** The next frame, which has to be of this type. Rejects when the connection ends before. */
  async next(type: number): Promise<Uint8Array> {
    while (this.#frames.length === 0) {
      if (this.#isClosed) throw new Error(`closed while frame ${type} was awaited`)
      await new Promise<void>((resolve) => {
        this.#arrived = resolve
      })
    }
    const frame = this.#frames.shift() ?? new Uint8Array(0)
    if (frame[0] !== type) throw new Error(`a frame of type ${frame[0]} where one of type ${type} was awaited`)
    return frame
  }

  /** A ping's way there and back: everything sent before has been taken by the relay. */
  async settled(): Promise<void> {
    this.send(Uint8Array.of(FRAME.ping, 1, 2, 3, 4, 5, 6, 7, 8))
    await this.next(FRAME.pong)
  }

  [Symbol.dispose](): void {
    this.ws.terminate()
  }
}

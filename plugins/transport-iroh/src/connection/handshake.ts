/**
 * The beginning of a connection: QUIC has proven both keys, now both sides say HELLO on the control lane. The dialling side
 * knows only by the answer that the listener has taken it. Called by the transport and the listener, under their deadlines.
 */

import type { QuicConnection, QuicStream } from '../native/index.js'
import { unlessAborted } from '../unless-aborted.js'
import { ControlLane, type Hello } from './control.js'
import { LANE, malformed } from './wire.js'

export interface Greeted {
  readonly quic: QuicConnection
  readonly control: ControlLane
  readonly hello: Hello
}

/** Rejects with the signal's reason, MALFORMED, UNSUPPORTED_VERSION, or what iroh says; the caller then closes. */
export async function greetAsDialler(
  quic: QuicConnection,
  frameBytesMax: number,
  signal: AbortSignal
): Promise<Greeted> {
  const control = new ControlLane(await unlessAborted(quic.openStream(), signal, noMatter), undefined)
  control.greet(frameBytesMax)
  return { quic, control, hello: await unlessAborted(control.hello, signal, noMatter) }
}

/** Rejects like `greetAsDialler`. */
export async function greetAsListener(
  quic: QuicConnection,
  frameBytesMax: number,
  signal: AbortSignal
): Promise<Greeted> {
  const stream = await unlessAborted(quic.acceptStream(), signal, noMatter)
  const control = new ControlLane(stream, await unlessAborted(afterPreamble(stream), signal, noMatter))
  const hello = await unlessAborted(control.hello, signal, noMatter)
  control.greet(frameBytesMax)
  return { quic, control, hello }
}

async function afterPreamble(stream: QuicStream): Promise<Uint8Array> {
  const first = await stream.read()
  if (first?.[0] !== LANE.control) throw malformed('the first lane is not the control lane')
  return first.subarray(1)
}

/** A stream that comes late goes with its connection. */
function noMatter(): void {}

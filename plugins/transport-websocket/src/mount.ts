/** What else may answer on a listener's port, beside Heddle: an iroh relay, a page of metrics. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'

/**
 * One of the option `mounts`. It is asked about every path that is not the listener's own, after those before it in the
 * list, and disposed of with the transport: then it should let its clients go.
 */
export interface HttpMount extends AsyncDisposable {
  /** Answers and returns true, or leaves the request alone and returns false. */
  request(request: IncomingMessage, response: ServerResponse): boolean
  /** Takes the socket over and returns true, or leaves it alone and returns false. `head` was read beyond the request. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Uint8Array): boolean
}

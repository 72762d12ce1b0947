/** The door of the net room: typed frames over a connection, for the device's end and the server's. */
export { type AcceptOptions, acceptChannel, ServerChannel } from './accept.js'
export {
  abortedError,
  alpn,
  type Body,
  type BodyCase,
  type BodyOf,
  FrameChannel,
  protocolVersions,
  type ReceivedFrame
} from './channel.js'
export {
  type Answers,
  type DeviceChannel,
  type DialOptions,
  type News,
  type NewsCase,
  openChannel,
  type RequestCase,
  type RequestOptions
} from './dial.js'
export { errorOf, type ProblemInfo, problemOf } from './problem.js'

/** The door of the wire format: frames, and the proof of a client's key. */
export {
  answerPing,
  CHALLENGE_BYTES,
  clientFrameKind,
  destinationOf,
  ENDPOINT_ID_BYTES,
  type EndpointKey,
  endpointGone,
  FRAME,
  FRAME_BODY_BYTES_MAX,
  FRAME_BYTES_MAX,
  keyOf,
  malformed,
  PING_BYTES,
  type ProtocolVersion,
  ping,
  pongAnswers,
  readdress,
  restarting,
  type Status,
  SUBPROTOCOLS,
  serverChallenge,
  serverConfirmsAuth,
  serverDeniesAuth,
  status
} from './frames.js'
export { provenEndpointId, signedMessage } from './handshake.js'

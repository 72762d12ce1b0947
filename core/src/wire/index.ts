/** The door of the wire room: message types, codecs and registries generated from proto/. */
export { ERRORS, type ErrorName, errorNameOf } from './generated/errors.js'

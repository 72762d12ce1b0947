/** The door of the device room: what apps use. */
export type * from './api.js'
export { openDevice } from './device.js'
export { formatTicket, parseTicket } from './links.js'

/** What the package offers. Rooms below it are not reached into. */
export { HeddleError } from './errors.js'
export * from './plugin/index.js'

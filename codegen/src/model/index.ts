/** Door of the model room: reading an image into plain data, and what follows from that data. */
export { readModel, readModels } from './build.js'
export * from './facts.js'
export * from './types.js'

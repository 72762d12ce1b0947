/** Door of the wire benchmark: codecs against libraries and against the limit, and their sizes in an app. */
export { contenders, newContests } from './contests.js'
export { loadLibraries } from './libraries.js'
export { callsPerSecond } from './rounds.js'
export { measureSizes, sizeTable } from './sizes.js'

/** Door of the wire benchmark: codecs against libraries and against the limit, and their sizes in an app. */
export { contenders, newContests, wireHomes } from './contests.js'
export { type Libraries, loadLibraries, repository } from './libraries.js'
export { callsPerSecond } from './rounds.js'
export { fillSizes, measureSizes, sizeTable } from './sizes.js'

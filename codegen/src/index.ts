/** What other packages' tests and tools may use: reading the schema into a model, and its facts. */
export {
  buildImage,
  generate,
  generatedFolder,
  generatedFolders,
  generateSources,
  type Image,
  reportPackage,
  temporaryFolder,
  wirePackage
} from './generate/index.js'
export {
  type Change,
  type CompatReport,
  compare,
  compatText,
  isAllowed,
  raisesVersion,
  type Severity
} from './compat/index.js'
export { type Finding, lint } from './lint/index.js'
export * from './model/index.js'

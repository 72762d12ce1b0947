/** Groups of any size, in Heddle and in ts-mls, for the scenario `group` and the tests of what a large group costs. */
export {
  type Contender,
  type ContenderName,
  contenderNames,
  type JoinCosts,
  type MessageRates,
  type UpdateCosts
} from './contender.js'
export { dirtyBytes, HeddleContender } from './heddle.js'
export { LargeGroup, type LargeGroupParts, newKeyPackage } from './large-group.js'
export { loadGroupRooms } from './rooms.js'
export { TsMlsContender } from './ts-mls.js'

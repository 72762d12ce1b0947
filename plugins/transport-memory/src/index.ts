/** The door of the memory transport. */
export { createMemoryNetwork, type Latency, type MemoryNetwork, type MemoryNetworkOptions } from './network.js'
export { type MemoryTransportOptions, memoryTransport as default, memoryTransport } from './plugin.js'
export { createVirtualClock, type RunGoal, type VirtualClock, type VirtualClockOptions } from './virtual-clock.js'

/** The door of the memory transport. */
export { createMemoryNetwork, type Latency, type MemoryNetwork, type MemoryNetworkOptions } from './network.js'
export { memoryTransport as default, memoryTransport, type MemoryTransportOptions } from './plugin.js'
export { createVirtualClock, type RunGoal, type VirtualClock, type VirtualClockOptions } from './virtual-clock.js'

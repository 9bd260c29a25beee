/**
 * The entry `conda-ferry/queue`: a mirror run that is spread over several machines by BullMQ. Sources, stores and clients come
 * from the other entries.
 */
export {
  DEFAULT_ATTEMPTS,
  mirrorByQueue,
  type CoordinateOptions,
  type QueueMirrorReport,
} from './queue/coordinate.js';
export { openQueueRedis, type QueueRedis, type QueueRedisOptions } from './queue/queue-redis.js';
export { createRedisState, rateKeyOf } from './queue/redis-state.js';
export type { SideRequests, WorkerEnds } from './queue/run-parts.js';
export type { RunDescription, RunEnds, RunState } from './queue/run-record.js';
export { runWorker, type RunWorkerOptions, type WorkerReport, type WorkerReporter } from './queue/worker.js';

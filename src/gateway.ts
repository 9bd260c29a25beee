/**
 * The entry `conda-ferry/gateway`: the gateway as a web-standard handler, `(request: Request) => Promise<Response>`, for any
 * server, and the one that binds it to a socket. Sources, stores and clients come from the other entries.
 */
export { openBlobFolder } from './image-layout/blob-folder.js';
export { TempFolder, type TempFolderOptions } from './io/temp-folder.js';
export type { BlobFolder, FolderBlob } from './oci/blob-folder.js';
export {
  createAccessControl,
  type AccessControl,
  type AccessControlOptions,
} from './serve/access-control.js';
export { createAccessLog, type AccessLog, type AccessLogOptions } from './serve/access-log.js';
export type { DeliveryMode } from './serve/archives/archive-desk.js';
export {
  ContentCache,
  type ContentCacheOptions,
  type ContentCacheStats,
} from './serve/cache/content-cache.js';
export type { OfferedChannel } from './serve/channels/channel-set.js';
export type { RefreshTimes } from './serve/channels/refreshed.js';
export type { HeldShards, MakeShards } from './serve/channels/subdir-generation.js';
export type { Generation, ServedChannel, ShardSet, Staleness } from './serve/channels/served-channel.js';
export type { Content } from './serve/content.js';
export { createGateway, type Gateway, type GatewayOptions } from './serve/gateway.js';
export { listen, type Listener, type ListenOptions } from './serve/listen/listener.js';
export type { ListenLimits } from './serve/listen/limits.js';
export type { Answered, ListenReporter } from './serve/listen/listen-reporter.js';
export { createMetrics, type Metrics, type MetricSources } from './serve/metrics.js';
export { PullThroughSource, type PullThroughOptions } from './serve/pull-through/pull-through-source.js';
export { StoreFiller } from './serve/pull-through/store-filler.js';
export type { FillerReporter, FillerStats, StoreFillerOptions } from './serve/pull-through/filler-options.js';
export { createShardMaker } from './serve/shards/shard-maker.js';

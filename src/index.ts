/** The public API: named re-exports, nothing else. */
export { ERROR_CODES, FerryError, isFerryError, type FerryErrorCode } from './errors.js';
export { CopyError, IntegrityError, ParseError, ResponseError, TransportError } from './errors.js';
export { ChannelStore } from './artifact/channel-store.js';
export { OciChannel } from './artifact/oci-channel.js';
export { packArchiveFile, type PackOptions, type StoredPackage } from './artifact/pack.js';
export type { PackageContent, PackageLayer, PackagePlace, Schema, SchemaId } from './artifact/schema.js';
export { schemaV0 } from './artifact/schema-v0.js';
export { WorkerPool } from './artifact/worker-pool.js';
export { DirectoryChannel } from './channel/directory-channel.js';
export { HttpChannel } from './channel/http-channel.js';
export type { ArchiveLocation, ChannelSource, MetadataAnswer, Validators } from './conda/channel-source.js';
export { formatArchiveFilename, parseArchiveFilename, type ArchiveName } from './conda/names.js';
export type { PackageRecord, RepodataRecord } from './conda/package-record.js';
export { Repodata } from './conda/repodata.js';
export { mirrorChannel, planMirror, type MirrorOptions } from './mirror/mirror.js';
export { pullArchives, type PulledArchive, type PullFailure, type PullOptions } from './mirror/pull.js';
export type { Failure, MirrorPlan, MirrorReport, MirrorReporter, SubdirReport } from './mirror/report.js';
export * as oci from './oci.js';

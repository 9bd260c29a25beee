/** The public API: named re-exports, nothing else. */
export { ERROR_CODES, FerryError, isFerryError, type FerryErrorCode } from './errors.js';
export {
  CopyError,
  IntegrityError,
  ParseError,
  ResponseError,
  TransportError,
  UnrepresentableError,
} from './errors.js';
export { ChannelStore } from './artifact/channel-store.js';
export { OciChannel } from './artifact/oci-channel.js';
export { packArchiveFile, type PackOptions, type StoredPackage } from './artifact/pack.js';
export type { PackageContent, PackageLayer, PackagePlace, Schema, SchemaId } from './artifact/schema.js';
export { schemaV0 } from './artifact/schema-v0.js';
export { schemaV1 } from './artifact/schema-v1.js';
export { WorkerPool } from './artifact/worker-pool.js';
export { DirectoryChannel } from './channel/directory-channel.js';
export { HttpChannel } from './channel/http-channel.js';
export type { ArchiveLocation, ChannelSource, MetadataAnswer, Validators } from './conda/channel-source.js';
export { isBuildString, isChannelLabel, isPackageName, isVersion } from './conda/grammar.js';
export { formatMatchSpec } from './conda/match-spec/format-match-spec.js';
export { parseMatchSpec, type MatchSpec } from './conda/match-spec/match-spec.js';
export { matchesRecord, type MatchableRecord } from './conda/match-spec/matches-record.js';
export { formatArchiveFilename, parseArchiveFilename, type ArchiveName } from './conda/names.js';
export type { PackageRecord, RepodataRecord } from './conda/package-record.js';
export type { RecordDetails } from './conda/record-details.js';
export { Repodata } from './conda/repodata/repodata.js';
export { compareVersions } from './conda/version-order.js';
export {
  placeOfShards,
  SHARD_INDEX,
  shardFilename,
  type ShardContent,
  type ShardIndex,
  type ShardsPlace,
} from './conda/shards/shard-files.js';
export { readShard, readShardIndex, type ExpectedShard } from './conda/shards/read-shards.js';
export { splitRepodata } from './conda/shards/split-repodata.js';
export { writeShard, writeShardIndex } from './conda/shards/write-shards.js';
export { check, type CheckTarget, type CheckTargetOptions } from './conformance/check.js';
export type { CheckReporter } from './conformance/check-context.js';
export type { Breach, ClauseResult, Finding } from './conformance/check-log.js';
export { allClauses, clauseOf, type Clause, type ClauseId, type Severity } from './conformance/clauses.js';
export type { CheckReport } from './conformance/report.js';
export { formatHtmlReport } from './conformance/reports/html-report.js';
export { reportDocument } from './conformance/reports/json-report.js';
export { formatJunitReport } from './conformance/reports/junit-report.js';
export { sarifDocument } from './conformance/reports/sarif-report.js';
export { formatTextReport } from './conformance/reports/text-report.js';
export { importBundle, planImport, type ImportBundleOptions } from './mirror/bundle/import-bundle.js';
export { readBundleManifest, type BundledSubdir, type BundleManifest } from './mirror/bundle/manifest.js';
export { planBundle, writeBundle, type WriteBundleOptions } from './mirror/bundle/write-bundle.js';
export {
  exportChannel,
  planExport,
  type ExportOptions,
  type ExportPlan,
  type PlannedExport,
} from './mirror/export/export.js';
export { migrateChannel, planMigration, type MigrateOptions } from './mirror/migrate/migrate.js';
export type { MigrationFailures } from './mirror/migrate/failures-file.js';
export type { MigrationPlan, MigrationReport } from './mirror/migrate/report.js';
export {
  describeFilters,
  NO_FILTERS,
  parseFilters,
  type FilterInput,
  type Filters,
} from './mirror/filters/filters.js';
export { mirrorChannel, planMirror, type MirrorOptions } from './mirror/mirror.js';
export { makePlanDocument, parsePlanDocument, type PlanDocument } from './mirror/plan-document.js';
export { pullArchives, type PulledArchive, type PullFailure, type PullOptions } from './mirror/pull.js';
export type { Failure, MirrorPlan, MirrorReport, MirrorReporter, SubdirReport } from './mirror/report.js';
export { FINDING_CODES, type Finding as VerifyFinding, type FindingCode } from './mirror/verify/findings.js';
export type { SubdirAudit, VerifyDepth, VerifyReport, VerifyReporter } from './mirror/verify/report.js';
export { verifyChannel, type RepairWish, type VerifyOptions } from './mirror/verify/verify.js';
export { verifyOrdinaryChannel, type VerifyOrdinaryOptions } from './mirror/verify/verify-ordinary.js';
export {
  takeShardSnapshot,
  type ShardSnapshotAnswer,
  type ShardSnapshotOptions,
} from './mirror/shard-snapshot.js';
export { formatJobSummary } from './mirror/reports/job-summary.js';
export { makeRunRecord, type RunFacts } from './mirror/reports/make-run-record.js';
export { formatMirrorPage, type MirrorPageOptions } from './mirror/reports/mirror-page.js';
export { formatPrometheus } from './mirror/reports/prometheus.js';
export { writeReportFolder, type ReportFolderOptions } from './mirror/reports/report-folder.js';
export { formatRunRecord, parseRunRecord, type RunRecord } from './mirror/reports/run-record.js';
export { makeChanneldata, type ChanneldataSubdir } from './publish/channeldata.js';
export { selectCurrent } from './publish/current-repodata.js';
export {
  indexFolder,
  type IndexedSubdir,
  type IndexFolderOptions,
  type IndexFolderReport,
  type IndexReporter,
} from './publish/folder/index-folder.js';
export {
  indexChannel,
  type IndexOptions,
  type IndexReport,
  type SubdirIndex,
} from './publish/index-store/index-channel.js';
export { readIndexedInfo, readIndexedLayer, type IndexedInfo } from './publish/indexed-info.js';
export { makeRecord, type ArchiveSums } from './publish/make-record.js';
export {
  applyPatches,
  parsePatchInstructions,
  patchRunExports,
  type PatchInstructions,
} from './publish/patch-instructions.js';
export {
  pushArchives,
  type PushedArchive,
  type PushFailure,
  type PushOptions,
  type PushReport,
  type PushReporter,
} from './publish/push.js';
export { readPatches, type PatchSource } from './publish/read-patches.js';
export { yankArchives, type YankOptions, type YankReport } from './publish/yank.js';
export { makeRunExports, parseRunExports, type RunExports } from './publish/run-exports.js';
export { writeRepodata, type SubdirRecords } from './publish/subdir-records.js';
export {
  uniteLocks,
  type LockedArchive,
  type LockedArchives,
} from './provenance/lock-files/locked-archives.js';
export { parseLockFile } from './provenance/lock-files/parse-lock-file.js';
export * as oci from './oci.js';

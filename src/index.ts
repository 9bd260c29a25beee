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
export { formatArchiveFilename, parseArchiveFilename, type ArchiveName } from './conda/names.js';
export type { PackageRecord, RepodataRecord } from './conda/package-record.js';
export { Repodata } from './conda/repodata.js';
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
export { migrateChannel, planMigration, type MigrateOptions } from './mirror/migrate/migrate.js';
export type { MigrationFailures } from './mirror/migrate/failures-file.js';
export type { MigrationPlan, MigrationReport } from './mirror/migrate/report.js';
export { mirrorChannel, planMirror, type MirrorOptions } from './mirror/mirror.js';
export { pullArchives, type PulledArchive, type PullFailure, type PullOptions } from './mirror/pull.js';
export type { Failure, MirrorPlan, MirrorReport, MirrorReporter, SubdirReport } from './mirror/report.js';
export { formatJobSummary } from './mirror/reports/job-summary.js';
export { makeRunRecord, type RunFacts } from './mirror/reports/make-run-record.js';
export { formatMirrorPage, type MirrorPageOptions } from './mirror/reports/mirror-page.js';
export { formatPrometheus } from './mirror/reports/prometheus.js';
export { writeReportFolder, type ReportFolderOptions } from './mirror/reports/report-folder.js';
export { formatRunRecord, parseRunRecord, type RunRecord } from './mirror/reports/run-record.js';
export * as oci from './oci.js';

import type { SchemaId } from '../../artifact/schema.js';
import type { Refused } from '../wanted-records.js';
import type { Failure, PublishedAs } from '../report.js';

/** An archive that has to be read, since its artifact does not tell all that the new one says. */
export interface ArchiveToRead {
  readonly filename: string;
  /** In bytes. */
  readonly size: number;
  /** What is lacking: its info or index layer, or its md5. */
  readonly lacks: 'info' | 'md5';
}

/** Both ends of a migration. */
export interface MigrationEnds {
  readonly source: string;
  readonly destination: string;
  readonly from: SchemaId;
  readonly to: SchemaId;
}

/** What a migration would do in one subdir. Bytes count archives. */
export interface PlannedMigration {
  readonly subdir: string;
  /** Records the source lists. */
  readonly listed: number;
  /** Artifacts that are there already as they should be, and artifacts to write. */
  readonly artifacts: { readonly there: number; readonly toWrite: number };
  /** Archives of the artifacts to write. */
  readonly archives: number;
  /** Archives that are read, wherever the destination is. */
  readonly toRead: readonly ArchiveToRead[];
  /** Of archives that are read or sent; within one registry only the former. */
  readonly bytes: number;
  /** Requests for the artifacts; tokens and metadata are counted apart. */
  readonly requests: number;
  /** Records that the target schema cannot hold. */
  readonly withheld: readonly Refused[];
  /** Records that will fail, as far as that is known without moving anything. */
  readonly failing: readonly Failure[];
  /** Archives that the source keeps and does not list: they stay there. */
  readonly unlisted: number;
}

/** What a migration would do. */
export interface MigrationPlan extends MigrationEnds {
  /** Whether blobs are mounted, both channels being in one registry. */
  readonly mounts: boolean;
  readonly subdirs: readonly PlannedMigration[];
}

/** What a migration did in one subdir. */
export interface MigratedSubdir {
  readonly subdir: string;
  readonly publishedAs: PublishedAs;
  /** Records the source lists. */
  readonly listed: number;
  /** Archives of artifacts that were there already as they should be. */
  readonly there: number;
  /** Archives of artifacts that were written. */
  readonly migrated: number;
  /** Artifacts that were written. */
  readonly artifacts: number;
  /** Archives whose bytes were read or sent, and how many bytes that was. */
  readonly moved: { readonly archives: number; readonly bytes: number };
  /** Artifacts found to be as they should be after everything was written. */
  readonly verified: number;
  readonly failed: readonly Failure[];
  readonly withheld: readonly Refused[];
  /** Archives that the source keeps and does not list: they stay there. */
  readonly unlisted: number;
  /** Other metadata that was carried, such as `run_exports.json`. */
  readonly metadata: readonly string[];
  readonly warnings: readonly string[];
}

/** What a migration did. */
export interface MigrationReport extends MigrationEnds {
  readonly mounts: boolean;
  readonly subdirs: readonly MigratedSubdir[];
  /** Metadata of the whole channel that was carried. */
  readonly metadata: readonly string[];
}

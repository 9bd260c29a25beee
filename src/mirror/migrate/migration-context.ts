import type { ChannelStore } from '../../artifact/channel-store.js';
import type { OciChannel } from '../../artifact/oci-channel.js';
import type { WorkerPool } from '../../artifact/worker-pool.js';
import type { Resources } from '../../io/resources.js';
import type { TempFolder } from '../../io/temp-folder.js';
import type { MirrorReporter } from '../report.js';

/** What a migration has at hand, planned or run. */
export interface MigrationContext {
  /** Only read. */
  readonly source: ChannelStore;
  /** The source as a channel. */
  readonly channel: OciChannel;
  readonly destination: ChannelStore;
  /** Whether blobs can be mounted, both being in one registry. */
  readonly mounts: boolean;
  readonly workers: WorkerPool;
  readonly temp: TempFolder;
  /** Holds what was read until the migration ends. */
  readonly resources: Resources;
  readonly concurrency: number;
  /** Whether packages that fail are left out instead of ending the run. */
  readonly keepGoing: boolean;
  /** File names by subdir, where only these are tried. */
  readonly only: ReadonlyMap<string, ReadonlySet<string>> | undefined;
  readonly reporter: MirrorReporter;
  readonly now: () => Date;
  readonly signal: AbortSignal | undefined;
}

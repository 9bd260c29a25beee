import type { WorkerPool } from '../artifact/worker-pool.js';
import type { ChannelSource } from '../conda/channel-source.js';
import { checkSubdirs, KNOWN_SUBDIRS } from '../conda/names.js';
import type { RepodataRecord } from '../conda/package-record.js';
import type { RecordDetails } from '../conda/record-details.js';
import type { RecordDocument, Repodata } from '../conda/repodata/repodata.js';
import { TempFolder } from '../io/temp-folder.js';
import { takeSnapshot } from './snapshot.js';
import { noRepodata } from './no-repodata.js';

/** Options of {@link readChannelRecords}. */
export interface ReadChannelOptions {
  /** @defaultValue all that the channel has */
  readonly subdirs?: readonly string[] | undefined;
  readonly workers: WorkerPool;
  readonly signal?: AbortSignal | undefined;
}

/** What one subdir lists; to be read before the next one is asked for. */
export interface ChannelRecords {
  readonly subdir: string;
  readonly records: Iterable<RepodataRecord>;
  /** Reads the repodata again for all that these records say. */
  readonly details: (wanted: (filename: string) => boolean) => AsyncIterable<RecordDetails>;
  /** Reads it again for these records as they stand. */
  readonly documents: (wanted: (filename: string) => boolean) => AsyncIterable<RecordDocument>;
}

/**
 * Reads what a channel lists, subdir by subdir; unusable records are left out.
 * @throws FerryError `CHANNEL_NOT_FOUND` where no subdir has repodata
 */
export async function* readChannelRecords(
  channel: ChannelSource,
  options: ReadChannelOptions,
): AsyncGenerator<ChannelRecords> {
  checkSubdirs(options.subdirs);
  const wanted = new Set(options.subdirs ?? (await channel.subdirs(options)) ?? KNOWN_SUBDIRS);
  await using temp = await TempFolder.create();
  let found = false;
  for (const subdir of wanted) {
    const answer = await takeSnapshot(channel, subdir, { ...options, temp });
    if (answer.status !== 'found') continue;
    found = true;
    await using snapshot = answer.snapshot;
    const { repodata } = snapshot;
    const { signal } = options;
    yield {
      subdir,
      records: usable(repodata),
      details: (wants) => repodata.details({ wants, signal }),
      documents: (wants) => repodata.documents({ wants, signal }),
    };
  }
  if (!found) throw noRepodata(channel, options.subdirs);
}

function* usable(repodata: Repodata): Generator<RepodataRecord> {
  for (const read of repodata.records()) if ('record' in read) yield read.record;
}

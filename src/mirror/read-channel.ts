import type { WorkerPool } from '../artifact/worker-pool.js';
import type { ChannelSource } from '../conda/channel-source.js';
import { isSubdir, KNOWN_SUBDIRS } from '../conda/names.js';
import type { RepodataRecord } from '../conda/package-record.js';
import { Repodata } from '../conda/repodata.js';
import { FerryError } from '../errors.js';
import { takeSnapshot } from './snapshot.js';

/** Options of {@link readChannelRecords}. */
export interface ReadChannelOptions {
  /** @defaultValue all that the channel has */
  readonly subdirs?: readonly string[] | undefined;
  readonly workers: WorkerPool;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Reads what a channel lists, subdir by subdir; unusable records are left out.
 * @throws FerryError `CHANNEL_NOT_FOUND` where no subdir has repodata
 */
export async function* readChannelRecords(
  channel: ChannelSource,
  options: ReadChannelOptions,
): AsyncGenerator<{ readonly subdir: string; readonly records: readonly RepodataRecord[] }> {
  const wanted = new Set(options.subdirs ?? (await channel.subdirs(options)) ?? KNOWN_SUBDIRS);
  let found = false;
  for (const subdir of wanted) {
    if (!isSubdir(subdir)) throw new FerryError('USAGE', `\`${subdir}\` is no subdir such as \`noarch\``);
    const answer = await takeSnapshot(channel, subdir, options);
    if (answer.status !== 'found') continue;
    found = true;
    const repodata = new Repodata(answer.snapshot.bytes, subdir);
    yield {
      subdir,
      records: [...repodata.records()].flatMap((read) => ('record' in read ? [read.record] : [])),
    };
  }
  if (!found) throw new FerryError('CHANNEL_NOT_FOUND', `there is no repodata at \`${channel.url}\``);
}

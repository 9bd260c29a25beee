import { isFerryError } from '../errors.js';
import type { RepodataRecord } from '../conda/package-record.js';
import type { ContentCache } from '../serve/cache/content-cache.js';
import type { OfferedChannel } from '../serve/channels/channel-set.js';
import { PullThroughSource } from '../serve/pull-through/pull-through-source.js';
import { StoreFiller } from '../serve/pull-through/store-filler.js';
import { count, formatBytes } from './output.js';
import { offerChannel, type PulledChannel } from './served-channels.js';
import type { Session } from './session.js';

/** What {@link openPullThrough} works with. */
export interface PullThroughTools {
  readonly session: Session;
  readonly cache: ContentCache;
  readonly lockFolder: string;
  readonly tempDir: string | undefined;
  /** Says something to people. */
  readonly talk: (line: string) => void;
  readonly signal: AbortSignal;
}

/** A channel that fills its store by use. */
export interface PullThrough extends AsyncDisposable {
  readonly offered: OfferedChannel;
  /** Notes an archive that was served. */
  note(subdir: string, record: RepodataRecord): void;
  /** Puts what waits, as far as that goes in the time given, in milliseconds. */
  close(graceMs: number): Promise<void>;
}

/**
 * Opens a channel whose archives come out of a store, and from upstream where that lacks them; those are put into it.
 * @throws FerryError `USAGE`, `ROLE_MISMATCH`, `FOREIGN_RECORDS`, and what else keeps the store from being filled
 */
export async function openPullThrough(
  { upstream: served, store: location }: PulledChannel,
  schema: string,
  { session, cache, lockFolder, tempDir, talk, signal }: PullThroughTools,
): Promise<PullThrough> {
  const store = session.openStore(location);
  const offered = offerChannel(served, session, schema);
  const upstream = offered.open(undefined) ?? session.openChannel(served.location);
  const filler = new StoreFiller({
    ...{ upstream, store, lockFolder, tempDir, workers: session.workers },
    content: (digest) => cache.find(digest),
    reporter: {
      filled: ({ subdirs, archives, bytes }) => {
        talk(`stored: ${count(archives, 'archive')}, ${formatBytes(bytes)} (${subdirs.join(', ')})`);
      },
      runFailed: ({ error, retryInMs }) => {
        const seconds = String(Math.ceil(retryInMs / 1000));
        talk(`warning: the store: ${error.message} [${error.code}]; trying again in ${seconds} s`);
      },
      refused: ({ subdir, filename }, { code, message }) => {
        talk(`warning: ${subdir}/${filename} is not stored: ${message} [${code}]`);
      },
      waitsForRun: (subdir) => {
        talk(`another run writes to ${subdir} of the store; waiting for its end`);
      },
      forgot: (archives) => {
        talk(`warning: ${count(archives, 'archive')} to be stored forgotten until asked for again`);
      },
      warning: (message) => {
        talk(`warning: ${message}`);
      },
    },
  });
  await filler.check({ signal });
  const source = new PullThroughSource({
    upstream,
    // Each remembers what it has read of the store, which must not be the other's.
    store: session.openStore(location),
    reporter: {
      storeFailed: ({ subdir, filename }, error) => {
        const code = isFerryError(error) ? error.code : 'INTERNAL';
        talk(`warning: ${subdir}/${filename} comes from upstream: ${error.message} [${code}]`);
      },
    },
  });
  return {
    offered: {
      name: served.name,
      // Labels of the upstream are served, and not stored.
      open: (label) => (label === undefined ? source : offered.open(label)),
    },
    note: (subdir, { filename, sha256, size }) => {
      filler.note({ subdir, filename, sha256, size });
    },
    close: (graceMs) => filler.close(graceMs),
    [Symbol.asyncDispose]: () => filler.close(0),
  };
}

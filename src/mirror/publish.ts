import { randomUUID } from 'node:crypto';
import type { ChannelStore } from '../artifact/channel-store.js';
import { writeLedger, type Ledger, type LedgerRole, type Quarantined } from '../artifact/ledger.js';
import { REPODATA, ZSTD_SUFFIX } from '../artifact/media-types.js';
import { moveLatest, pushMetadata, type MetadataLayer } from '../artifact/metadata-artifact.js';
import type { WorkerPool } from '../artifact/worker-pool.js';
import type { Repodata } from '../conda/repodata.js';
import { digestOf, type Digest } from '../io/digest.js';
import { encodeJson } from '../oci/manifest.js';
import type { Descriptor } from '../oci/descriptor.js';
import type { Refused } from './plan.js';
import type { Snapshot } from './snapshot.js';
import type { Published } from './state.js';

/** What conda-oci-mirror uses; repodata is compressed once and read very often. */
const ZSTD_LEVEL = 15;

/** The records of a published repodata, and how they came to be. */
export interface Composition {
  readonly bytes: Uint8Array;
  /** Whether these are the source's bytes. */
  readonly unchanged: boolean;
}

/** What decides what is listed. */
export interface CompositionInput {
  readonly snapshot: Snapshot;
  readonly repodata: Repodata;
  /** Tells whether an archive is there, with the bytes that its record names. */
  readonly isThere: (filename: string) => boolean;
  /** Records of others that stay listed, with the repodata they stand in. */
  readonly foreign: { readonly repodata: Repodata; readonly filenames: ReadonlySet<string> } | undefined;
}

/** Makes the repodata to publish: the source's bytes if all of it is there, else spliced out of them. */
export function composeRepodata(input: CompositionInput): Composition {
  const { repodata, foreign } = input;
  const isComplete = [...repodata.filenames()].every((filename) => input.isThere(filename));
  const hasForeign = foreign !== undefined && foreign.filenames.size > 0;
  if (isComplete && !hasForeign && repodata.neededChanges().length === 0) {
    return { bytes: input.snapshot.bytes, unchanged: true };
  }
  return { bytes: repodata.splice(input.isThere, foreign), unchanged: false };
}

/** What {@link publishRepodata} works with. */
export interface PublishOptions {
  readonly store: ChannelStore;
  readonly workers: WorkerPool;
  readonly now: () => Date;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Publishes repodata of a subdir: content and history tag, a ledger that says so, then `latest`. A kill at any point
 * leaves the old state or the new one, and a ledger that vouches for it.
 * @returns the manifest's descriptor
 */
export async function publishRepodata(
  snapshot: Snapshot,
  composition: Composition,
  ledger: Ledger,
  options: PublishOptions,
): Promise<Descriptor> {
  const { store, signal } = options;
  const { subdir } = snapshot;
  const layers = await layersOfRepodata(snapshot, composition, options);
  const history = store.schema.historyTag(options.now());
  const pushed = await pushMetadata(store, subdir, 'repodata.json', layers, { tags: [history], signal });
  const running = ledger.running ?? newRunning(options.now());
  await writeLedger(store, { ...ledger, running: { ...running, publishing: pushed.digest } }, { signal });
  await moveLatest(store, subdir, 'repodata.json', pushed, { signal });
  return pushed;
}

/** The manifest behind `latest`, if it holds just these bytes. */
export function publishedAlready(
  published: Published | undefined,
  composition: Composition,
): Descriptor | undefined {
  const digest = digestOf(composition.bytes);
  const found = published?.found;
  return found?.layers.some((layer) => layer.mediaType === REPODATA && layer.digest === digest) === true
    ? found.descriptor
    : undefined;
}

/** The marker of a run that has begun. */
export function newRunning(now: Date): NonNullable<Ledger['running']> {
  return { id: randomUUID(), started: now.toISOString() };
}

/** What a run ends with, as the ledger keeps it. */
export interface LedgerInput {
  readonly store: ChannelStore;
  readonly role: LedgerRole;
  readonly migrated?: Ledger['migrated'];
  /** The source's repodata as it was read; `undefined` where the next run is to look at it anew. */
  readonly seen: Ledger['source'];
  readonly snapshot: Snapshot;
  readonly repodata: Digest;
  readonly unchanged: boolean;
  readonly complete: boolean;
  readonly counts: NonNullable<Ledger['counts']>;
  readonly withheld: readonly (Omit<Refused, 'code'> & { readonly code: string })[];
  readonly quarantine: readonly Quarantined[];
  readonly kept: ReadonlyMap<string, string>;
  /** Since when archives are not listed. @defaultValue of none it is known */
  readonly unlisted?: Ledger['unlisted'];
  readonly foreign: ReadonlySet<string>;
  readonly subdirs: readonly string[] | undefined;
}

/** What a ledger keeps of the source's repodata. */
export function seenOf({ origin, digest }: Snapshot): NonNullable<Ledger['source']> {
  const { etag, lastModified } = origin.validators;
  return {
    file: origin.file,
    digest,
    ...(etag === undefined ? {} : { etag }),
    ...(lastModified === undefined ? {} : { last_modified: lastModified }),
  };
}

/** Makes the ledger of a run that has ended. */
export function makeLedger(input: LedgerInput): Ledger {
  const { snapshot, subdirs, migrated, seen, unlisted = {} } = input;
  return {
    ledger_version: 1,
    schema: input.store.schema.id,
    subdir: snapshot.subdir,
    role: input.role,
    ...(migrated === undefined ? {} : { migrated }),
    filters: filtersDigest(input.store),
    ...(seen === undefined ? {} : { source: seen }),
    repodata: input.repodata,
    unchanged: input.unchanged,
    complete: input.complete,
    counts: input.counts,
    withheld: input.withheld.map(({ filename, code, message, clause }) => ({
      filename,
      code,
      message,
      ...(clause === undefined ? {} : { clause }),
    })),
    quarantine: [...input.quarantine],
    kept: Object.fromEntries(input.kept),
    ...(Object.keys(unlisted).length === 0 ? {} : { unlisted }),
    foreign: [...input.foreign],
    ...(subdirs === undefined ? {} : { subdirs: [...subdirs] }),
  };
}

/** The ledger of a channel that has nothing yet: what the first run's marker is written into. */
export function firstLedger(store: ChannelStore, subdir: string, role: LedgerRole): Ledger {
  return {
    ledger_version: 1,
    schema: store.schema.id,
    subdir,
    role,
    filters: filtersDigest(store),
    unchanged: false,
    complete: false,
    withheld: [],
    quarantine: [],
    kept: {},
    foreign: [],
  };
}

/** Digest of all that decides which records are wanted, besides the source. */
export function filtersDigest(store: ChannelStore): Digest {
  return digestOf(encodeJson({ schema: store.schema.id }));
}

async function layersOfRepodata(
  snapshot: Snapshot,
  composition: Composition,
  options: PublishOptions,
): Promise<MetadataLayer[]> {
  const { bytes } = composition;
  const own = composition.unchanged ? snapshot.zst : undefined;
  const zst = own ?? (await options.workers.run('compress', { bytes, level: ZSTD_LEVEL }, options.signal));
  return [
    { mediaType: REPODATA, title: 'repodata.json', bytes },
    { mediaType: REPODATA + ZSTD_SUFFIX, title: 'repodata.json.zst', bytes: zst },
  ];
}

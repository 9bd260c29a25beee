import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { REPODATA } from '../../artifact/media-types.js';
import { resolveLatest } from '../../artifact/metadata-artifact.js';
import { WorkerPool } from '../../artifact/worker-pool.js';
import type { ChannelSource } from '../../conda/channel-source.js';
import { KNOWN_SUBDIRS } from '../../conda/names.js';
import { archiveIdentity } from '../../conda/package-record.js';
import { FerryError } from '../../errors.js';
import type { Digest } from '../../io/digest.js';
import { TempFolder } from '../../io/temp-folder.js';
import { lockDestination } from '../lock-destination.js';
import { mirrorChannel, planMirror, type MirrorOptions } from '../mirror.js';
import type { MirrorPlan, MirrorReport, SubdirReport } from '../report.js';
import { takeSnapshot } from '../snapshot.js';
import { readPublished } from '../state.js';
import {
  readBundleManifest,
  writeBundleManifest,
  type BundledSubdir,
  type BundleManifest,
} from './manifest.js';

/** Options of {@link writeBundle}. */
export interface WriteBundleOptions extends MirrorOptions {
  /** Folder of the layouts that {@link MirrorOptions.destination} writes. */
  readonly folder: string;
  /** An earlier state of the channel, which whoever imports the bundle has. */
  readonly previous: ChannelSource;
}

/** An earlier state of one subdir. */
interface Base {
  /** Of the JSON text. */
  readonly digest: Digest;
  /** File name to identity. */
  readonly archives: ReadonlyMap<string, string>;
}

type Bases = ReadonlyMap<string, Base>;

/** Says what {@link writeBundle} would do, without moving anything. @throws FerryError as {@link writeBundle} */
export async function planBundle(options: WriteBundleOptions): Promise<MirrorPlan> {
  const bases = await readBases(options);
  return planMirror({ ...options, deep: true, elsewhere: archivesOf(bases) });
}

/**
 * Writes what a channel has more than an earlier state of it into image layouts, with all of its repodata and a manifest that
 * says what is added and what is no longer listed. A run that was killed goes on where it was.
 * @throws FerryError as {@link mirrorChannel}; `USAGE` for a folder with something else in it
 */
export async function writeBundle(options: WriteBundleOptions): Promise<MirrorReport> {
  const { folder, source, previous, destination } = options;
  await using _ = await lockDestination(destination, options);
  const bases = await readBases(options);
  const begun: BundleManifest = {
    bundle_version: 1,
    complete: false,
    source: source.url,
    previous: previous.url,
    schema: destination.schema.id,
    subdirs: Object.fromEntries(
      [...bases].map(([subdir, { digest }]) => [subdir, { base: digest, add: [], remove: [] }]),
    ),
  };
  const found = await readBundleManifest(folder);
  if (found === undefined ? await hasChannel(options, bases) : !isDeepStrictEqual(found, begun)) {
    throw new FerryError('USAGE', `\`${folder}\` has another bundle or channel in it`, {
      hint: 'write the bundle into an empty folder',
    });
  }
  await writeBundleManifest(folder, begun);
  // The layouts have holes on purpose: what is there is asked, since no ledger can vouch for it.
  const report = await mirrorChannel({
    ...options,
    deep: true,
    elsewhere: archivesOf(bases),
    lockFolder: undefined,
  });
  const subdirs: Record<string, BundledSubdir> = {};
  await using workers = new WorkerPool();
  await using temp = await TempFolder.create(options.tempDir);
  for (const subdir of report.subdirs) {
    if (subdir.publishedAs === 'nothing') continue;
    subdirs[subdir.subdir] = await describe(subdir, bases.get(subdir.subdir), { workers, temp }, options);
    // It would say that all that is listed is there.
    await rm(join(folder, destination.repositoryName(subdir.subdir, ledgerOf(options))), {
      recursive: true,
      force: true,
    });
  }
  await writeBundleManifest(folder, { ...begun, complete: true, subdirs });
  return report;
}

async function readBases({ previous, subdirs, signal }: WriteBundleOptions): Promise<Bases> {
  await using workers = new WorkerPool();
  await using temp = await TempFolder.create();
  const bases = new Map<string, Base>();
  for (const subdir of subdirs ?? (await previous.subdirs({ signal })) ?? KNOWN_SUBDIRS) {
    const answer = await takeSnapshot(previous, subdir, { workers, temp, signal });
    if (answer.status !== 'found') continue;
    await using snapshot = answer.snapshot;
    const { repodata, digest } = snapshot;
    bases.set(subdir, { digest, archives: new Map(repodata.identities()) });
  }
  if (bases.size > 0) return bases;
  throw new FerryError('CHANNEL_NOT_FOUND', `there is no repodata at \`${previous.url}\``, {
    hint: 'pass --delta-from an earlier copy of the channel; the first copy is no bundle but a plain mirror',
  });
}

/** Whether there is a channel in the folder that is no bundle. */
async function hasChannel({ destination, signal }: WriteBundleOptions, bases: Bases): Promise<boolean> {
  for (const subdir of bases.keys()) {
    if ((await resolveLatest(destination, subdir, 'repodata.json', { signal })) !== undefined) return true;
  }
  return false;
}

async function describe(
  { subdir, failed }: SubdirReport,
  base: Base | undefined,
  tools: { readonly workers: WorkerPool; readonly temp: TempFolder },
  { destination, signal }: WriteBundleOptions,
): Promise<BundledSubdir> {
  const latest = await resolveLatest(destination, subdir, 'repodata.json', { signal });
  await using published = latest && (await readPublished(destination, subdir, latest, { ...tools, signal }));
  if (published === undefined) throw new FerryError('INTERNAL', `\`${subdir}\` was not published`);
  const { repodata, found } = published;
  const text = found.layers.find(({ mediaType }) => mediaType === REPODATA)?.digest;
  const add: BundledSubdir['add'] = [];
  for (const read of repodata.records()) {
    const identity = 'record' in read ? archiveIdentity(read.record) : undefined;
    if (!('record' in read) || identity === undefined) continue;
    const { filename, size } = read.record;
    if (base?.archives.get(filename) === identity) continue;
    add.push({ filename, identity, ...(size === undefined ? {} : { size }) });
  }
  // What could not be had is listed at the source all the same.
  const open = new Set(failed.map(({ filename }) => filename));
  const remove = [...(base?.archives.keys() ?? [])].filter((name) => !repodata.has(name) && !open.has(name));
  return { base: base?.digest ?? null, repodata: text, add, remove };
}

function archivesOf(bases: Bases): ReadonlyMap<string, ReadonlyMap<string, string>> {
  return new Map([...bases].map(([subdir, { archives }]) => [subdir, archives]));
}

function ledgerOf({ destination }: WriteBundleOptions): string {
  return destination.schema.metadataRepository('ledger');
}

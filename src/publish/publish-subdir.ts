/** The part of a push that concerns one subdir: what is listed there decides what may be stored, and what is logged. */
import { storeArchive, type StoredPackage } from '../artifact/pack.js';
import type { LoggedOperation } from '../artifact/operation-log.js';
import { isFerryError, type FerryError } from '../errors.js';
import { digestHex } from '../io/digest.js';
import { forEachConcurrently } from '../io/pool.js';
import { establishSubdir, openSubdir } from './channel-role.js';
import { mergeLog } from './commit.js';
import type { Head } from './head.js';
import { alreadyPublished, judgeArchives, type Wanted } from './judge-archives.js';
import { listStored, withdrawListed } from './list-stored.js';
import { revisionOf, type MergedState } from './merge.js';
import type { PreparedArchive } from './prepare-archive.js';
import type { PushOptions, PushReporter, PushStatus } from './push.js';
import { restoreListed, twinOf } from './restore-listed.js';

/** What became of an archive. */
export type Outcome =
  | {
      readonly archive: PreparedArchive;
      readonly status: PushStatus;
      readonly stored: StoredPackage | undefined;
    }
  | FailedArchive;

/** An archive that is not published, with why. */
export interface FailedArchive {
  readonly archive: PreparedArchive;
  readonly error: FerryError;
}

/** An archive that is stored, and not listed yet. */
export type StoredWanted = Wanted & { readonly stored: StoredPackage };

/** Options of {@link publishSubdir}. */
export interface PublishSubdirOptions extends PushOptions {
  readonly concurrency: number;
  readonly dryRun: boolean;
  readonly reporter: PushReporter;
  /** Asks once whether the destination takes uploads at all, before the first. */
  readonly checkWritable: () => Promise<void>;
}

/** A head, with what was merged on the way to it. */
export interface Reached {
  readonly head: Head;
  readonly merged: readonly LoggedOperation[];
}

/**
 * Publishes archives of one subdir.
 * @throws FerryError `ROLE_MISMATCH`, `SCHEMA_CONFLICT`, `TAG_MOVED`, `OPERATION_INVALID`
 */
export async function publishSubdir(
  subdir: string,
  archives: readonly PreparedArchive[],
  given: PublishSubdirOptions,
): Promise<{ readonly head: Head; readonly outcomes: readonly Outcome[] }> {
  const { dryRun, storeOnly = false } = given;
  const { head: before, state, ledger, epoch } = await openSubdir(subdir, given);
  const options = { ...given, epoch };
  const { wanted, refused, there } = judgeArchives(archives, state, options);
  const outcomes: Outcome[] = [
    ...refused,
    ...there.map((archive) => ({ archive, status: 'there' as const, stored: undefined })),
  ];
  for (const _ of outcomes) options.reporter.done?.();
  if (dryRun) {
    outcomes.push(
      ...wanted.map(({ archive, status }) => {
        return { archive, status: storeOnly ? ('stored' as const) : status, stored: undefined };
      }),
    );
    return { head: before, outcomes };
  }
  if (wanted.length > 0) await options.checkWritable();
  if (storeOnly) {
    const { stored, failed } = await storeAll(wanted, options);
    const done = stored.map((item) => ({
      archive: item.archive,
      status: 'stored' as const,
      stored: item.stored,
    }));
    outcomes.push(...failed, ...done);
    return { head: before, outcomes };
  }
  let reached: Reached = { head: before, merged: [] };
  if (wanted.length > 0) {
    await establishSubdir(subdir, before, { ...options, ledger });
    reached = await publishWanted(subdir, wanted, { head: before, state }, outcomes, options);
  } else if (state !== before) {
    // What is judged as listed may stand in the log only: whoever put it there was killed.
    reached = await mergeLog(subdir, before, options);
  }
  for (const filename of disputed(outcomes, reached)) await restoreListed(subdir, filename, reached, options);
  return { head: reached.head, outcomes };
}

/** @returns what is in `latest` then; what became of the archives is added to `outcomes` */
async function publishWanted(
  subdir: string,
  wanted: readonly Wanted[],
  before: { readonly head: Head; readonly state: MergedState },
  outcomes: Outcome[],
  options: PublishSubdirOptions,
): Promise<Reached> {
  const open = await withdrawListed(subdir, wanted, before.head, options);
  const isTaken = ({ archive: { layer } }: Wanted): boolean => {
    const sha256 = open.head.listing.get(layer.filename)?.['sha256'];
    return sha256 !== undefined && sha256 !== digestHex(layer.digest);
  };
  // Somebody else has put other bytes in that place meanwhile: those are listed, and must stay.
  for (const { archive } of wanted.filter(isTaken)) {
    outcomes.push({ archive, error: alreadyPublished(archive.layer.filename) });
    options.reporter.done?.();
  }
  const free = wanted.filter((item) => !isTaken(item));
  const { stored, failed } = await storeAll(free, options);
  outcomes.push(...failed);
  const lost = free.filter(({ archive }) => failed.some((failure) => failure.archive === archive));
  const parts = { stored, lost, before: before.state };
  return listStored(subdir, parts, open, outcomes, options);
}

/** Twins one after the other: they share a tag, and whoever writes it second has to know of the first. */
async function storeAll(
  wanted: readonly Wanted[],
  options: PublishSubdirOptions,
): Promise<{ readonly stored: readonly StoredWanted[]; readonly failed: readonly FailedArchive[] }> {
  const byTag = new Map<string, Wanted[]>();
  for (const item of wanted) {
    const { repository, tag } = item.archive.place;
    const place = `${repository}:${tag}`;
    byTag.set(place, [...(byTag.get(place) ?? []), item]);
  }
  const stored: StoredWanted[] = [];
  const failed: FailedArchive[] = [];
  await forEachConcurrently(byTag.values(), options, async (items) => {
    for (const item of items) {
      try {
        stored.push({ ...item, stored: await storeArchive(item.archive, options) });
      } catch (error) {
        if (!isFerryError(error) || error.code === 'DISK_FULL' || error.code === 'INTERNAL') throw error;
        failed.push({ archive: item.archive, error });
      }
      options.reporter.done?.();
    }
  });
  return { stored, failed };
}

/** File names whose tag another writer may have written too. Of two under one name, pushed at once, one is listed. */
function disputed(outcomes: readonly Outcome[], { head, merged }: Reached): readonly string[] {
  const entries = merged.flatMap(({ operation }) => operation.entries);
  return outcomes.flatMap((outcome) => {
    const { filename, digest } = outcome.archive.layer;
    const twin = twinOf(filename);
    const hasRival = entries.some(
      (entry) =>
        entry.kind !== 'remove' && entry.filename === filename && entry.record.sha256 !== digestHex(digest),
    );
    const isOpen =
      'error' in outcome ? outcome.error.code === 'ARCHIVE_EXISTS' : outcome.status === 'replaced';
    const isThere = 'status' in outcome && outcome.status === 'there';
    const hasTwin = !isThere && (head.listing.has(twin) || revisionOf(head, twin) > 0);
    return hasRival || isOpen || hasTwin ? [filename] : [];
  });
}

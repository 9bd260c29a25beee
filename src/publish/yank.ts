/** Yank: an archive moves to `removed`, where solvers do not see it, and stays to be fetched by lock files that name it. */
import type { OperationEntry, PublishedRecord } from '../artifact/operation-log.js';
import type { ChannelStore } from '../artifact/channel-store.js';
import { storedSubdirs } from '../artifact/stored-subdirs.js';
import { isArchiveFilename, parseArchiveFilename } from '../conda/names.js';
import { FerryError } from '../errors.js';
import { compareText } from '../io/compare-text.js';
import type { Digest } from '../io/digest.js';
import type { CallOptions } from '../oci/storage.js';
import { establishSubdir, openSubdir, type OpenSubdir } from './channel-role.js';
import { commitEntries, mergeLog, type CommitOptions } from './commit.js';
import { readLoggedRecords, rememberable, type FindLogged } from './logged-records.js';
import { revisionOf, type MergedState } from './merge.js';
import { readStoredRecord } from './stored-record.js';
import { selectRecords } from './select-records.js';
import { withdrawFromForms } from './withdraw.js';

/** How often a yank is said again, against somebody who replaces the archive at the same moment. */
const MAX_ATTEMPTS = 5;

/** Options of {@link yankArchives}. */
export interface YankOptions extends CommitOptions {
  readonly store: ChannelStore;
  /** File names, digests (`sha256:…`) or match specs. */
  readonly specs: readonly string[];
  /** @defaultValue all that the channel has */
  readonly subdirs?: readonly string[] | undefined;
  /** List again what was yanked: the specs are file names then. @defaultValue false */
  readonly undo?: boolean | undefined;
  /** As of `push`. @defaultValue false */
  readonly force?: boolean | undefined;
  /** Say what would be done and write nothing. @defaultValue false */
  readonly dryRun?: boolean | undefined;
}

/** What a yank did, or would do. */
export interface YankReport {
  readonly channel: string;
  readonly schema: string;
  readonly dryRun: boolean;
  readonly undo: boolean;
  /** What is in `removed` now, or listed again. */
  readonly changed: readonly { readonly subdir: string; readonly filename: string }[];
  /** What was so before. */
  readonly unchanged: readonly { readonly subdir: string; readonly filename: string }[];
}

/**
 * Moves archives to `removed`, or lists them again.
 * @throws FerryError `NOT_FOUND` where a spec names nothing; then nothing is changed. `ROLE_MISMATCH`, `MATCH_SPEC_INVALID`,
 * `USAGE` (undo by something else than file names), `ARCHIVE_ABSENT` (undo of what is not stored any more), `TAG_MOVED`
 */
export async function yankArchives(options: YankOptions): Promise<YankReport> {
  const { store, signal, undo = false, dryRun = false, now = () => new Date() } = options;
  const specs = [...new Set(options.specs)];
  const odd = undo ? specs.find((spec) => !isArchiveFilename(spec)) : undefined;
  if (odd !== undefined) {
    throw new FerryError('USAGE', `\`${odd}\` is no file name`, {
      hint: 'nothing but its file name is known of a removed archive: write name-version-build.conda',
    });
  }
  const subdirs = await storedSubdirs(store, options.subdirs, { signal });
  const met = new Set<string>();
  const works: Work[] = [];
  for (const subdir of subdirs) {
    const open = await openSubdir(subdir, options);
    const { state } = open;
    const chosen = undo ? chooseRemoved(state, specs, met) : chooseListed(subdir, state, specs, met);
    works.push({ subdir, ...open, ...chosen });
  }
  const unmet = specs.filter((spec) => !met.has(spec));
  if (unmet.length > 0) {
    const named = unmet.map((spec) => `\`${spec}\``).join(', ');
    throw new FerryError('NOT_FOUND', `\`${store.location}\` has nothing for ${named}`, {
      hint: undo ? 'only what stands in `removed` can be listed again' : undefined,
    });
  }
  if (!dryRun) {
    // Found for all subdirs before any of them is changed.
    const found: ReadonlyMap<string, Returned>[] = [];
    for (const work of works)
      found.push(undo ? await findAllRemoved(work, { ...options, now }) : new Map<string, Returned>());
    for (const [i, work] of works.entries())
      await change(work, found[i] ?? new Map<string, Returned>(), { ...options, undo });
  }
  return {
    channel: store.location,
    schema: store.schema.id,
    dryRun,
    undo,
    changed: works.flatMap(({ subdir, changes }) => changes.map((filename) => ({ subdir, filename }))),
    unchanged: works.flatMap(({ subdir, done }) => done.map((filename) => ({ subdir, filename }))),
  };
}

interface Work extends OpenSubdir {
  readonly subdir: string;
  readonly changes: readonly string[];
  /** What is as it is to be. */
  readonly done: readonly string[];
}

function chooseListed(
  subdir: string,
  { listing }: MergedState,
  specs: readonly string[],
  met: Set<string>,
): Pick<Work, 'changes' | 'done'> {
  const done = specs.filter((spec) => listing.removed.has(spec));
  for (const spec of done) met.add(spec);
  const chosen = selectRecords(listing, subdir, specs);
  for (const spec of chosen.met) met.add(spec);
  return { changes: [...chosen.filenames].sort(compareText), done };
}

function chooseRemoved(
  { listing }: MergedState,
  specs: readonly string[],
  met: Set<string>,
): Pick<Work, 'changes' | 'done'> {
  const changes = specs.filter((spec) => listing.removed.has(spec));
  const done = specs.filter((spec) => listing.has(spec));
  for (const spec of [...changes, ...done]) met.add(spec);
  return { changes, done };
}

async function change(
  { subdir, head, state, ledger, epoch, changes, done }: Work,
  found: ReadonlyMap<string, Returned>,
  given: YankOptions & { readonly undo: boolean },
): Promise<void> {
  const options = { ...given, epoch };
  if (changes.length > 0) {
    await establishSubdir(subdir, head, { ...options, ledger });
    const draft = (latest: MergedState): OperationEntry[] =>
      changes.flatMap((filename) => draftChange(filename, latest, found.get(filename)));
    let { head: reached } = await commitEntries(subdir, draft, head, options);
    // Somebody who replaced an archive at the same moment may have had the last word.
    for (let attempt = 1; draft(reached).length > 0; attempt += 1) {
      if (attempt === MAX_ATTEMPTS) {
        const what = `others kept changing the same archives of \`${subdir}\` in \`${options.store.location}\``;
        throw new FerryError('TAG_MOVED', what, { hint: 'run the command again' });
      }
      reached = (await commitEntries(subdir, draft, reached, options)).head;
    }
  } else if (state !== head && done.length > 0) {
    // It was logged by somebody who was killed before it was in force.
    await mergeLog(subdir, head, options);
  }
  // Also what patch instructions took off the list: from now on it stays so without them.
  const filenames = [...changes, ...done];
  if (!options.undo && filenames.length > 0) await withdrawFromForms(subdir, filenames, options);
}

/** What is still to be said of an archive, given all that is known. */
function draftChange(filename: string, state: MergedState, returned: Returned | undefined): OperationEntry[] {
  const { listing } = state;
  const revision = revisionOf(state, filename) + 1;
  if (returned !== undefined)
    return listing.removed.has(filename) ? [{ kind: 'add', filename, revision, ...returned }] : [];
  if (listing.removed.has(filename)) return [];
  return [{ kind: 'remove', filename, revision, yank: true, ...rememberable(listing.get(filename)) }];
}

/** What is listed again. */
interface Returned {
  readonly record: PublishedRecord;
  readonly manifest: Digest;
}

/** @throws FerryError `ARCHIVE_ABSENT` */
async function findAllRemoved(
  { subdir, changes }: Work,
  options: YankOptions & { readonly now: () => Date },
): Promise<ReadonlyMap<string, Returned>> {
  const found = new Map<string, Returned>();
  if (changes.length === 0) return found;
  const { store, signal } = options;
  const findLogged = await readLoggedRecords(store, subdir, new Set(changes), { signal });
  for (const filename of changes)
    found.set(filename, await findRemoved(subdir, filename, findLogged, options));
  return found;
}

/** What a removed archive was listed as, or else what its artifact says. @throws FerryError `ARCHIVE_ABSENT` */
async function findRemoved(
  subdir: string,
  filename: string,
  findLogged: FindLogged,
  options: CallOptions & Pick<YankOptions, 'store'> & { readonly now: () => Date },
): Promise<Returned> {
  const { store, now, signal } = options;
  const name = parseArchiveFilename(filename);
  const stored = await readStoredRecord(store, subdir, name, now().getTime(), { signal });
  if (stored === undefined) throw new FerryError('ARCHIVE_ABSENT', `\`${filename}\` is not stored any more`);
  const { record, manifest } = stored;
  // As it was listed last, and since the time at which it was first indexed. @see CEP 47
  return { record: findLogged(filename, record['sha256']) ?? (record as PublishedRecord), manifest };
}

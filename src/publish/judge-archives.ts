/** What a push may do with each archive, by what is listed under its name. */
import { condaTwinOf } from './subdir-records.js';
import { FerryError, UnrepresentableError } from '../errors.js';
import { digestHex } from '../io/digest.js';
import { revisionOf, type MergedState } from './merge.js';
import type { PreparedArchive } from './prepare-archive.js';
import type { PushOptions, PushStatus } from './push.js';

/** An archive that is to be published. */
export interface Wanted {
  readonly archive: PreparedArchive;
  readonly status: Exclude<PushStatus, 'there' | 'stored'>;
  /** What its operation is to have. */
  readonly revision: number;
  /** The sha256 of what is listed by that name. */
  readonly replaces: string | undefined;
  /** File names that come off the list before it is stored, since their bytes make room for it. */
  readonly withdrawn: readonly string[];
}

/** Archives by what may become of them. */
export interface Judged {
  readonly wanted: readonly Wanted[];
  readonly refused: readonly { readonly archive: PreparedArchive; readonly error: FerryError }[];
  /** Listed with the same bytes. */
  readonly there: readonly PreparedArchive[];
}

/** Options of {@link judgeArchives}. */
export interface JudgeOptions extends PushOptions {
  /** Let a `.conda` take the place of its listed twin where the schema holds one of them. @defaultValue as `replace` says */
  readonly displaces?: boolean | undefined;
}

type Verdict = Omit<Wanted, 'archive'> | 'there' | FerryError;

/** Judges the archives of one subdir. @param archives `.conda` first */
export function judgeArchives(
  archives: readonly PreparedArchive[],
  state: MergedState,
  options: JudgeOptions,
): Judged {
  const wanted: Wanted[] = [];
  const refused: { archive: PreparedArchive; error: FerryError }[] = [];
  const there: PreparedArchive[] = [];
  const taken = new Set<string>();
  for (const archive of archives) {
    const verdict = judge(archive, state, taken, options);
    if (verdict instanceof FerryError) refused.push({ archive, error: verdict });
    else if (verdict === 'there') there.push(archive);
    else wanted.push({ archive, ...verdict });
    if (!(verdict instanceof FerryError)) taken.add(archive.layer.filename);
  }
  return { wanted, refused, there };
}

/** The error for a name that is listed with other bytes. */
export function alreadyPublished(filename: string, storeOnly = false): FerryError {
  return new FerryError('ARCHIVE_EXISTS', `\`${filename}\` is published already, with other bytes`, {
    hint: storeOnly
      ? 'give the new build another build number; to put this in its place takes --replace without --no-index'
      : 'give the new build another build number; --replace puts this in its place',
  });
}

/** The error for a name that was taken off the list on purpose. */
export function removedBefore(filename: string): FerryError {
  return new FerryError('ARCHIVE_REMOVED', `\`${filename}\` was removed from the channel`, {
    hint: 'give the new build another build number; --replace publishes under that name again',
  });
}

function judge(
  archive: PreparedArchive,
  state: MergedState,
  taken: ReadonlySet<string>,
  options: JudgeOptions,
): Verdict {
  const { replace = false, storeOnly = false } = options;
  const { filename, digest } = archive.layer;
  const { listing } = state;
  const listed = listing.get(filename);
  const revision = revisionOf(state, filename);
  const sha256 = listed?.['sha256'];
  if (typeof sha256 === 'string' && sha256.toLowerCase() === digestHex(digest)) return 'there';
  const twin = judgeTwin(archive, state, taken, options);
  if (twin instanceof FerryError) return twin;
  if (listed !== undefined) {
    // Where the list stays as it is, what it names has to stay too.
    if (!replace || storeOnly || typeof sha256 !== 'string') return alreadyPublished(filename, storeOnly);
    // One above the withdrawal, which is one above what is listed.
    const replaces = sha256.toLowerCase();
    return { status: 'replaced', revision: revision + 2, replaces, withdrawn: [filename, ...twin] };
  }
  if (listing.removed.has(filename) && !replace) {
    return removedBefore(filename);
  }
  // Nothing was ever said of most; of what was taken off the list this has to be said after that.
  const isNew = revision === 0 && !listing.removed.has(filename);
  return { status: 'added', revision: isNew ? 0 : revision + 1, replaces: undefined, withdrawn: twin };
}

/**
 * Where the schema holds one archive of a build: the `.tar.bz2` has no place beside its `.conda`, and a `.conda` takes the
 * place of what clients may know.
 * @returns the file names that have to come off the list
 * @see v1/P6
 */
function judgeTwin(
  { layer }: PreparedArchive,
  { listing }: MergedState,
  taken: ReadonlySet<string>,
  { store, replace = false, storeOnly = false, displaces = false }: JudgeOptions,
): readonly string[] | FerryError {
  const { filename, extension } = layer;
  if (store.schema.holdsTwins) return [];
  if (extension === 'tar.bz2') {
    const conda = condaTwinOf(filename);
    if (!listing.has(conda) && !listing.removed.has(conda) && !taken.has(conda)) return [];
    return twinError(
      `\`${filename}\` has no place: its \`.conda\` is published, and schema ${store.schema.id} holds one archive of a build`,
    );
  }
  const old = filename.replace(/\.conda$/, '.tar.bz2');
  if (!listing.has(old) && !listing.removed.has(old)) return [];
  if (displaces || (replace && !storeOnly)) return listing.has(old) ? [old] : [];
  return twinError(
    `\`${old}\` is published, and schema ${store.schema.id} holds one archive of a build`,
    '--replace puts the `.conda` in its place, and then nobody can fetch the other any more',
  );
}

function twinError(message: string, hint?: string): UnrepresentableError {
  return new UnrepresentableError('TWIN_UNREPRESENTABLE', 'v1/P6', message, { hint });
}

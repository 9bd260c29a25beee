import type { WorkerPool } from '../artifact/worker-pool.js';
import type { Repodata } from '../conda/repodata/repodata.js';
import type { OpenBytes } from '../io/bytes.js';
import type { Digest } from '../io/digest.js';
import type { TempFolder } from '../io/temp-folder.js';
import { compressZstdStream } from '../io/zstd-stream.js';
import type { Snapshot } from './snapshot.js';
import {
  digestOfSpooled,
  SMALL_BYTES,
  spoolBlob,
  type SpooledBlob,
  type SpooledBytes,
} from './spooled-text.js';

/** What conda-oci-mirror uses; repodata is compressed once and read very often. */
const ZSTD_LEVEL = 15;
/** For what is replaced within the hour. */
const CHECKPOINT_ZSTD_LEVEL = 3;

/** A repodata to publish. Disposing lets go of its bytes. */
export interface Composition extends AsyncDisposable {
  readonly open: OpenBytes;
  /** Of the JSON text. */
  readonly digest: Digest;
  /** Of the JSON text, in bytes. */
  readonly size: number;
  /** Whether these are the source's bytes. */
  readonly unchanged: boolean;
  /** The source's own compressed form, where the text is the source's. */
  readonly zst: SpooledBytes | undefined;
}

/** What decides what is listed. */
export interface CompositionInput {
  readonly snapshot: Snapshot;
  /** Tells whether an archive is there, with the bytes that its record names. */
  readonly isThere: (filename: string) => boolean;
  /** Records of others that stay listed, with the repodata they stand in. */
  readonly foreign?: { readonly repodata: Repodata; readonly filenames: ReadonlySet<string> } | undefined;
}

/** What composing works with. */
export interface ComposeOptions {
  readonly temp: TempFolder;
  readonly workers: WorkerPool;
  readonly signal?: AbortSignal | undefined;
}

/** Makes the repodata to publish: the source's bytes if all of it is there, else spliced out of them. */
export async function composeRepodata(
  { snapshot, isThere, foreign }: CompositionInput,
  { temp }: Pick<ComposeOptions, 'temp'>,
): Promise<Composition> {
  const { repodata, open, zst } = snapshot;
  const hasForeign = foreign !== undefined && foreign.filenames.size > 0;
  const isWhole = snapshot.part === undefined;
  if (isWhole && !hasForeign && repodata.neededChanges().length === 0 && isComplete(repodata, isThere)) {
    const nothing = async (): Promise<void> => Promise.resolve();
    const { digest, size } = repodata;
    return { open, digest, size, unchanged: true, zst, [Symbol.asyncDispose]: nothing };
  }
  const blob = await spoolBlob(repodata.splice(isThere, hasForeign ? foreign : undefined), temp);
  const { digest, size } = blob;
  return {
    ...{ open: blob.open, digest, size, unchanged: false, zst: undefined },
    [Symbol.asyncDispose]: () => blob[Symbol.asyncDispose](),
  };
}

/** The compressed form of a composition: the source's own where there is one. */
export async function compressComposition(
  composition: Composition,
  { temp, workers, signal, isCheckpoint }: ComposeOptions & { readonly isCheckpoint: boolean },
): Promise<SpooledBlob> {
  const { zst, size } = composition;
  // Whoever lets go of this lets go of nothing: the snapshot keeps it.
  if (zst !== undefined) {
    const digest = await digestOfSpooled(zst, signal);
    return { ...zst, digest, [Symbol.asyncDispose]: async () => Promise.resolve() };
  }
  const level = isCheckpoint ? CHECKPOINT_ZSTD_LEVEL : ZSTD_LEVEL;
  const text = composition.open({ signal });
  const isSmall = size <= SMALL_BYTES;
  return spoolBlob(
    isSmall ? compressZstdStream(text, { level, size }) : workers.compressing(text, { level, size }, signal),
    temp,
  );
}

function isComplete(repodata: Repodata, isThere: (filename: string) => boolean): boolean {
  for (const filename of repodata.filenames()) if (!isThere(filename)) return false;
  return true;
}

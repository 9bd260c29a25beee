/** What a channel has beside repodata: other forms of it, run exports, instructions, descriptions of packages. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { WorkerPool } from '../../artifact/worker-pool.js';
import type { ChannelSource } from '../../conda/channel-source.js';
import { archiveIdentity } from '../../conda/package-record.js';
import { Repodata } from '../../conda/repodata/repodata.js';
import { isFerryError } from '../../errors.js';
import { collect, openerOf } from '../../io/bytes.js';
import { digestOf, type Digest } from '../../io/digest.js';
import { digestOfFile, putFile, ZSTD_LEVEL } from '../../publish/folder/put-file.js';

/** Far above the largest there is (run exports of conda-forge: tens of MB). */
const MAX_DOCUMENT_BYTES = 512 * 1024 * 1024;

/** Other forms of repodata: clients take archives from them too, so they list no more than is there. */
const REPODATA_FORMS = ['current_repodata.json', 'repodata_from_packages.json'] as const;
/** Files of a subdir that are copied as they stand. */
const SUBDIR_FILES = ['run_exports.json', 'patch_instructions.json'] as const;
/** Files of the channel. */
const CHANNEL_FILES = ['channeldata.json', 'notices.json'] as const;

/** What the functions here work with. */
export interface DocumentOptions {
  readonly source: ChannelSource;
  /** The folder that the files go to. */
  readonly folder: string;
  readonly workers: WorkerPool;
  /** Digests of what was written last time. */
  readonly before: Readonly<Record<string, Digest>>;
  readonly warn: (message: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Copies the companions of a subdir's repodata, plain and compressed; one that the source no longer has goes.
 * @param there archives that are there: file name to identity
 * @returns digests by file name
 */
export async function copySubdirDocuments(
  subdir: string,
  there: ReadonlyMap<string, string>,
  options: DocumentOptions,
): Promise<Readonly<Record<string, Digest>>> {
  const files: Record<string, Digest> = {};
  for (const name of [...REPODATA_FORMS, ...SUBDIR_FILES]) {
    const path = `${subdir}/${name}`;
    let bytes = await readDocument(path, options);
    if (bytes !== undefined && isForm(name)) bytes = await restrict(bytes, subdir, path, there, options);
    if (bytes !== undefined) Object.assign(files, await putBoth(name, bytes, options));
  }
  await removeGone([...REPODATA_FORMS, ...SUBDIR_FILES], files, options);
  return files;
}

/** Takes away other forms of repodata that list archives which are about to get other bytes; they are optional. */
export async function removeForms(folder: string): Promise<void> {
  for (const name of REPODATA_FORMS) {
    await rm(join(folder, name), { force: true });
    await rm(join(folder, `${name}.zst`), { force: true });
  }
}

/** Copies what the channel has above its subdirs. @returns digests by file name */
export async function copyChannelDocuments(
  options: DocumentOptions,
): Promise<Readonly<Record<string, Digest>>> {
  const files: Record<string, Digest> = {};
  for (const name of CHANNEL_FILES) {
    const bytes = await readDocument(name, options);
    if (bytes !== undefined) files[name] = await putFile(join(options.folder, name), bytes);
  }
  await removeGone(CHANNEL_FILES, files, options);
  return files;
}

/** Reads a document, compressed where there is that; `undefined` where the source has none. */
async function readDocument(path: string, options: DocumentOptions): Promise<Uint8Array | undefined> {
  const { source, workers, signal } = options;
  for (const name of path.includes('/') ? [`${path}.zst`, path] : [path]) {
    const answer = await source.openMetadata(name, { signal });
    if (answer.status !== 'found') continue;
    const what = `\`${name}\``;
    const bytes = await collect(answer.body, MAX_DOCUMENT_BYTES, what);
    if (name === path) return bytes;
    return workers.run('decompress', { bytes, maxBytes: MAX_DOCUMENT_BYTES, what }, signal);
  }
  return undefined;
}

/** The same repodata with what is there; `undefined` where it cannot be read, since clients do without. */
async function restrict(
  bytes: Uint8Array,
  subdir: string,
  path: string,
  there: ReadonlyMap<string, string>,
  { warn }: DocumentOptions,
): Promise<Uint8Array | undefined> {
  try {
    const repodata = await Repodata.read(openerOf(bytes), subdir);
    const right = new Set<string>();
    for (const read of repodata.records()) {
      if ('record' in read && there.get(read.filename) === archiveIdentity(read.record))
        right.add(read.filename);
    }
    const isWhole = right.size === repodata.recordCount && repodata.neededChanges().length === 0;
    if (isWhole) return bytes;
    const spliced = repodata.splice((filename) => right.has(filename));
    return await collect(spliced, MAX_DOCUMENT_BYTES, path);
  } catch (error) {
    if (!isFerryError(error, 'REPODATA_INVALID')) throw error;
    warn(`\`${path}\` of the source is left out: ${error.message}`);
    return undefined;
  }
}

async function putBoth(
  name: string,
  bytes: Uint8Array,
  { folder, workers, before, signal }: DocumentOptions,
): Promise<Readonly<Record<string, Digest>>> {
  const [path, zst] = [join(folder, name), `${name}.zst`];
  const [digest, known] = [digestOf(bytes), before[zst]];
  if (known !== undefined && before[name] === digest && (await digestOfFile(path)) === digest) {
    // Compressing takes longer than all else here.
    if ((await digestOfFile(join(folder, zst))) === known) return { [name]: digest, [zst]: known };
  }
  const compressed = await workers.run('compress', { bytes, level: ZSTD_LEVEL }, signal);
  return { [zst]: await putFile(join(folder, zst), compressed), [name]: await putFile(path, bytes) };
}

/** What others put there stays; what we did, and the source no longer has, would be out of date. */
async function removeGone(
  names: readonly string[],
  files: Readonly<Record<string, Digest>>,
  { folder, before }: DocumentOptions,
): Promise<void> {
  for (const name of names.flatMap((plain) => [plain, `${plain}.zst`])) {
    if (before[name] !== undefined && files[name] === undefined)
      await rm(join(folder, name), { force: true });
  }
}

function isForm(name: string): boolean {
  return REPODATA_FORMS.some((form) => form === name);
}

import { FerryError } from '../../errors.js';
import { openArchiveFile, type ArchiveFile, type ArchiveLocation } from './archive-file.js';
import type { ArchiveExtension } from '../names.js';
import { decompressBzip2 } from './bzip2.js';
import { checkCondaMetadata } from './conda-metadata.js';
import { findCondaEntries, readZipEntry } from './conda-zip.js';
import { InfoMembers, type InfoMember } from './info-members.js';
import { INFO_EXPANSION, limitExpansion, TAR_BZ2_EXPANSION } from './limits.js';
import { shorten } from './member-path.js';
import { readTar } from './tar.js';
import { decompressZstd } from './zstd.js';

/**
 * This folder reads conda archives, which are not to be trusted: `readInfo` takes the `info/` members out of one, in
 * bounded memory, and refuses with a code of its own each way in which an archive can be wrong. Nothing is written to
 * disk. It works on the thread it is called on; run it in a worker where that thread has other things to do.
 */

export type { InfoMember } from './info-members.js';

/** What an archive holds in `info/`. */
export interface ArchiveInfo {
  /** The bytes of `info/index.json`, not yet parsed. */
  readonly indexJson: Uint8Array;
  /** All files and symlinks of `info/`, sorted by the bytes of their UTF-8 paths. */
  readonly members: readonly InfoMember[];
  /** Of a `.conda`: name, version and build string in the names of its inner tarballs, such as `zlib-1.2.11-h7b6447c_3`. */
  readonly stem?: string;
}

/** How to read. */
export interface ReadInfoOptions {
  readonly signal?: AbortSignal | undefined;
}

/**
 * Reads the `info/` members of an archive. Of a `.conda` only the zip's directory, `metadata.json` and the info tarball
 * are read; a `.tar.bz2` is read to its end, for `info/` members also stand behind the payload. Hard links become files,
 * directories are left out, the last of several members of one path wins.
 * @throws FerryError `ARCHIVE_…`, each described in the table of codes; `UNSUPPORTED` where zstd cannot be loaded
 * @see CEP 34, CEP 35
 */
export async function readInfo(
  archive: ArchiveLocation,
  format: ArchiveExtension,
  options: ReadInfoOptions = {},
): Promise<ArchiveInfo> {
  options.signal?.throwIfAborted();
  await using file = await openArchiveFile(archive);
  return format === 'conda' ? await readConda(file, options) : await readTarBz2(file, options);
}

/**
 * As {@link readInfo} of a `.conda` in memory, as long as its info tarball unpacks to `maxTarBytes` at most; `undefined`
 * where there is more, which was not looked at then. Never keeps its thread for long.
 * @throws as {@link readInfo}
 */
export async function readSmallInfo(
  archive: ArchiveLocation,
  maxTarBytes: number,
): Promise<ArchiveInfo | undefined> {
  await using file = await openArchiveFile(archive);
  const { tar, stem } = await openInfoTar(file, undefined);
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of tar) {
    size += chunk.byteLength;
    if (size > maxTarBytes) return undefined;
    chunks.push(chunk);
  }
  return { ...(await readMembers(chunks)), stem };
}

async function readConda(file: ArchiveFile, { signal }: ReadInfoOptions): Promise<ArchiveInfo> {
  const { tar, stem } = await openInfoTar(file, signal);
  return { ...(await readMembers(tar)), stem };
}

async function openInfoTar(
  file: ArchiveFile,
  signal: AbortSignal | undefined,
): Promise<{ readonly tar: AsyncIterable<Uint8Array>; readonly stem: string }> {
  const entries = await findCondaEntries(file, signal);
  await checkCondaMetadata(file, entries.metadata, signal);
  const { info, stem } = entries;
  const what = `\`${shorten(info.name)}\``;
  const tar = decompressZstd(readZipEntry(file, info, signal), what);
  return { tar: limitExpansion(tar, info.size, INFO_EXPANSION, what), stem };
}

async function readTarBz2(file: ArchiveFile, { signal }: ReadInfoOptions): Promise<ArchiveInfo> {
  const tar = decompressBzip2(file.chunks(0, file.size, signal));
  return await readMembers(limitExpansion(tar, file.size, TAR_BZ2_EXPANSION, 'the archive'));
}

async function readMembers(tar: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<ArchiveInfo> {
  const info = new InfoMembers();
  await readTar(tar, (member) => info.visit(member));
  const members = info.finish();
  const index = members.find((member) => member.path === 'index.json');
  if (index?.type !== 'file') {
    const found = index === undefined ? 'there is none' : 'it is a symlink';
    throw new FerryError('ARCHIVE_INDEX_MISSING', `the archive has no file \`info/index.json\`: ${found}`);
  }
  return { indexJson: index.bytes, members };
}

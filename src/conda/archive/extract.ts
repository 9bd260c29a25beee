import type { ArchiveExtension } from '../names.js';
import { openArchiveFile, type ArchiveFile, type ArchiveLocation } from './archive-file.js';
import { decompressBzip2 } from './bzip2.js';
import { checkCondaMetadata } from './conda-metadata.js';
import { findCondaEntries, readZipEntry, type ZipEntryRange } from './conda-zip.js';
import {
  INFO_EXPANSION,
  limitExpansion,
  PKG_EXPANSION,
  TAR_BZ2_EXPANSION,
  type ExpansionLimit,
} from './limits.js';
import { shorten } from './member-path.js';
import { PackageWriter, type PackageWriterOptions } from './package-writer.js';
import { readTar } from './tar.js';
import { decompressZstd } from './zstd.js';

/** Options of {@link extractPackage}. */
export interface ExtractOptions extends PackageWriterOptions {
  readonly signal?: AbortSignal | undefined;
}

/**
 * Unpacks an archive into a folder, in bounded memory. Every path and link is checked, and nothing is written outside of the
 * folder; where it fails the folder holds a part of the package and is to be thrown away. Of a mode only counts whether the
 * file is executable; times of files are kept, owners are not. `info/repodata_record.json` is left out, if there is one.
 *
 * Blocks its thread while it writes; run it in a worker.
 * @param folder empty, and nobody else's
 * @returns the bytes of `info/index.json`
 * @throws FerryError `ARCHIVE_…`, each described in the table of codes; `DISK_FULL`, `OUTPUT_UNWRITABLE`; `UNSUPPORTED` where
 * zstd cannot be loaded
 * @see CEP 34, CEP 35
 */
export async function extractPackage(
  archive: ArchiveLocation,
  format: ArchiveExtension,
  folder: string,
  options: ExtractOptions = {},
): Promise<Uint8Array> {
  const { signal } = options;
  signal?.throwIfAborted();
  await using file = await openArchiveFile(archive);
  const writer = new PackageWriter(folder, options);
  try {
    for await (const tar of format === 'conda' ? condaTars(file, signal) : bzip2Tar(file, signal))
      await readTar(tar, (member) => writer.visit(member));
    return writer.finish();
  } finally {
    writer.close();
  }
}

function* bzip2Tar(file: ArchiveFile, signal: AbortSignal | undefined): Generator<AsyncIterable<Uint8Array>> {
  const tar = decompressBzip2(file.chunks(0, file.size, signal));
  yield limitExpansion(tar, file.size, TAR_BZ2_EXPANSION, 'the archive');
}

/** The info tarball comes last, so that what it says of the package stays. */
async function* condaTars(
  file: ArchiveFile,
  signal: AbortSignal | undefined,
): AsyncGenerator<AsyncIterable<Uint8Array>> {
  const { metadata, pkg, info } = await findCondaEntries(file, signal);
  await checkCondaMetadata(file, metadata, signal);
  const open = (entry: ZipEntryRange, limit: ExpansionLimit): AsyncIterable<Uint8Array> => {
    const what = `\`${shorten(entry.name)}\``;
    return limitExpansion(decompressZstd(readZipEntry(file, entry, signal), what), entry.size, limit, what);
  };
  yield open(pkg, PKG_EXPANSION);
  yield open(info, INFO_EXPANSION);
}

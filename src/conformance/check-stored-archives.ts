/** The bytes behind a package artifact: each archive by its own rules, the info layer, and whether all of them agree. */
import { pipeline } from 'node:stream/promises';
import { isDeepStrictEqual } from 'node:util';
import { createGunzip } from 'node:zlib';
import { INFO_EXPANSION, limitExpansion, MAX_INFO_MEMBERS } from '../conda/archive/limits.js';
import { shorten } from '../conda/archive/member-path.js';
import { readTar } from '../conda/archive/tar.js';
import { formatArchiveFilename, type ArchiveExtension } from '../conda/names.js';
import { FerryError, isFerryError, isSystemError } from '../errors.js';
import { digestHex } from '../io/digest.js';
import { Spool } from '../io/spool.js';
import type { Descriptor } from '../oci/descriptor.js';
import type { Repository } from '../oci/storage.js';
import { checkArchive } from './check-archive.js';
import type { CheckContext } from './check-context.js';
import { isContentFault } from './content-fault.js';
import { indexText, sortLayers, type PackageSubject } from './rules/package-artifact.js';

/** How an archive begins. @see CEP 35 */
const MAGIC: Readonly<Record<ArchiveExtension, string>> = { conda: 'PK\u0003\u0004', 'tar.bz2': 'BZh' };

/** An artifact whose bytes are read too. */
export interface StoredArchivesSubject extends PackageSubject {
  readonly repository: Repository;
}

/** Checks the archives and the info layer of an artifact. */
export async function checkStoredArchives(
  subject: StoredArchivesSubject,
  context: CheckContext,
): Promise<void> {
  const layers = sortLayers(subject.manifest);
  for (const { extension, descriptor } of layers.packages) {
    await checkStoredArchive(subject, extension, descriptor, context);
  }
  const info = layers.info[0];
  if (info !== undefined) await checkInfoLayer(subject, info, context);
}

async function checkStoredArchive(
  subject: StoredArchivesSubject,
  extension: ArchiveExtension,
  layer: Descriptor,
  context: CheckContext,
): Promise<void> {
  const { repository, schema, subdir, where, index } = subject;
  const { log, options } = context;
  const isV1 = schema.id === 'v1';
  const listed = subject.listed?.find(({ sha256 }) => sha256 === digestHex(layer.digest));
  // Under the media type of the other format, which has been said.
  if (listed !== undefined && listed.extension !== extension) return;
  await using spool = new Spool({ temp: options.temp });
  try {
    await spool.fill(repository.fetch(layer, { signal: options.signal }));
  } catch (error) {
    if (!isContentFault(error)) throw error;
    log.report(isV1 ? 'v1/P2' : 'v0/D9', {
      where,
      found: `a package layer that cannot be read: ${error.message}`,
      expected: `the bytes of ${layer.digest}`,
      hint: 'push the archive again',
    });
    return;
  }
  const start = await firstBytes(spool, MAGIC[extension].length);
  const isOfType = log.expect(isV1 ? 'v1/P2' : 'v0/D4', start === MAGIC[extension], () => ({
    where,
    found: `a package layer that begins with \`${shorten(JSON.stringify(start))}\``,
    expected: `the bytes of a \`.${extension}\`, as its media type says`,
  }));
  if (!isOfType) return;
  const filename = filenameOf(subject, extension);
  if (filename === undefined) return;
  context.counts.archives += 1;
  const archive = await checkArchive(
    { archive: spool.contents(), filename, subdir, where: `${where}/${filename}` },
    log,
    options,
  );
  // Info and index of twins are those of the `.conda`.
  const isLeader = extension === 'conda' || sortLayers(subject.manifest).packages.length === 1;
  if (!isLeader || archive.index === undefined || index === undefined || 'unreadable' in index) return;
  log.expect(isV1 ? 'v1/P4' : 'v0/D5', isDeepStrictEqual(index.value, archive.index), () => ({
    where,
    found: 'an index layer that says something else',
    expected: `\`info/index.json\` of \`${filename}\``,
  }));
}

/** The name that the archive goes by: as it is listed, or as its place says. */
function filenameOf(subject: PackageSubject, extension: ArchiveExtension): string | undefined {
  const listed = subject.listed?.find((archive) => archive.extension === extension);
  if (listed !== undefined) return listed.filename;
  if (subject.tag === undefined) return filenameByIndex(subject, extension);
  try {
    const place = { repository: subject.leaf, tag: subject.tag };
    const identity = subject.schema.packageAt(place, subject.manifest.annotations);
    return formatArchiveFilename({ ...identity, extension });
  } catch (error) {
    // The rules of names have said so.
    if (isFerryError(error, 'NAME_UNREPRESENTABLE')) return undefined;
    throw error;
  }
}

/** By digest an artifact has no place that says its name. */
function filenameByIndex({ index }: PackageSubject, extension: ArchiveExtension): string | undefined {
  const [name, version, build] = ['name', 'version', 'build'].map((field) => indexText(index, field));
  if (name === undefined || version === undefined || build === undefined) return undefined;
  return formatArchiveFilename({ name, version, build, extension });
}

async function checkInfoLayer(
  { repository, schema, where }: StoredArchivesSubject,
  layer: Descriptor,
  { log, options }: CheckContext,
): Promise<void> {
  const clause = schema.id === 'v1' ? 'v1/P3' : 'v0/D5';
  let names: ReadonlySet<string>;
  try {
    names = await memberNames(repository, layer, options.signal);
  } catch (error) {
    const isFault = isContentFault(error) || (isFerryError(error) && error.code.startsWith('ARCHIVE_'));
    if (!isFault) throw error;
    log.report(clause, {
      where,
      found: `an info layer that cannot be read: ${error.message}`,
      expected: 'a gzipped tar',
    });
    return;
  }
  // With the folder's name in front or without: the draft does not say (v1/B22).
  const hasIndex = ['index.json', './index.json', 'info/index.json', './info/index.json'].some((name) =>
    names.has(name),
  );
  log.expect(clause, hasIndex, () => ({
    where,
    found: 'an info layer without `index.json`',
    expected: "all of the package's `info/`",
  }));
}

async function memberNames(
  repository: Repository,
  layer: Descriptor,
  signal: AbortSignal | undefined,
): Promise<ReadonlySet<string>> {
  const names = new Set<string>();
  const read = async (inflated: AsyncIterable<Uint8Array>): Promise<void> => {
    const tar = limitExpansion(inflated, layer.size, INFO_EXPANSION, 'the info layer');
    await readTar(tar, ({ name }) => {
      names.add(name);
      if (names.size <= MAX_INFO_MEMBERS) return undefined;
      throw new FerryError('ARCHIVE_LIMIT_EXCEEDED', 'it has too many members');
    });
  };
  try {
    await pipeline(repository.fetch(layer, { signal }), createGunzip(), read);
  } catch (cause) {
    if (!isSystemError(cause, 'Z_DATA_ERROR', 'Z_BUF_ERROR')) throw cause;
    throw new FerryError('ARCHIVE_CORRUPT', 'it is no gzip', { cause });
  }
  return names;
}

async function firstBytes(spool: Spool, count: number): Promise<string> {
  const bytes: number[] = [];
  for await (const chunk of spool.open()) {
    bytes.push(...chunk.subarray(0, count - bytes.length));
    if (bytes.length >= count) break;
  }
  return Buffer.from(bytes).toString('latin1');
}

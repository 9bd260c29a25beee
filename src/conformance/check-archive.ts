/**
 * Judges one archive by CEP 26, 33, 34 and 35: every breach, as far as the archive can be read. It works on the thread
 * it is called on, in bounded memory: the payload is hashed as it passes.
 */
import { openArchiveFile, type ArchiveFile, type ArchiveLocation } from '../conda/archive/archive-file.js';
import { decompressBzip2 } from '../conda/archive/bzip2.js';
import {
  readZipEntry,
  surveyCondaEntries,
  type CondaFault,
  type CondaSurvey,
  type ZipEntryRange,
} from '../conda/archive/conda-zip.js';
import {
  INFO_EXPANSION,
  limitExceeded,
  limitExpansion,
  MAX_METADATA_JSON_BYTES,
  PKG_EXPANSION,
  TAR_BZ2_EXPANSION,
} from '../conda/archive/limits.js';
import { shorten } from '../conda/archive/member-path.js';
import { readTar } from '../conda/archive/tar.js';
import { decompressZstd } from '../conda/archive/zstd.js';
import { archiveExtensionOf } from '../conda/names.js';
import { isFerryError, type FerryError } from '../errors.js';
import type { CheckLog } from './check-log.js';
import type { ClauseId } from './clauses.js';
import { ArchiveMembers, type TarballKind } from './rules/archive-members.js';
import {
  checkFilenameAgrees,
  checkMetadata,
  checkPresence,
  checkStems,
  checkZipEntries,
  reportUnreadable,
} from './rules/archive.js';
import { checkIndex, checkLink, checkObject, checkRunExports, type JsonObject } from './rules/info.js';
import { checkFilename, checkNames, checkSubdir, splitFilename, type FilenameParts } from './rules/names.js';
import { checkPaths } from './rules/paths.js';

/** An archive to be judged. */
export interface ArchiveTarget {
  readonly archive: ArchiveLocation;
  /** As it is in its channel, such as `zlib-1.2.11-h7b6447c_3.conda`; the file on disk may have another name. */
  readonly filename: string;
  /** Where it lies in its channel, if known. */
  readonly subdir?: string | undefined;
  /** What findings call it, such as `linux-64/zlib-1.2.11-h7b6447c_3.conda`. */
  readonly where: string;
}

/** What a check of an archive learns besides its findings. */
export interface CheckedArchive {
  /** The bytes of `info/index.json`, where they could be read. */
  readonly indexJson: Uint8Array | undefined;
  /** What they say, where they are a JSON object. Its values are as unchecked as the findings say. */
  readonly index: JsonObject | undefined;
  /** The bytes of `info/run_exports.json`, where there is one. */
  readonly runExportsJson: Uint8Array | undefined;
  /** Whether all of it could be read; what follows the first unreadable byte is not judged. */
  readonly isWhole: boolean;
}

const UNREAD: CheckedArchive = {
  indexJson: undefined,
  index: undefined,
  runExportsJson: undefined,
  isWhole: false,
};

/** What reading came to. */
interface Reading {
  readonly members: ArchiveMembers;
  readonly survey?: CondaSurvey | undefined;
  readonly isInfoWhole: boolean;
  readonly isPayloadWhole: boolean;
}

interface Reader extends ArchiveTarget {
  readonly file: ArchiveFile;
  readonly log: CheckLog;
  readonly signal: AbortSignal | undefined;
}

/**
 * Judges an archive. A bad one leads to findings and never to an error.
 * @throws system errors such as `ENOENT`, the reason of `signal`, FerryError `UNSUPPORTED` where zstd cannot be loaded
 * @see CEP 26, CEP 33, CEP 34, CEP 35
 */
export async function checkArchive(
  target: ArchiveTarget,
  log: CheckLog,
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): Promise<CheckedArchive> {
  signal?.throwIfAborted();
  const { filename, subdir, where } = target;
  const parts = splitFilename(filename);
  if (parts === undefined) checkFilename(filename, where, log);
  else checkNames({ ...parts, filename, where }, log);
  if (subdir !== undefined) checkSubdir(subdir, where, log);
  await using file = await openArchiveFile(target.archive);
  const reader = { ...target, file, log, signal };
  const extension = archiveExtensionOf(filename);
  if (extension === undefined) return UNREAD;
  const reading = extension === 'conda' ? await readConda(reader) : await readTarBz2(reader);
  if (reading === undefined) return UNREAD;
  return await judge(reading, target, log);
}

async function judge(
  { members, survey, isInfoWhole, isPayloadWhole }: Reading,
  { filename, subdir, where }: ArchiveTarget,
  log: CheckLog,
): Promise<CheckedArchive> {
  await attempt('cep35/limits', where, log, () => {
    members.finish();
  });
  if (isInfoWhole) checkPresence(members, where, log);
  const indexJson = members.document('info/index.json');
  const index = indexJson === undefined ? undefined : checkIndex(indexJson, subdir, where, log);
  const parts = splitFilename(filename);
  const names = index === undefined ? undefined : namesOf(index);
  if (names !== undefined && parts !== undefined && names.stem !== parts.stem)
    checkNames({ ...names, where: `${where}/info/index.json` }, log);
  if (names !== undefined && parts !== undefined) checkFilenameAgrees(parts, names.stem, where, log);
  const stem = names?.stem ?? parts?.stem;
  if (survey !== undefined && stem !== undefined) checkStems(survey, stem, where, log);
  const isWhole = isInfoWhole && isPayloadWhole;
  const pathsJson = members.document('info/paths.json');
  if (pathsJson !== undefined) checkPaths(pathsJson, isWhole ? members.entries : undefined, where, log);
  checkOtherDocuments(members, where, log);
  return { indexJson, index, runExportsJson: members.document('info/run_exports.json'), isWhole };
}

function namesOf({ name, version, build }: JsonObject): FilenameParts | undefined {
  if (typeof name !== 'string' || typeof version !== 'string' || typeof build !== 'string') return undefined;
  return { name, version, build, stem: `${name}-${version}-${build}` };
}

function checkOtherDocuments(members: ArchiveMembers, where: string, log: CheckLog): void {
  const runExports = members.document('info/run_exports.json');
  if (runExports !== undefined) checkRunExports(runExports, where, log);
  const link = members.document('info/link.json');
  if (link !== undefined) checkLink(link, where, log);
  const about = members.document('info/about.json');
  if (about !== undefined) checkObject('cep34/about-json', about, `${where}/info/about.json`, log);
  const hashInput = members.document('info/hash_input.json');
  if (hashInput !== undefined)
    checkObject('cep34/hash-input-json', hashInput, `${where}/info/hash_input.json`, log);
}

async function readTarBz2(reader: Reader): Promise<Reading> {
  const { file, log, where, signal } = reader;
  const members = new ArchiveMembers(where, log);
  const isWhole = await attempt('cep35/tar-bz2', where, log, async () => {
    const tar = decompressBzip2(file.chunks(0, file.size, signal));
    await readMembers(limitExpansion(tar, file.size, TAR_BZ2_EXPANSION, 'the archive'), members, 'whole');
  });
  return { members, isInfoWhole: isWhole, isPayloadWhole: isWhole };
}

async function readConda(reader: Reader): Promise<Reading | undefined> {
  const { file, log, where, signal } = reader;
  let survey: CondaSurvey | undefined;
  const faults: CondaFault[] = [];
  await attempt('cep35/zip', where, log, async () => {
    survey = await surveyCondaEntries(file, (fault) => faults.push(fault), signal);
  });
  if (survey === undefined) return undefined;
  checkZipEntries(survey, faults, where, log);
  if (survey.metadata !== undefined) await readMetadata(reader, survey.metadata);
  const members = new ArchiveMembers(where, log);
  const isInfoWhole = await readTarball(reader, survey.info, 'info', members);
  const isPayloadWhole = await readTarball(reader, survey.pkg, 'pkg', members);
  return { members, survey, isInfoWhole, isPayloadWhole };
}

async function readMetadata({ file, log, where, signal }: Reader, entry: ZipEntryRange): Promise<void> {
  await attempt('cep35/zip', where, log, async () => {
    if (entry.size > MAX_METADATA_JSON_BYTES)
      throw limitExceeded(`\`metadata.json\` has more than ${String(MAX_METADATA_JSON_BYTES)} bytes`);
    const chunks: Uint8Array[] = [];
    for await (const chunk of readZipEntry(file, entry, signal)) chunks.push(new Uint8Array(chunk));
    checkMetadata(Buffer.concat(chunks), where, log);
  });
}

/** Reads a tarball of a `.conda` to its end, or as far as that goes. */
async function readTarball(
  { file, log, where, signal }: Reader,
  entry: ZipEntryRange | undefined,
  kind: 'info' | 'pkg',
  members: ArchiveMembers,
): Promise<boolean> {
  if (entry === undefined) return false;
  const what = `\`${shorten(entry.name)}\``;
  let isZipFault = false;
  const packed = noticing(readZipEntry(file, entry, signal), () => {
    isZipFault = true;
  });
  const limit = kind === 'info' ? INFO_EXPANSION : PKG_EXPANSION;
  const tar = limitExpansion(decompressZstd(packed, what), entry.size, limit, what);
  return await attempt(
    () => (isZipFault ? 'cep35/zip' : 'cep35/tarball'),
    where,
    log,
    () => readMembers(tar, members, kind),
  );
}

async function* noticing(
  source: AsyncIterable<Uint8Array>,
  onError: () => void,
): AsyncGenerator<Uint8Array, void> {
  try {
    yield* source;
  } catch (error) {
    onError();
    throw error;
  }
}

async function readMembers(
  tar: AsyncIterable<Uint8Array>,
  members: ArchiveMembers,
  kind: TarballKind,
): Promise<void> {
  await readTar(tar, (member) => members.visit(member, kind));
}

/** Does what a bad archive makes fail, and takes down why. Returns whether it was done. */
async function attempt(
  clause: ClauseId | (() => ClauseId),
  where: string,
  log: CheckLog,
  action: () => Promise<void> | void,
): Promise<boolean> {
  try {
    await action();
  } catch (error) {
    if (!isArchiveError(error)) throw error;
    reportUnreadable(typeof clause === 'string' ? clause : clause(), error, where, log);
    return false;
  }
  log.expect(typeof clause === 'string' ? clause : clause(), true, () => ({
    where,
    found: '',
    expected: '',
  }));
  return true;
}

function isArchiveError(error: unknown): error is FerryError {
  return isFerryError(error) && error.code.startsWith('ARCHIVE_');
}

/** Patch instructions as people keep them: a JSON file, or a package that conda-build made of them. */
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { openArchiveFile, type ArchiveFile } from '../conda/archive/archive-file.js';
import { decompressBzip2 } from '../conda/archive/bzip2.js';
import { findCondaEntries, readZipEntry } from '../conda/archive/conda-zip.js';
import { limitExpansion, PKG_EXPANSION, TAR_BZ2_EXPANSION } from '../conda/archive/limits.js';
import { shorten } from '../conda/archive/member-path.js';
import { readTar } from '../conda/archive/tar.js';
import { decompressZstd } from '../conda/archive/zstd.js';
import { archiveExtensionOf, isSubdir } from '../conda/names.js';
import { isJsonObject } from '../conformance/rules/json-value.js';
import { FerryError, IntegrityError } from '../errors.js';
import { parsePatchInstructions, type PatchInstructions } from './patch-instructions.js';

/** Instructions of one subdir. Those of conda-forge reach some tens of megabytes. */
const MAX_INSTRUCTIONS_BYTES = 256 * 1024 * 1024;
const MEMBER = /^(?<subdir>[^/]+)\/patch_instructions\.json$/;

/** The instructions of a subdir; `undefined` where there are none of it. */
export type PatchSource = (subdir: string) => PatchInstructions | undefined;

/**
 * Reads a file of patch instructions, which is one of
 * - a `.conda` or `.tar.bz2` package with `<subdir>/patch_instructions.json`, as conda-index takes it;
 * - JSON of the instructions of each subdir: `{ "linux-64": { "packages": {…} } }`;
 * - JSON of instructions alone, which hold for every subdir: file names that one does not have are passed over.
 * @throws FerryError `REPODATA_INVALID`, `UNSUPPORTED`, `ARCHIVE_…`; IntegrityError `SIZE_EXCEEDED`; `ENOENT` and the like
 * @see CEP 21
 */
export async function readPatches(
  path: string,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<PatchSource> {
  const what = `\`${basename(path)}\``;
  if (archiveExtensionOf(path) !== undefined) return readPackage(path, options.signal);
  const value = parseJson(await readFile(path), what);
  const entries = isJsonObject(value) ? Object.entries(value) : [];
  if (entries.length > 0 && entries.every(([key, item]) => isSubdir(key) && isJsonObject(item))) {
    const bySubdir = new Map(
      entries.map(([subdir, item]) => [subdir, parsePatchInstructions(item, `${what}, ${subdir},`)]),
    );
    return (subdir) => bySubdir.get(subdir);
  }
  const instructions = parsePatchInstructions(value, what);
  return () => instructions;
}

async function readPackage(path: string, signal: AbortSignal | undefined): Promise<PatchSource> {
  await using file = await openArchiveFile({ path });
  const documents = new Map<string, Uint8Array>();
  await readTar(await openPayload(path, file, signal), ({ name, type, size }) => {
    const subdir = MEMBER.exec(name.replace(/^\.\//, ''))?.groups?.['subdir'] ?? '';
    if (type !== 'file' || !isSubdir(subdir)) return undefined;
    if (size > MAX_INSTRUCTIONS_BYTES)
      throw new IntegrityError('SIZE_EXCEEDED', `\`${shorten(name)}\``, MAX_INSTRUCTIONS_BYTES, size);
    const chunks: Uint8Array[] = [];
    return {
      write: (chunk) => {
        chunks.push(new Uint8Array(chunk));
      },
      end: () => {
        documents.set(subdir, Buffer.concat(chunks));
      },
    };
  });
  const what = `\`${basename(path)}\``;
  if (documents.size === 0)
    throw new FerryError('REPODATA_INVALID', `${what} has no \`<subdir>/patch_instructions.json\``);
  const parsed = new Map(
    [...documents].map(([subdir, bytes]) => {
      const where = `\`${subdir}/patch_instructions.json\` of ${what}`;
      return [subdir, parsePatchInstructions(parseJson(bytes, where), where)];
    }),
  );
  return (subdir) => parsed.get(subdir);
}

async function openPayload(
  path: string,
  file: ArchiveFile,
  signal: AbortSignal | undefined,
): Promise<AsyncIterable<Uint8Array>> {
  if (archiveExtensionOf(path) === 'tar.bz2') {
    const tar = decompressBzip2(file.chunks(0, file.size, signal));
    return limitExpansion(tar, file.size, TAR_BZ2_EXPANSION, 'the archive');
  }
  const { pkg } = await findCondaEntries(file, signal);
  const what = `\`${shorten(pkg.name)}\``;
  const tar = decompressZstd(readZipEntry(file, pkg, signal), what);
  return limitExpansion(tar, pkg.size, PKG_EXPANSION, what);
}

function parseJson(bytes: Uint8Array, what: string): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new FerryError('REPODATA_INVALID', `${what} is not JSON in UTF-8`, { cause });
  }
}

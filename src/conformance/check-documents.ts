/**
 * The metadata documents of a channel, wherever they come from: repodata with its variants and compressed forms, run
 * exports, patch instructions, channel data, notices.
 */
import type { MetadataFile } from '../artifact/schema.js';
import { parseArchiveFilename, isArchiveFilename, type ArchiveName } from '../conda/names.js';
import { archiveUrl } from '../conda/repodata/archive-url.js';
import { FerryError, isFerryError } from '../errors.js';
import { digestOf } from '../io/digest.js';
import type { CheckContext } from './check-context.js';
import { parseBoundedJson } from './parse-json.js';
import type { PackageSummaries } from './rules/channeldata.js';
import { checkChanneldata } from './rules/channeldata.js';
import { asJsonObject } from './rules/json-value.js';
import { checkNotices } from './rules/notices.js';
import type { ListedArchive } from './rules/package-artifact.js';
import { checkPatchInstructions } from './rules/patch-instructions.js';
import { checkCompressedForm, checkCurrentRepodata } from './rules/repodata-forms.js';
import type { ListedRecord, RepodataText } from './rules/repodata-text.js';
import { checkRepodata } from './rules/repodata.js';
import { checkRunExports } from './rules/run-exports.js';

/** Far above the largest repodata there is (200 MB in 2026), and what fits into memory. */
export const MAX_DOCUMENT_BYTES = 1024 * 1024 * 1024;
/** Values of a document that is parsed whole: several times those of conda-forge's, and a gigabyte or two in memory. */
const MAX_DOCUMENT_VALUES = 20_000_000;

/** A metadata file as it was found. */
export interface FoundDocument {
  /** Such as `noarch/repodata.json`. */
  readonly where: string;
  /** The file itself; `undefined` where only a compressed form is there, or none that can be read. */
  readonly plain: Uint8Array | undefined;
  /** Its `.zst` form, if there is one. */
  readonly zst: Uint8Array | undefined;
}

/** Where documents come from. */
export interface DocumentSource {
  /** Base URL of the channel, without the subdir; for rules about neighbouring channels. */
  readonly channelUrl: string | undefined;
  /** Reads a file; `subdir` is empty for the channel's own. `undefined` where there is none. */
  read(subdir: string, file: MetadataFile): Promise<FoundDocument | undefined>;
}

/** An archive that repodata lists, with what its file name says. */
export interface ListedPackage extends ListedArchive {
  readonly name: ArchiveName;
  /** Lower-case hex. */
  readonly md5: string | undefined;
  /** `attestations_sha256` of the record, whatever it is. */
  readonly attestations?: unknown;
  /** Where it lies, if not beside the repodata. @see cep15/download-url, cep151/resolution */
  readonly url?: string | undefined;
}

/** What repodata of one subdir came to. */
export interface SubdirListing {
  readonly subdir: string;
  readonly where: string;
  /** All archives that it lists under readable names. */
  readonly archives: readonly ListedPackage[];
  /** `undefined` where it is no JSON object. */
  readonly repodata: RepodataText | undefined;
  /** The files beside it that speak of run exports, parsed. */
  readonly companions: RunExportsCompanions;
}

/** What a subdir's files say of run exports beside its repodata; `undefined` where there is no such file. */
export interface RunExportsCompanions {
  readonly runExports: unknown;
  readonly patches: unknown;
}

/** Checks all documents of one subdir. @returns what its repodata lists; `undefined` where there is none */
export async function checkSubdirDocuments(
  source: DocumentSource,
  subdir: string,
  summaries: PackageSummaries,
  context: CheckContext,
): Promise<SubdirListing | undefined> {
  const archives: ListedPackage[] = [];
  const take = (record: ListedRecord): void => {
    context.counts.records += 1;
    summaries.add(record, subdir);
    const listed = listedPackage(record);
    if (listed !== undefined) archives.push(listed);
  };
  const repodata = await readRepodata(source, subdir, 'repodata.json', context, take);
  const current = await readRepodata(source, subdir, 'current_repodata.json', context);
  if (current?.text !== undefined && repodata?.text !== undefined) {
    checkCurrentRepodata({ where: current.where, current: current.text, full: repodata.text }, context.log);
  }
  const unpatched = await readRepodata(source, subdir, 'repodata_from_packages.json', context);
  let runExports: unknown;
  let patches: unknown;
  const hasRunExports = await checkOne(source, subdir, 'run_exports.json', context, (value, where) => {
    runExports = value;
    const outline = repodata?.text?.outline();
    const removed = new Set(stringsOf(outline?.['removed']));
    const text = (unpatched ?? repodata)?.text;
    checkRunExports({ value, subdir, where, repodata: text, removed }, context.log);
  });
  await checkOne(source, subdir, 'patch_instructions.json', context, (value, where) => {
    patches = value;
    checkPatchInstructions({ value, where, hasRunExports, runExports }, context.log);
  });
  if (repodata === undefined) return undefined;
  const { where, text } = repodata;
  const base = text?.info()['base_url'];
  return {
    subdir,
    where,
    archives: typeof base === 'string' ? archives.map((archive) => withBase(archive, base)) : archives,
    repodata: text,
    companions: { runExports, patches },
  };
}

/** Checks the documents of the channel itself. @returns whether there is channel data */
export async function checkChannelDocuments(
  source: DocumentSource,
  subdirs: readonly string[],
  summaries: PackageSummaries,
  context: CheckContext,
): Promise<boolean> {
  const hasChanneldata = await checkOne(source, '', 'channeldata.json', context, (value, where) => {
    // Of a part of the channel nothing can be said about the whole.
    const packages = context.options.subdirs === undefined ? summaries : undefined;
    checkChanneldata({ value, where, subdirs, packages }, context.log);
  });
  await checkOne(source, '', 'notices.json', context, (value, where) => {
    checkNotices({ value, where }, context.log);
  });
  return hasChanneldata;
}

interface ReadRepodata {
  readonly where: string;
  readonly text: RepodataText | undefined;
}

async function readRepodata(
  source: DocumentSource,
  subdir: string,
  file: 'repodata.json' | 'current_repodata.json' | 'repodata_from_packages.json',
  context: CheckContext,
  onRecord?: (record: ListedRecord) => void,
): Promise<ReadRepodata | undefined> {
  const found = await source.read(subdir, file);
  if (found === undefined) return undefined;
  const { where } = found;
  const bytes = await contentOf(found, context);
  if (bytes === undefined) return { where, text: undefined };
  const { channelUrl } = source;
  const nowMs = context.options.now().getTime();
  return { where, text: checkRepodata({ bytes, subdir, where, channelUrl, nowMs, onRecord }, context.log) };
}

async function checkOne(
  source: DocumentSource,
  subdir: string,
  file: MetadataFile,
  context: CheckContext,
  check: (value: unknown, where: string) => void,
): Promise<boolean> {
  const found = await source.read(subdir, file);
  if (found === undefined) return false;
  const { where } = found;
  const bytes = await contentOf(found, context);
  if (bytes === undefined) return true;
  const parsed = parseBoundedJson(bytes, MAX_DOCUMENT_VALUES);
  if ('fault' in parsed && parsed.fault === 'limit') {
    const error = new FerryError('SIZE_EXCEEDED', `it is too large to be checked: it has ${parsed.message}`);
    await context.look(where, () => Promise.reject(error));
    return true;
  }
  check('value' in parsed ? parsed.value : undefined, where);
  return true;
}

/** The document itself, after its compressed form was held against it. */
async function contentOf(
  { where, plain, zst }: FoundDocument,
  context: CheckContext,
): Promise<Uint8Array | undefined> {
  if (zst === undefined) return plain;
  const compressed = `${where}.zst`;
  const expanded = await expand(zst, compressed, context);
  const isZstd = context.log.expect('cep36/zst-name', typeof expanded !== 'string', () => ({
    where: compressed,
    found: String(expanded),
    expected: 'what the ending of its name says: the file, compressed with zstd',
  }));
  if (!isZstd || typeof expanded === 'string') return plain;
  if (plain === undefined) return expanded;
  checkCompressedForm(
    { where: compressed, plainDigest: digestOf(plain), expandedDigest: digestOf(expanded) },
    context.log,
  );
  return plain;
}

/** The bytes, or why there are none. */
async function expand(
  bytes: Uint8Array,
  what: string,
  { options }: CheckContext,
): Promise<Uint8Array | string> {
  try {
    const input = { bytes, maxBytes: MAX_DOCUMENT_BYTES, what: `\`${what}\`` };
    return await options.expander.expand(input, options.signal);
  } catch (error) {
    if (isFerryError(error, 'REPODATA_INVALID') || isFerryError(error, 'SIZE_EXCEEDED')) return error.message;
    throw error;
  }
}

function listedPackage({ section, filename, value }: ListedRecord): ListedPackage | undefined {
  if (section.length > 1 || !isArchiveFilename(filename)) return undefined;
  const name = parseArchiveFilename(filename);
  const { sha256, md5, size, attestations_sha256: attestations, url } = asJsonObject(value);
  return {
    filename,
    extension: name.extension,
    name,
    sha256: typeof sha256 === 'string' ? sha256.toLowerCase() : undefined,
    md5: typeof md5 === 'string' ? md5.toLowerCase() : undefined,
    size: typeof size === 'number' ? size : undefined,
    attestations,
    url: typeof url === 'string' && url !== filename ? url : undefined,
  };
}

function withBase(archive: ListedPackage, base: string): ListedPackage {
  return base === '' ? archive : { ...archive, url: archiveUrl(base, archive.filename, archive.url) };
}

function stringsOf(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string') : [];
}

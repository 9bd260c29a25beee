/** The files beside the repodata of a published channel, made out of its records and of what its archives say. */
import { metadataMediaType, ZSTD_SUFFIX } from '../../artifact/media-types.js';
import { findMetadata, LATEST, pushMetadata, readMetadataLayer } from '../../artifact/metadata-artifact.js';
import { isChannelFile, type MetadataFile } from '../../artifact/schema.js';
import { makeChanneldata } from '../channeldata.js';
import { selectCurrent } from '../current-repodata.js';
import type { Head, HeadOptions } from '../head.js';
import type { IndexedInfo } from '../indexed-info.js';
import { Listing } from '../listing.js';
import {
  applyPatches,
  parsePatchInstructions,
  patchRunExports,
  type PatchInstructions,
} from '../patch-instructions.js';
import { makeRunExports } from '../run-exports.js';
import { sortedJson } from '../sorted-json.js';
import { eachRecord, sectionOf, writeRepodata, type SubdirRecords } from '../subdir-records.js';
import { digestOf } from '../../io/digest.js';

const MAX_FILE_BYTES = 1024 * 1024 * 1024;
/** For files that are made anew with every index, and read by every client. */
const ZSTD_LEVEL = 15;

/** A subdir that is indexed, ready for the files beside its repodata. */
export interface CompanionInput {
  readonly subdir: string;
  /** What is published. */
  readonly head: Head;
  /** Records as the archives give them, those among them that patches take out. */
  readonly unpatched: SubdirRecords;
  readonly patches: PatchInstructions | undefined;
  readonly infos: ReadonlyMap<string, IndexedInfo>;
}

/** Reads a listing as the generators take it. */
export function recordsOf(listing: Listing): SubdirRecords {
  const sections = { packages: new Map(), 'packages.conda': new Map() };
  for (const filename of listing.filenames()) {
    const record = listing.get(filename);
    if (record !== undefined) sections[sectionOf(filename)].set(filename, record);
  }
  return { ...sections, removed: [...listing.removed].sort() };
}

/**
 * Reads the records of a subdir as they were before patches: those of `repodata_from_packages.json` where it is of the same
 * archives, else those that are listed, which came after the last index.
 */
export async function readUnpatched(
  subdir: string,
  head: Head,
  options: HeadOptions,
): Promise<SubdirRecords> {
  const records = recordsOf(head.listing);
  const text = await readFile(subdir, 'repodata_from_packages.json', options);
  if (text === undefined) return records;
  const before = Listing.parse(text, subdir);
  const sections = {
    packages: new Map(records.packages),
    'packages.conda': new Map(records['packages.conda']),
  };
  for (const filename of before.filenames()) {
    const record = before.get(filename);
    const section = sections[sectionOf(filename)];
    const listed = section.get(filename);
    const isGone = listed === undefined && head.listing.removed.has(filename);
    if (record !== undefined && (isGone || listed?.['sha256'] === record['sha256']))
      section.set(filename, record);
  }
  return { ...sections, removed: records.removed };
}

/** Reads the patch instructions that a subdir was published with; `undefined` where there are none. @throws FerryError `REPODATA_INVALID` */
export async function readStoredPatches(
  subdir: string,
  options: HeadOptions,
): Promise<PatchInstructions | undefined> {
  const text = await readFile(subdir, 'patch_instructions.json', options);
  if (text === undefined) return undefined;
  const value: unknown = JSON.parse(Buffer.from(text).toString('utf8'));
  return parsePatchInstructions(value, `\`patch_instructions.json\` of \`${subdir}\``);
}

/** Writes the files of a subdir. @returns those that changed */
export async function writeSubdirCompanions(
  input: CompanionInput,
  options: HeadOptions,
): Promise<readonly MetadataFile[]> {
  const { subdir, head, unpatched, patches, infos } = input;
  const records = recordsOf(head.listing);
  const about = { subdir };
  const runExports = [...eachRecord(unpatched)].map(([filename]) => {
    const said = infos.get(filename)?.runExports ?? {};
    return [filename, patches === undefined ? said : patchRunExports(filename, said, patches)] as const;
  });
  const files: (readonly [MetadataFile, Uint8Array])[] = [
    ['run_exports.json', Buffer.from(`${sortedJson(makeRunExports(subdir, runExports))}\n`)],
    ['current_repodata.json', writeRepodata(about, selectCurrent(records, subdir))],
  ];
  if (patches !== undefined) {
    files.push(['repodata_from_packages.json', writeRepodata(about, unpatched)]);
    files.push(['patch_instructions.json', Buffer.from(`${sortedJson(patches)}\n`)]);
  }
  const changed: MetadataFile[] = [];
  for (const [file, bytes] of files) if (await writeFile(subdir, file, bytes, options)) changed.push(file);
  return changed;
}

/** Writes `channeldata.json` of the whole channel. @returns whether it changed @see CEP 38 */
export async function writeChanneldata(
  inputs: readonly CompanionInput[],
  options: HeadOptions,
): Promise<boolean> {
  const document = makeChanneldata(
    inputs.map(({ subdir, head, infos }) => ({
      subdir,
      records: recordsOf(head.listing),
      infoOf: (filename) => infos.get(filename),
    })),
  );
  return writeFile('', 'channeldata.json', Buffer.from(`${sortedJson(document)}\n`), options);
}

/** The records that patches change, and the file names that they take out. */
export function patchedRecords(
  unpatched: SubdirRecords,
  patches: PatchInstructions,
): { readonly records: SubdirRecords; readonly gone: readonly string[] } {
  const records = applyPatches(unpatched, patches);
  const gone = [...eachRecord(unpatched)]
    .map(([filename]) => filename)
    .filter((filename) => !records[sectionOf(filename)].has(filename));
  return { records, gone };
}

async function readFile(
  subdir: string,
  file: MetadataFile,
  { store, signal }: HeadOptions,
): Promise<Uint8Array | undefined> {
  const found = await findMetadata(store, subdir, file, { signal });
  return found && readMetadataLayer(found, metadataMediaType(file), MAX_FILE_BYTES, { signal });
}

async function writeFile(
  subdir: string,
  file: MetadataFile,
  bytes: Uint8Array,
  { store, workers, signal }: HeadOptions,
): Promise<boolean> {
  const mediaType = metadataMediaType(file);
  const found = await findMetadata(store, subdir, file, { signal });
  const digest = digestOf(bytes);
  if (found?.layers.some((layer) => layer.mediaType === mediaType && layer.digest === digest) === true)
    return false;
  const plain = { mediaType, title: file, bytes };
  // Of the channel's own files no compressed form is defined. @see v1/C4
  const layers = isChannelFile(file)
    ? [plain]
    : [
        plain,
        {
          mediaType: mediaType + ZSTD_SUFFIX,
          title: `${file}.zst`,
          bytes: await workers.run('compress', { bytes, level: ZSTD_LEVEL }, signal),
        },
      ];
  await pushMetadata(store, subdir, file, layers, { tags: [LATEST], looksBeforeMove: true, signal });
  return true;
}

import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readInfo } from '#ferry/conda/archive/read-info.js';
import { archiveExtensionOf } from '#ferry/conda/names.js';
import type { RepodataRecord } from '#ferry/conda/package-record.js';
import { digestOf } from '#ferry/io/digest.js';
import type {
  Generation,
  NamedRecord,
  PackageListing,
  ServedChannel,
  ShardSet,
  Staleness,
} from '#ferry/serve/channels/served-channel.js';
import type { Content } from '#ferry/serve/content.js';
import type { ReadShownInfo } from '#ferry/serve/pages/archive-page.js';
import { shownInfoOf } from '#ferry/serve/pages/read-info.js';

/** The repodata of a subdir, as far as it counts for what lists it. */
export interface ServedSubdir {
  readonly records?: readonly NamedRecord[];
  readonly removed?: readonly string[];
  readonly staleness?: Staleness;
  /** What comes of making the shards. @defaultValue they are there */
  readonly shards?: 'never-ready' | Error;
  /** What reading the repodata fails with. */
  readonly error?: Error;
}

/** A channel to look at. */
export interface ServedChannelOptions {
  readonly name?: string;
  readonly label?: string;
  readonly location?: string;
  readonly subdirs: Readonly<Record<string, ServedSubdir>>;
  /** What asking for the subdirs fails with. */
  readonly error?: Error;
}

/** When everything here was changed last. */
const MODIFIED = new Date('2026-11-20T08:30:00Z');

/** A record with the fields that its file name tells, and others; nothing is checked. */
export function namedRecord(
  filename: string,
  fields: Readonly<Record<string, unknown>> = {},
  subdir = 'noarch',
): NamedRecord {
  const extension = archiveExtensionOf(filename) ?? 'conda';
  const parts = filename.slice(0, -extension.length - 1).split('-');
  const [build = '', version = ''] = [parts.pop(), parts.pop()];
  const document = { name: parts.join('-'), version, build, subdir, ...fields };
  const record = { ...document, filename, extension, listedIn: subdir } as RepodataRecord;
  return { filename, record, document };
}

/** A channel in memory. */
export function servedChannel(options: ServedChannelOptions): ServedChannel {
  const {
    name = 'tools',
    label,
    location = 'oci://registry.example.org/org/tools',
    subdirs,
    error,
  } = options;
  const generations = new Map<string, Generation>();
  for (const [subdir, served] of Object.entries(subdirs)) generations.set(subdir, generation(subdir, served));
  return {
    name,
    label,
    location,
    subdirs: async () => {
      if (error !== undefined) throw error;
      return Object.keys(subdirs);
    },
    generation: async (subdir) => {
      const failure = subdirs[subdir]?.error;
      if (failure !== undefined) throw failure;
      return generations.get(subdir);
    },
  };
}

/** A channel in a folder, with what its archives say of themselves. */
export async function servedFolder(
  name: string,
  folder: string,
): Promise<{ readonly channel: ServedChannel; readonly readInfo: ReadShownInfo }> {
  const subdirs: Record<string, ServedSubdir> = {};
  for (const subdir of await readdir(folder)) {
    const path = join(folder, subdir, 'repodata.json');
    if (!existsSync(path)) continue;
    const text = await readFile(path, 'utf8');
    const json = JSON.parse(text === '' ? '{}' : text) as Partial<
      Record<'packages' | 'packages.conda', Record<string, Record<string, unknown>>>
    > & { removed?: string[] };
    const entries = Object.entries({ ...json.packages, ...json['packages.conda'] });
    const records = entries.map(([filename, fields]) => namedRecord(filename, fields, subdir));
    subdirs[subdir] = { records, removed: json.removed ?? [] };
  }
  return {
    channel: servedChannel({ name, location: 'oci://registry.example.org/org/channel', subdirs }),
    readInfo: async (_channel, subdir, filename) => {
      const path = join(folder, subdir, filename);
      if (!existsSync(path)) return undefined;
      const { members } = await readInfo({ path }, archiveExtensionOf(filename) ?? 'conda');
      return shownInfoOf(members);
    },
  };
}

function generation(
  subdir: string,
  { records = [], removed = [], staleness, shards }: ServedSubdir,
): Generation {
  const made = shardSet(records, removed);
  const content = contentOf('{}');
  return {
    subdir,
    modified: MODIFIED,
    staleness,
    plain: content,
    readyForm: () => content,
    form: async () => Promise.resolve(content),
    shards: shards === undefined ? made : undefined,
    whenSharded: async (signal) => {
      if (shards === undefined) return made;
      if (shards !== 'never-ready') throw shards;
      return new Promise((_, reject) => {
        signal?.addEventListener('abort', () => {
          reject(signal.reason as Error);
        });
      });
    },
  };
}

function shardSet(records: readonly NamedRecord[], removed: readonly string[]): ShardSet {
  const listings = new Map<string, PackageListing & { records: NamedRecord[]; removed: string[] }>();
  const listing = (name: string) => {
    const known = listings.get(name) ?? { name, records: [], removed: [], invalid: [] };
    listings.set(name, known);
    return known;
  };
  for (const record of records) listing(record.record.name).records.push(record);
  for (const filename of removed) listing(filename.split('-').slice(0, -2).join('-')).removed.push(filename);
  return {
    index: contentOf(''),
    names: [...listings.keys()].sort(),
    recordCount: records.length,
    shard: () => undefined,
    listing: async (name): Promise<PackageListing | undefined> => listings.get(name),
  };
}

function contentOf(text: string): Content {
  const bytes = Buffer.from(text);
  return {
    digest: digestOf(bytes),
    size: bytes.byteLength,
    bytes,
    open: async () => ({
      size: bytes.byteLength,
      read: async (target, position) => bytes.copy(target, 0, position),
      [Symbol.asyncDispose]: async () => undefined,
    }),
  };
}

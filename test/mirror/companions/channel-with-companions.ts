import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { compress } from 'zstd-napi';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import type { RememberedCompanion } from '#ferry/artifact/ledger.js';
import { OciChannel } from '#ferry/artifact/oci-channel.js';
import type { Schema } from '#ferry/artifact/schema.js';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import type { ChannelSource } from '#ferry/conda/channel-source.js';
import { check } from '#ferry/conformance/check.js';
import { collect } from '#ferry/io/bytes.js';
import {
  moveCompanions,
  type CarriedCompanions,
  type CompanionContext,
} from '#ferry/mirror/companions/carry-companion.js';
import { carrySubdirCompanions } from '#ferry/mirror/companions/subdir-companions.js';
import { MemoryRegistry } from '#ferry/oci/memory-store.js';
import { condaPackage, tarBz2Package } from '../../../fixtures/build/archive.mjs';
import { repodataOf, writeChannel } from '../../../fixtures/build/channel.mjs';
import { tempFolder } from '../../support/temp.js';
import { workers } from '../../support/workers.js';

export const TAGS = { v0: '2026.11.21.07.35.00', v1: '20261121T073500Z' } as const;

export function conda(name: string, version = '1.0', index: object = {}) {
  const all = { noarch: 'generic', timestamp: 1_700_000_000_000, ...index };
  return condaPackage({ name, version, build: '0', subdir: 'noarch', index: all });
}

function tarBz2(name: string, version = '1.0') {
  const index = { noarch: 'generic', timestamp: 1_700_000_000_000 };
  return tarBz2Package({ name, version, build: '0', subdir: 'noarch', index });
}

type Json = Record<string, Record<string, unknown>>;

/** What lies in a folder, as JSON. */
export async function jsonOf(folder: string, path: string): Promise<Json> {
  return JSON.parse(await readFile(join(folder, path), 'utf8')) as Json;
}

/** Puts a file into a channel, `.zst` beside it where wanted. */
export async function put(folder: string, path: string, content: unknown, zst = false): Promise<Buffer> {
  const bytes = Buffer.from(typeof content === 'string' ? content : JSON.stringify(content));
  await mkdir(dirname(join(folder, path)), { recursive: true });
  await writeFile(join(folder, path), bytes);
  if (zst) await writeFile(join(folder, `${path}.zst`), compress(bytes, { compressionLevel: 3 }));
  return bytes;
}

/** A channel with all metadata files; `yanked-1.0` is in the unpatched repodata alone. */
export async function channelFolder(): Promise<string> {
  const folder = await tempFolder();
  const yanked = { ...conda('yanked'), removed: true };
  const archives = [conda('aaa'), conda('bbb'), tarBz2('ccc'), yanked];
  await writeChannel(folder, { noarch: archives }, { companions: true });
  const unpatched = repodataOf('noarch', [conda('aaa'), conda('bbb'), tarBz2('ccc'), conda('yanked')]);
  await put(folder, 'noarch/repodata_from_packages.json', unpatched, true);
  await put(folder, 'noarch/current_repodata.json', repodataOf('noarch', [conda('aaa'), conda('bbb')]));
  const runExports = await jsonOf(folder, 'noarch/run_exports.json');
  runExports['packages.conda'] = {
    ...runExports['packages.conda'],
    'yanked-1.0-0.conda': { run_exports: {} },
  };
  runExports['info'] = { platform: 'noarch', arch: 'noarch', subdir: 'noarch', version: 1 };
  await put(folder, 'noarch/run_exports.json', runExports, true);
  await put(folder, 'noarch/patch_instructions.json', {
    patch_instructions_version: 1,
    packages: { 'ccc-1.0-0.tar.bz2': { license: 'MIT' }, 'bbb-1.0-0.tar.bz2': { license: 'BSD' } },
    'packages.conda': { 'aaa-1.0-0.conda': { license: 'MIT' }, 'gone-1-0.conda': {} },
    remove: ['yanked-1.0-0.conda', 'gone-1-0.conda'],
    revoke: [],
  });
  await put(folder, 'notices.json', { notices: [] });
  return folder;
}

/** Archives of a channel's repodata, file name to identity. */
export async function listedIn(folder: string, file = 'repodata.json'): Promise<Map<string, string>> {
  const repodata = await jsonOf(folder, `noarch/${file}`);
  const records = { ...repodata['packages'], ...repodata['packages.conda'] } as Record<
    string,
    { readonly sha256: string }
  >;
  return new Map(Object.entries(records).map(([filename, { sha256 }]) => [filename, `sha256:${sha256}`]));
}

/** A store of its own. */
export function memoryStore(schema: Schema): ChannelStore {
  return new ChannelStore(new MemoryRegistry(), 'c', schema);
}

/** A folder's channel without the files beside the repodata. */
export function withoutCompanions(folder: string): ChannelSource {
  const channel = new DirectoryChannel(folder);
  return {
    url: channel.url,
    subdirs: () => channel.subdirs(),
    openArchive: channel.openArchive.bind(channel),
    openMetadata: (path, options) =>
      /\/repodata\.json(?:\.zst)?$/.test(path)
        ? channel.openMetadata(path, options)
        : Promise.resolve({ status: 'absent' }),
  };
}

/** The context of a run from a folder, or another source. */
export function contextOf(source: string | ChannelSource, store: ChannelStore): CompanionContext {
  const opened = typeof source === 'string' ? new DirectoryChannel(source) : source;
  return { source: opened, store, workers, historyTag: TAGS[store.schema.id] };
}

/** Options of {@link carry}. */
export interface CarryOptions {
  readonly remembered?: Record<string, RememberedCompanion>;
  /** File names that are listed. @defaultValue what the folder's repodata lists */
  readonly listed?: readonly string[];
  readonly kept?: readonly string[];
  readonly source?: ChannelSource;
  /** Leaves `latest` where it is. */
  readonly isUnmoved?: boolean;
}

/** Carries the metadata files of noarch, as a run would. */
export async function carry(
  folder: string,
  store: ChannelStore,
  options: CarryOptions = {},
): Promise<CarriedCompanions> {
  const all = await listedIn(folder, 'repodata_from_packages.json');
  const pick = (names: Iterable<string>): Map<string, string> =>
    new Map([...names].map((name) => [name, all.get(name) ?? 'sha256:?']));
  const carried = await carrySubdirCompanions(
    {
      subdir: 'noarch',
      unchanged: options.listed === undefined,
      listed: pick(options.listed ?? (await listedIn(folder)).keys()),
      kept: pick(options.kept ?? []),
      remembered: options.remembered,
    },
    contextOf(options.source ?? folder, store),
  );
  if (options.isUnmoved !== true) await moveCompanions(store, carried.moves);
  return carried;
}

/** The outcomes by file. */
export function outcomesOf({ reports }: CarriedCompanions): Record<string, string> {
  return Object.fromEntries(reports.map(({ file, outcome }) => [file, outcome]));
}

/** A metadata file as clients get it from the store; `undefined` where there is none. */
export async function published(store: ChannelStore, path: string): Promise<Buffer | undefined> {
  const answer = await new OciChannel(store).openMetadata(path);
  if (answer.status !== 'found') return undefined;
  return Buffer.from(await collect(answer.body, 10_000_000, path));
}

/** Errors that a check of the whole channel finds. */
export async function errorsIn(store: ChannelStore, deep = false): Promise<string[]> {
  const report = await check({ kind: 'channel', store }, { name: 'c', deep });
  const unchecked = report.unchecked.map(({ where, message }) => `${where}: ${message}`);
  const errors = report.findings.filter(({ severity }) => severity === 'error');
  return [...errors.map(({ clause, where, found }) => `${clause} at ${where}: ${found}`), ...unchecked];
}

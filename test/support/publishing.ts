import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import type { Schema } from '#ferry/artifact/schema.js';
import { checkChannel } from '#ferry/conformance/check-channel.js';
import { faultsOf as faultsIn } from '#ferry/mirror/verify/report.js';
import { verifyChannel } from '#ferry/mirror/verify/verify.js';
import { MemoryRegistry } from '#ferry/oci/memory-store.js';
import type { Registry } from '#ferry/oci/storage.js';
import {
  indexChannel,
  type IndexOptions,
  type IndexReport,
} from '#ferry/publish/index-store/index-channel.js';
import { pushArchives, type PushOptions, type PushReport } from '#ferry/publish/push.js';
import { yankArchives, type YankOptions, type YankReport } from '#ferry/publish/yank.js';
import { withContext } from '../conformance/checked-channel.js';
import { faultsOf, publishedRepodata } from './audit.js';
import { failingRegistry } from './failing-registry.js';
import type { TestRegistry } from './docker-registry.js';
import { memoryReader } from './memory-reader.js';
import { layoutStore, registryStore, type StoreUnderTest } from './stores.js';
import { tempFolder } from './temp.js';
import type { BuiltArchive } from './v1-channel.js';
import { watchedRegistry } from './watched-registry.js';
import { workers } from './workers.js';

/** A record as published. */
export type ListedJson = Readonly<Record<string, unknown>> & {
  readonly sha256: string;
  readonly indexed_timestamp: number;
};

/** Repodata as published. */
export interface RepodataJson {
  readonly packages: Readonly<Record<string, ListedJson>>;
  readonly 'packages.conda': Readonly<Record<string, ListedJson>>;
  readonly removed: readonly string[];
}

/** A channel to publish to, seen afresh by each command. */
export interface Scene {
  readonly folder: string;
  /** Nothing is remembered from one view to the next. */
  readonly view: () => StoreUnderTest;
  /** Writes archives beside each other. @returns their paths */
  readonly files: (...archives: readonly BuiltArchive[]) => Promise<string[]>;
  readonly push: (archives: readonly BuiltArchive[], options?: Partial<PushOptions>) => Promise<PushReport>;
  readonly yank: (specs: readonly string[], options?: Partial<YankOptions>) => Promise<YankReport>;
  readonly index: (options?: Partial<IndexOptions>) => Promise<IndexReport>;
  readonly repodata: (subdir?: string) => Promise<RepodataJson>;
  /** The bytes of the published repodata. */
  readonly text: (subdir?: string) => Promise<string>;
  /** File names of what is listed, sorted. */
  readonly listed: (subdir?: string) => Promise<string[]>;
  /** Listed is there, `check` finds no errors, and `verify` no faults. */
  readonly expectSound: (...subdirs: readonly string[]) => Promise<void>;
}

/** How scenes differ. */
export interface SceneOptions {
  /** @defaultValue v0 */
  readonly schema?: Schema;
  readonly label?: string;
}

/** The kinds of stores, for `describe.each`. */
export const KINDS = ['memory', 'image layouts', 'docker-registry'] as const;
export type Kind = (typeof KINDS)[number];

let count = 0;

/** A channel that nobody has published to yet. */
export async function sceneOf(
  kind: Kind,
  registry: () => TestRegistry,
  { schema = schemaV0, label }: SceneOptions = {},
): Promise<Scene> {
  count += 1;
  const folder = await tempFolder();
  const channel = `published-${String(count)}`;
  const ofLabel = label === undefined ? {} : { label };
  if (kind === 'image layouts')
    return sceneIn(folder, () => layoutStore(join(folder, 'store'), { schema, ...ofLabel }), schema);
  if (kind === 'docker-registry')
    return sceneIn(folder, () => registryStore(registry(), channel, { schema, ...ofLabel }), schema);
  const memory = new MemoryRegistry();
  return sceneIn(folder, () => memoryView(memory, memory, schema, label), schema);
}

/** A channel in memory, each view of which goes through what `wrap` makes of the store. */
export async function wrappedScene(
  wrap: (registry: MemoryRegistry) => Registry,
  schema: Schema = schemaV0,
): Promise<Scene> {
  const memory = new MemoryRegistry();
  return sceneIn(await tempFolder(), () => memoryView(memory, wrap(memory), schema, undefined), schema);
}

function memoryView(
  memory: MemoryRegistry,
  inner: Registry,
  schema: Schema,
  label: string | undefined,
): StoreUnderTest {
  const requests: string[] = [];
  const registry = watchedRegistry(inner, {
    before: ({ verb, repository }) => requests.push(`${verb} ${repository}`),
  });
  const store = new ChannelStore(registry, 'ch', schema, label);
  return { store, reader: memoryReader(memory), path: `${store.path}/`, requests };
}

function sceneIn(folder: string, view: () => StoreUnderTest, schema: Schema): Scene {
  const files: Scene['files'] = async (...archives) => {
    count += 1;
    const place = join(folder, `archives-${String(count)}`);
    await mkdir(place);
    for (const { filename, bytes } of archives) await writeFile(join(place, filename), bytes);
    return archives.map(({ filename }) => join(place, filename));
  };
  const text: Scene['text'] = async (subdir = 'noarch') => {
    const { reader, path } = view();
    return String(await publishedRepodata(reader, `${path}${subdir}`, schema.id));
  };
  const repodata: Scene['repodata'] = async (subdir) => JSON.parse(await text(subdir)) as RepodataJson;
  return {
    folder,
    view,
    files,
    text,
    repodata,
    push: async (archives, options = {}) =>
      pushArchives({ store: view().store, workers, archives: await files(...archives), ...options }),
    yank: async (specs, options = {}) => yankArchives({ store: view().store, workers, specs, ...options }),
    index: async (options = {}) => indexChannel({ store: view().store, workers, ...options }),
    listed: async (subdir) => {
      const { packages, 'packages.conda': conda } = await repodata(subdir);
      return [...Object.keys(packages), ...Object.keys(conda)].sort();
    },
    expectSound: async (...subdirs) => {
      const { reader, path, store } = view();
      for (const subdir of subdirs.length === 0 ? ['noarch'] : subdirs)
        expect(await faultsOf(reader, `${path}${subdir}`, { schema: schema.id })).toEqual([]);
      const { findings, unchecked } = await withContext({}, async (context) => checkChannel(store, context));
      expect(findings.filter(({ severity }) => severity === 'error')).toEqual([]);
      expect(unchecked).toEqual([]);
      const report = await verifyChannel({ channel: view().store, workers, depth: 'full' });
      expect(faultsIn(report)).toEqual([]);
    },
  };
}

/**
 * Runs `work` killed before its n-th write, for every n until it comes through; `after` looks at what is left.
 * @param isSoundBefore whether what `prepare` leaves is sound, so that it has to stay so
 * @returns how many writes there are
 */
export async function killAtEach(
  prepare: (scene: Scene) => Promise<unknown>,
  work: (scene: Scene) => Promise<unknown>,
  after: (scene: Scene) => Promise<void>,
  isSoundBefore = true,
): Promise<number> {
  for (let killAt = 1; ; killAt += 1) {
    let writes = 0;
    let isMortal = false;
    const published = await wrappedScene((inner) =>
      failingRegistry(inner, () => isMortal && (writes += 1) === killAt),
    );
    await prepare(published);
    isMortal = true;
    const survived = await work(published).then(
      () => true,
      () => false,
    );
    isMortal = false;
    const { reader, path } = published.view();
    if (isSoundBefore)
      expect(await faultsOf(reader, `${path}noarch`), `killed at write ${String(killAt)}`).toEqual([]);
    await after(published);
    await published.expectSound();
    if (survived) return killAt - 1;
  }
}

/** File names with what became of them, and of those that failed with their codes. */
export function statesOf({ published, failed }: PushReport): Record<string, string> {
  return Object.fromEntries([
    ...published.map(({ filename, status }) => [filename, status] as const),
    ...failed.map(({ filename, error }) => [filename, error.code] as const),
  ]);
}

/** A clock that goes on by a second with each look. */
export function tickingClock(start = '2026-11-21T08:00:00.000Z'): {
  now: () => Date;
  skip: (ms: number) => void;
} {
  let time = Date.parse(start);
  return {
    now: () => new Date((time += 1000)),
    skip: (ms) => {
      time += ms;
    },
  };
}

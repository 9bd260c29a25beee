import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { readLedger, type Ledger } from '#ferry/artifact/ledger.js';
import type { Schema } from '#ferry/artifact/schema.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import { parseMatchSpec } from '#ferry/conda/match-spec/match-spec.js';
import { mirrorChannel, type MirrorOptions } from '#ferry/mirror/mirror.js';
import { applyPrune, type SubdirPruneReport } from '#ferry/mirror/prune/apply-prune.js';
import type { PrunePlan, SubdirPrunePlan } from '#ferry/mirror/prune/plan-document.js';
import { planPrune, type PlanPruneOptions } from '#ferry/mirror/prune/plan-prune.js';
import { MemoryRegistry } from '#ferry/oci/memory-store.js';
import { copyGraph } from '#ferry/oci/copy-graph.js';
import type { Registry } from '#ferry/oci/storage.js';
import { condaPackage, tarBz2Package } from '../../../fixtures/build/archive.mjs';
import { writeChannel } from '../../../fixtures/build/channel.mjs';
import { faultsOf, listedRecords, type StoreReader } from '../../support/audit.js';
import { memoryReader } from '../../support/memory-reader.js';
import { tempFolder } from '../../support/temp.js';
import { workers } from '../../support/workers.js';
import { writeSidecars } from '../../support/sidecars.js';

/** An archive of a channel that tests prune. */
export type Archive = ReturnType<typeof condaPackage>;

const spec = (name: string, version: string) =>
  ({ name, version, build: '0', subdir: 'noarch', index: { noarch: 'generic' } }) as const;

export const conda = (name: string, version = '1'): Archive => condaPackage(spec(name, version));
export const bz2 = (name: string, version = '1'): Archive => tarBz2Package(spec(name, version));

/** Noon of a day in 2026, counted from January 1st. */
export function day(number: number): Date {
  return new Date(Date.UTC(2026, 0, number, 12));
}

/** Of all prepared scenes, since a ledger knows its source by the path. */
const source = await mkdtemp(join(tmpdir(), 'ferry-test-'));
afterAll(async () => rm(source, { recursive: true, force: true }));

const prepared = new Map<string, Promise<MemoryRegistry>>();

function keyOf(archive: Archive & { readonly record?: unknown }): unknown {
  return [archive.filename, archive.record, 'removed' in archive];
}

/** Copies all that has a tag. */
async function copyRegistry(from: MemoryRegistry, to: MemoryRegistry): Promise<void> {
  for (const name of await from.repositories()) {
    const repository = from.repository(name);
    for await (const tag of repository.tags()) {
      const root = await repository.resolve(tag);
      if (root !== undefined) await copyGraph(repository, to.repository(name), root, { tags: [tag] });
    }
  }
}

/** The day, and all that the source has then. */
type Night = readonly [number: number, archives: readonly Archive[]];

/** A channel in a store that is mirrored day by day, and pruned. */
export class Scene {
  readonly registry: Registry;
  readonly reader: StoreReader;
  readonly path: string;
  readonly schema: Schema;
  readonly workers = workers;
  readonly #source: string;

  private constructor(
    source: string,
    store: { readonly registry: Registry; readonly reader: StoreReader; readonly path: string },
    schema: Schema,
  ) {
    this.#source = source;
    this.registry = store.registry;
    this.reader = store.reader;
    this.path = store.path;
    this.schema = schema;
  }

  /** In memory, unless a store is given. */
  static async open(
    given?: { readonly registry: Registry; readonly reader: StoreReader; readonly path: string },
    schema = schemaV0,
  ): Promise<Scene> {
    const registry = new MemoryRegistry();
    const store = given ?? { registry, reader: memoryReader(registry), path: 'c' };
    return new Scene(await tempFolder(), store, schema);
  }

  /**
   * In memory, after some nights; what they come to is made once for all tests of a file, since a run of the mirror takes
   * much longer than what is tested here.
   */
  static async after(...nights: readonly Night[]): Promise<Scene> {
    const key = JSON.stringify(nights.map(([number, archives]) => [number, archives.map(keyOf)]));
    const made = prepared.get(key) ?? Scene.#make(nights);
    prepared.set(key, made);
    return Scene.#copyOf(await made);
  }

  /** What has a tag, in a store of its own. */
  async copy(): Promise<Scene> {
    if (!(this.registry instanceof MemoryRegistry)) throw new Error('only what is in memory is copied');
    return Scene.#copyOf(this.registry);
  }

  static async #copyOf(made: MemoryRegistry): Promise<Scene> {
    const registry = new MemoryRegistry();
    await copyRegistry(made, registry);
    // Mirrored from here on is into the same channel, so that the ledger knows its source.
    return new Scene(source, { registry, reader: memoryReader(registry), path: 'c' }, schemaV0);
  }

  static async #make(nights: readonly Night[]): Promise<MemoryRegistry> {
    const registry = new MemoryRegistry();
    const store = { registry, reader: memoryReader(registry), path: 'c' };
    const scene = new Scene(source, store, schemaV0);
    for (const [number, archives] of nights) await scene.night(day(number), archives);
    return registry;
  }

  /** A view that remembers nothing. */
  store(registry = this.registry): ChannelStore {
    return new ChannelStore(registry, this.path, this.schema);
  }

  /** Mirrors a source that has just these archives. */
  async night(now: Date, archives: readonly Archive[], options: Partial<MirrorOptions> = {}): Promise<void> {
    await rm(this.#source, { recursive: true, force: true });
    await writeChannel(this.#source, { noarch: archives });
    await writeSidecars(this.#source, archives);
    const report = await mirrorChannel({
      source: new DirectoryChannel(this.#source),
      destination: this.store(),
      now: () => now,
      workers,
      ...options,
    });
    expect(report.subdirs.flatMap(({ failed }) => failed)).toEqual([]);
  }

  async plan(
    now: Date,
    { pin = [], ...options }: Partial<PlanPruneOptions> & { readonly pin?: readonly string[] } = {},
  ): Promise<PrunePlan> {
    const pins = pin.map((text) => ({ text, spec: parseMatchSpec(text) }));
    return planPrune({ store: this.store(), workers, now: () => now, pins, ...options });
  }

  async apply(plan: PrunePlan, registry = this.registry): Promise<SubdirPruneReport> {
    const { subdirs } = await applyPrune(plan, { store: this.store(registry), workers });
    const [noarch] = subdirs;
    if (noarch === undefined) throw new Error('no subdir');
    await this.expectWhole();
    return noarch;
  }

  /** Plans and applies. */
  async prune(now: Date, options: Parameters<Scene['plan']>[1] = {}): Promise<SubdirPruneReport> {
    return this.apply(await this.plan(now, options));
  }

  get channel(): string {
    return this.path === '' ? 'noarch' : `${this.path}/noarch`;
  }

  /** Expects that what is listed is there, and that the ledger vouches for nothing that is not. */
  async expectWhole(): Promise<void> {
    const { id } = this.schema;
    expect(await faultsOf(this.reader, this.channel, { schema: id })).toEqual([]);
    for (const [filename, identity] of Object.entries((await this.ledger())?.kept ?? {})) {
      expect(await this.holds(filename, identity), `the ledger vouches for ${filename}`).toBe(true);
    }
  }

  /** Whether an archive is in the artifact at its place, as a blob too. */
  async holds(filename: string, digest?: string): Promise<boolean> {
    const [, name = '', version = '', build = ''] =
      /^(.+)-([^-]+)-([^-]+?)\.(?:conda|tar\.bz2)$/.exec(filename) ?? [];
    const place = this.schema.placeOf({ name, version, build });
    const repository = `${this.channel}/${place.repository}`;
    const manifest = await this.reader.manifest(repository, place.tag);
    const layer = manifest?.layers.find(
      ({ annotations }) => annotations?.['org.opencontainers.image.title'] === filename,
    );
    if (layer === undefined || (digest !== undefined && layer.digest !== digest)) return false;
    return (await this.reader.blob(repository, layer.digest)) !== undefined;
  }

  async listed(): Promise<string[]> {
    const records = (await listedRecords(this.reader, this.channel, this.schema.id)) ?? [];
    return records.map(({ filename }) => filename).sort();
  }

  async ledger(): Promise<Ledger | undefined> {
    return readLedger(this.store(), 'noarch');
  }

  async tags(leaf: string): Promise<string[]> {
    const tags: string[] = [];
    for await (const tag of this.registry.repository(`${this.channel}/${leaf}`).tags()) tags.push(tag);
    return tags.sort();
  }
}

/** Names of the archives that a plan would delete. */
export function goingOf(plan: PrunePlan | SubdirPrunePlan): string[] {
  const subdirs = 'subdirs' in plan ? plan.subdirs : [plan];
  return subdirs.flatMap(({ artifacts }) =>
    artifacts.flatMap(({ archives }) => archives.map(({ filename }) => filename)),
  );
}

/** Names of what stays, with the reason. */
export function stayingOf(plan: PrunePlan): Record<string, string> {
  return Object.fromEntries(
    plan.subdirs.flatMap(({ stays }) => stays.map(({ filename, reason }) => [filename, reason])),
  );
}

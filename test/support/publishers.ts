import { basename, join } from 'node:path';
import { readFile, writeFile } from 'node:fs/promises';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { listOperations, readOperation, type LoggedOperation } from '#ferry/artifact/operation-log.js';
import type { Schema } from '#ferry/artifact/schema.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import type { WorkerPool } from '#ferry/artifact/worker-pool.js';
import { openerOf } from '#ferry/io/bytes.js';
import { digestHex } from '#ferry/io/digest.js';
import { MemoryRegistry } from '#ferry/oci/memory-store.js';
import { readHead, type Head, type HeadOptions } from '#ferry/publish/head.js';
import { prepareArchive, type PreparedArchive } from '#ferry/publish/prepare-archive.js';
import { publishSubdir, type Outcome, type PublishSubdirOptions } from '#ferry/publish/publish-subdir.js';
import { yankArchives } from '#ferry/publish/yank.js';
import { condaPackage, tarBz2Package } from '../../fixtures/build/archive.mjs';
import { layersOf } from '#ferry/artifact/package-artifact.js';
import { parseImageManifest } from '#ferry/oci/manifest.js';
import { parseArchiveFilename } from '#ferry/conda/names.js';
import { mulberry32 } from './double/faults.js';
import { scheduledRegistry, Scheduler, type Weather } from './scheduled-registry.js';
import { workers } from './workers.js';

/** Subdir that all of this is about. */
export const SUBDIR = 'noarch';

/** Packs and unpacks nothing, at once: threads would make the order of events their own. */
const IDLE_WORKERS = {
  run: (_: string, { bytes }: { readonly bytes: Uint8Array }) => Promise.resolve(bytes),
} as unknown as WorkerPool;

/** Builds a small archive, and reads it as a push does. */
export async function prepared(
  folder: string,
  spec: { readonly name: string; readonly extension?: 'conda' | 'tar.bz2'; readonly content?: string },
): Promise<PreparedArchive> {
  const { name, extension = 'conda', content = 'text' } = spec;
  const full = {
    name,
    version: '1.0',
    build: '0',
    subdir: SUBDIR,
    index: { noarch: 'generic' },
    payloadFiles: { 'share/text': content },
  } as const;
  const built = extension === 'conda' ? condaPackage({ ...full, zip: { level: 1 } }) : tarBz2Package(full);
  const path = join(folder, built.filename);
  await writeFile(path, built.bytes);
  const store = new ChannelStore(new MemoryRegistry(), 'sim', schemaV0);
  const archive = await prepareArchive(path, { store, workers });
  if ('error' in archive) throw archive.error;
  // Reading files takes as long as it likes.
  return { ...archive, path: basename(path), open: openerOf(await readFile(path)) };
}

/** A channel in memory to which several publish, one call of one of them at a time. */
export class SharedChannel {
  readonly registry = new MemoryRegistry();
  readonly scheduler: Scheduler;
  readonly schema: Schema;
  /** When operations were first in the log, by their tags, in steps of the scheduler. */
  readonly loggedAt = new Map<string, number>();

  constructor(seed: number, schema: Schema = schemaV0) {
    this.scheduler = new Scheduler(mulberry32(seed));
    this.schema = schema;
  }

  /** Undisturbed. */
  get calm(): HeadOptions & { readonly sleep: () => Promise<void> } {
    const store = new ChannelStore(this.registry, 'sim', this.schema);
    return { store, workers: IDLE_WORKERS, sleep: () => Promise.resolve() };
  }

  /** As a writer sees it, whose clock differs by up to `skewMs`. */
  disturbed(writer: string, weather: Weather, skewMs = 0) {
    const { scheduler } = this;
    const skew = Math.floor(scheduler.random() * skewMs);
    return {
      store: new ChannelStore(
        scheduledRegistry(this.registry, scheduler, writer, weather),
        'sim',
        this.schema,
      ),
      workers: IDLE_WORKERS,
      sleep: async () => scheduler.gate(writer),
      random: scheduler.random,
      now: () => new Date(1_700_000_000_000 + scheduler.step + skew),
    };
  }

  push(
    options: ReturnType<SharedChannel['disturbed']>,
    archives: readonly PreparedArchive[],
    more: Partial<PublishSubdirOptions> = {},
  ): Promise<readonly Outcome[]> {
    const full = { ...options, archives: [], concurrency: 2, dryRun: false, reporter: {}, ...more };
    const checkWritable = async (): Promise<void> => Promise.resolve();
    return publishSubdir(SUBDIR, archives, { checkWritable, ...full }).then(({ outcomes }) => outcomes);
  }

  yank(options: ReturnType<SharedChannel['disturbed']>, filename: string, undo = false): Promise<unknown> {
    return yankArchives({ ...options, specs: [filename], subdirs: [SUBDIR], undo });
  }

  async head(): Promise<Head> {
    return readHead(SUBDIR, this.calm);
  }

  async log(): Promise<readonly LoggedOperation[]> {
    const { store } = this.calm;
    const found: LoggedOperation[] = [];
    for (const tag of await listOperations(store, SUBDIR)) {
      const operation = await readOperation(store, SUBDIR, tag);
      if (operation !== undefined) found.push({ tag, operation });
      if (!this.loggedAt.has(tag)) this.loggedAt.set(tag, this.scheduler.step);
    }
    return found;
  }

  /** Listed archives that their tag does not lead to. */
  async lost(): Promise<readonly string[]> {
    const { store } = this.calm;
    const { listing } = await this.head();
    const lost: string[] = [];
    for (const filename of listing.filenames()) {
      const place = store.schema.placeOf(parseArchiveFilename(filename));
      const found = await store.packageRepository(SUBDIR, place).fetchManifest(place.tag);
      const layers = found === undefined ? [] : layersOf(parseImageManifest(found.bytes)).packages;
      const sha256 = listing.get(filename)?.['sha256'];
      if (!layers.some(({ descriptor }) => digestHex(descriptor.digest) === sha256)) lost.push(filename);
    }
    return lost;
  }
}

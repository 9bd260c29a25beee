import { createHash } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import type { ChannelSource } from '#ferry/conda/channel-source.js';
import { digestOf, type Digest } from '#ferry/io/digest.js';
import { verifyChannel } from '#ferry/mirror/verify/verify.js';
import { RegistryClient } from '#ferry/registry/registry-client.js';
import type { Content } from '#ferry/serve/content.js';
import type { FillableArchive } from '#ferry/serve/pull-through/fill-list.js';
import type { FillerReporter, StoreFillerOptions } from '#ferry/serve/pull-through/filler-options.js';
import { StoreFiller } from '#ferry/serve/pull-through/store-filler.js';
import { condaPackage } from '../../../fixtures/build/archive.mjs';
import { writeChannel } from '../../../fixtures/build/channel.mjs';
import { faultsOf, listedRecords, publishedRepodata, registryReader } from '../../support/audit.js';
import { serveChannel, type ChannelServer } from '../../support/channel-server.js';
import { useRegistryDouble, type RegistryDouble } from '../../support/double/registry-double.js';
import { openTestClient } from '../../support/http.js';
import { httpSource } from '../../support/stores.js';
import { tempFolder } from '../../support/temp.js';
import { createVirtualClock, type VirtualClock } from '../../support/virtual-clock.js';
import { workers } from '../../support/workers.js';

export type Archive = ReturnType<typeof condaPackage>;
export type Subdirs = Readonly<Record<string, readonly Archive[]>>;

/** A small archive. */
export function conda(name: string, subdir = 'noarch', text = name): Archive {
  const index = subdir === 'noarch' ? { noarch: 'generic' } : {};
  return condaPackage({
    name,
    version: '1',
    build: '0',
    subdir,
    index,
    payloadFiles: { 'share/text': text },
  });
}

/** What the gateway notes of an archive. */
export function noteOf({ filename, bytes }: Archive, subdir = 'noarch'): FillableArchive {
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  return { subdir, filename, sha256, size: bytes.byteLength };
}

/** Content in memory. */
export function contentOf(bytes: Uint8Array): Content {
  return {
    digest: digestOf(bytes),
    size: bytes.byteLength,
    bytes,
    open: () => Promise.reject(new Error('it is in memory')),
  };
}

/** A filler with what it did, one line for each thing. */
export interface WatchedFiller {
  readonly filler: StoreFiller;
  readonly events: string[];
  readonly clock: VirtualClock;
  /** Resolves when an event begins with these words. */
  readonly until: (start: string) => Promise<string>;
}

/** An upstream over HTTP, a registry, and whatever fills it. */
export class Scene {
  readonly folder: string;
  readonly server: ChannelServer;
  readonly registry: RegistryDouble;
  /** What the gateway has in its cache. */
  readonly cache = new Map<Digest, Content>();

  private constructor(folder: string, server: ChannelServer, registry: RegistryDouble) {
    this.folder = folder;
    this.server = server;
    this.registry = registry;
  }

  static async open(subdirs: Subdirs): Promise<Scene> {
    const folder = await tempFolder();
    await writeChannel(folder, subdirs);
    const server = await serveChannel(folder);
    onTestFinished(async () => server[Symbol.asyncDispose]());
    return new Scene(folder, server, await useRegistryDouble());
  }

  /** Has the upstream list something else. */
  async offer(subdirs: Subdirs): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
    await writeChannel(this.folder, subdirs);
  }

  /** The upstream, as a process of its own sees it. */
  upstream(): ChannelSource {
    return httpSource(this.server.url);
  }

  /** The store, as a process of its own sees it. */
  store(): ChannelStore {
    const client = openTestClient();
    const { host } = this.registry;
    return new ChannelStore(new RegistryClient({ host, send: client.send, ...client.retry }), 'c', schemaV0);
  }

  filler(options: Partial<StoreFillerOptions> = {}): WatchedFiller {
    const events: string[] = [];
    const waiting: { readonly start: string; readonly found: (event: string) => void }[] = [];
    const clock = createVirtualClock({ chance: 0 });
    const filler = new StoreFiller({
      upstream: this.upstream(),
      store: this.store(),
      content: (digest) => Promise.resolve(this.cache.get(digest)),
      workers,
      clock,
      reporter: reporterTo((event) => {
        events.push(event);
        for (const { start, found } of waiting) if (event.startsWith(start)) found(event);
      }),
      ...options,
    });
    onTestFinished(async () => filler.close(0));
    const until = async (start: string): Promise<string> =>
      new Promise((found) => waiting.push({ start, found }));
    return { filler, events, clock, until };
  }

  /** Holds an archive in the gateway's cache. */
  hold({ bytes }: Archive): void {
    const content = contentOf(bytes);
    this.cache.set(content.digest, content);
  }

  async listed(subdir = 'noarch'): Promise<string[]> {
    const records = await listedRecords(registryReader(this.registry.host), `c/${subdir}`);
    return (records ?? []).map(({ filename }) => filename).sort();
  }

  async published(subdir = 'noarch'): Promise<string> {
    const bytes = await publishedRepodata(registryReader(this.registry.host), `c/${subdir}`);
    return bytes?.toString('utf8') ?? '';
  }

  /** What is wrong with the store: by a look from the outside, and by an audit against the upstream. */
  async faults(...subdirs: readonly string[]): Promise<string[]> {
    const faults: string[] = [];
    for (const subdir of subdirs)
      faults.push(...(await faultsOf(registryReader(this.registry.host), `c/${subdir}`)));
    const report = await verifyChannel({ channel: this.store(), subdirs, depth: 'deep', workers });
    for (const { severity, code, message } of [
      ...report.findings,
      ...report.subdirs.flatMap(({ findings }) => findings),
    ])
      if (severity === 'fault') faults.push(`${code} ${message}`);
    return faults;
  }

  /** Requests of archives that the upstream answered. */
  fetched(): string[] {
    return this.server.requests
      .filter(({ method, path }) => method === 'GET' && path.endsWith('.conda'))
      .map(({ path }) => path.replace('/channel/', ''));
  }

  /** Requests that wrote to the registry. */
  writes(): string[] {
    return this.registry.lines.filter((line) => !/^(?:GET|HEAD) /.test(line));
  }

  async upstreamText(subdir = 'noarch'): Promise<string> {
    return readFile(join(this.folder, subdir, 'repodata.json'), 'utf8');
  }
}

function reporterTo(tell: (event: string) => void): FillerReporter {
  return {
    filled: ({ subdirs, archives }) => {
      tell(`filled ${subdirs.join(' ')}: ${String(archives)}`);
    },
    runFailed: ({ subdirs, error, retryInMs }) => {
      tell(`failed ${subdirs.join(' ')}: ${error.code}, again in ${String(retryInMs)}`);
    },
    refused: ({ subdir, filename }, { code }) => {
      tell(`refused ${subdir}/${filename}: ${code}`);
    },
    waitsForRun: (subdir) => {
      tell(`waits ${subdir}`);
    },
    forgot: (count) => {
      tell(`forgot ${String(count)}`);
    },
    warning: (message) => {
      tell(`warning ${message}`);
    },
  };
}

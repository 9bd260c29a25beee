import { onTestFinished } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import { HttpChannel } from '#ferry/channel/http-channel.js';
import { openHttpClient, type HttpClient, type HttpClientOptions } from '#ferry/http/client.js';
import type { ClockOptions } from '#ferry/http/clock.js';
import { mirrorChannel, type MirrorOptions } from '#ferry/mirror/mirror.js';
import type { MirrorReport } from '#ferry/mirror/report.js';
import { RegistryClient, type RegistryClientOptions } from '#ferry/registry/registry-client.js';
import { condaPackage, tarBz2Package } from '../../fixtures/build/archive.mjs';
import { writeChannel } from '../../fixtures/build/channel.mjs';
import { parseManifest, type StoreReader } from './audit.js';
import type { RegistryDouble } from './double/registry-double.js';
import { findManifest } from './double/registry-state.js';
import { jumpingClock } from './jumping-clock.js';

/** Who may do everything at a double. */
export const STORM_USER = { username: 'storm', password: 'storm-password' } as const;
/** Time as it is. */
export const REAL_CLOCK: ClockOptions = {};
/** Path of the channel at the double. */
export const STORM_PATH = 'org/storm';

/** Writes a channel of small archives, three builds a name, every seventh a `.tar.bz2`, into a folder. */
export async function writeStormChannel(folder: string, archives: number): Promise<void> {
  const packages = Array.from({ length: archives }, (_, i) => {
    const spec = {
      name: `storm-${Math.floor(i / 3)}`,
      version: '1.0',
      build: String(i % 3),
      subdir: 'noarch',
      index: { noarch: 'generic' },
      payloadFiles: { 'share/text': `${i} `.repeat(200) },
    } as const;
    return i % 7 === 6 ? tarBz2Package(spec) : condaPackage({ ...spec, zip: { level: 1 } });
  });
  await writeChannel(folder, { noarch: packages });
}

/** What a run at a double took. */
export interface RunAtDouble {
  readonly report: MirrorReport;
  /** Requests as the double counted them, those for tokens among them. */
  readonly requests: number;
  readonly tokens: number;
}

/** Options of {@link mirrorInto}. */
export interface RunOptions {
  /** Of the client's chance. @defaultValue 1 */
  readonly seed?: number;
  /** @defaultValue `STORM_USER`; null for nobody */
  readonly user?: { readonly username: string; readonly password: string } | null;
  /** @defaultValue a virtual clock */
  readonly clock?: ClockOptions;
  readonly registry?: Partial<RegistryClientOptions>;
  readonly http?: Partial<HttpClientOptions>;
  readonly mirror?: Partial<MirrorOptions>;
  /** @defaultValue `STORM_PATH` */
  readonly path?: string;
}

/** Mirrors a folder, or a URL, into a double with a client of its own, and counts what went to the double. */
export async function mirrorInto(
  double: RegistryDouble,
  source: string,
  options: RunOptions = {},
): Promise<RunAtDouble> {
  const clock = options.clock ?? jumpingClock(options.seed);
  await using client = openClient(double, options, clock);
  await using reader = openHttpClient({ userAgent: 'ferry-storm/1', ...clock });
  const isWeb = /^https?:/.test(source);
  const before = double.requests.length;
  const report = await mirrorChannel({
    source: isWeb ? new HttpChannel(new URL(source), reader.send, clock) : new DirectoryChannel(source),
    destination: storeOver(client, double, options, clock),
    subdirs: isWeb ? ['noarch'] : undefined,
    ...options.mirror,
  });
  const seen = double.requests.slice(before);
  return {
    report,
    requests: seen.length,
    tokens: seen.filter(({ kind }) => kind === 'token').length,
  };
}

/** A channel at a double, as a new process would see it; its connections go away with the test. */
export function useStoreAt(double: RegistryDouble, options: RunOptions = {}): ChannelStore {
  const clock = options.clock ?? jumpingClock(options.seed);
  const client = openClient(double, options, clock);
  onTestFinished(async () => client[Symbol.asyncDispose]());
  return storeOver(client, double, options, clock);
}

function storeOver(
  { send }: HttpClient,
  { host }: RegistryDouble,
  options: RunOptions,
  clock: ClockOptions,
): ChannelStore {
  const registry = new RegistryClient({ host, send, ...clock, ...options.registry });
  return new ChannelStore(registry, options.path ?? STORM_PATH, schemaV0);
}

function openClient(double: RegistryDouble, options: RunOptions, clock: ClockOptions): HttpClient {
  const user = options.user === undefined ? STORM_USER : options.user;
  return openHttpClient({
    userAgent: 'ferry-storm/1',
    ...clock,
    findCredential: ({ origin }) =>
      Promise.resolve(user === null || origin !== double.origin ? undefined : { kind: 'basic', ...user }),
    ...options.http,
  });
}

/** Reads what a double holds, behind its back. */
export function doubleReader(double: RegistryDouble): StoreReader {
  return {
    manifest: (repository, reference) => {
      const found = findManifest(double.repositories.get(repository), reference);
      return Promise.resolve(parseManifest(found?.bytes));
    },
    blob: (repository, digest) => Promise.resolve(double.repositories.get(repository)?.blobs.get(digest)),
  };
}

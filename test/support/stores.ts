import type { Schema } from '#ferry/artifact/schema.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import { HttpChannel } from '#ferry/channel/http-channel.js';
import { openHttpClient } from '#ferry/http/client.js';
import { openLayoutRegistry } from '#ferry/image-layout/layout-registry.js';
import type { MirrorOptions } from '#ferry/mirror/mirror.js';
import type { MirrorReport } from '#ferry/mirror/report.js';
import { RegistryClient } from '#ferry/registry/registry-client.js';
import { profileOf } from '#ferry/registry/host-profile.js';
import { openRegistry } from '#ferry/registry/open-registry.js';
import { layoutReader, parseManifest, registryReader, type StoreReader } from './audit.js';
import type { TestRegistry } from './docker-registry.js';
import { startGhcrDouble, type GhcrDouble } from './double/ghcr.js';
import { onTestFinished } from 'vitest';
import { mirrorChannel } from './workers.js';

/** A store under test with an outside view of it, and the requests that went to it. */
export interface StoreUnderTest {
  readonly store: ChannelStore;
  readonly reader: StoreReader;
  /** Path of the channel, with a slash behind it unless it is empty. */
  readonly path: string;
  /** As `PUT /v2/…`. */
  readonly requests: string[];
}

/** Options of the views. */
export interface ViewOptions {
  /** @defaultValue v0 */
  readonly schema?: Schema;
  readonly label?: string;
}

/** A fresh view of a channel in a registry; nothing is remembered from earlier views. */
export function registryStore(
  registry: Pick<TestRegistry, 'host' | 'prefix'>,
  channel: string,
  { schema = schemaV0, label }: ViewOptions = {},
): StoreUnderTest {
  const requests: string[] = [];
  const client = openHttpClient({
    userAgent: 'conda-ferry-test',
    onRequest: ({ method, url }) => requests.push(`${method} ${url.pathname}`),
  });
  onTestFinished(async () => client[Symbol.asyncDispose]());
  const store = new ChannelStore(
    new RegistryClient({ host: registry.host, send: client.send }),
    `${registry.prefix}/${channel}`,
    schema,
    label,
  );
  return { store, reader: registryReader(registry.host), path: `${store.path}/`, requests };
}

/** Who writes to the GHCR of {@link startGhcr}. */
const GHCR_USER = { username: 'writer', password: 'a-token', owners: ['org'] } as const;

/** A GHCR that knows one writer, of the organization `org`. */
export async function startGhcr(): Promise<GhcrDouble> {
  return startGhcrDouble({ users: [GHCR_USER] });
}

/** A fresh view of a channel in a GHCR of {@link startGhcr}. Those for tokens are not counted, nor the one that is refused. */
export function ghcrStore(ghcr: GhcrDouble, channel: string): StoreUnderTest {
  const requests: string[] = [];
  const { origin, host } = ghcr;
  const profile = { ...profileOf('ghcr.io'), requestsPerMinute: undefined };
  const registry = openRegistry(host, {
    userAgent: 'conda-ferry-test',
    profile,
    findCredential: (place) =>
      Promise.resolve(place.origin === origin ? { kind: 'basic', ...GHCR_USER } : undefined),
    onRequest: ({ method, url, headers }) => {
      if (headers !== undefined && 'authorization' in headers && url.pathname.startsWith('/v2/'))
        requests.push(`${method} ${url.pathname}`);
    },
  });
  onTestFinished(async () => registry[Symbol.asyncDispose]());
  const path = `org/${channel}`;
  const contents = (name: string) => ghcr.repositories.get(name);
  const reader: StoreReader = {
    manifest: (name, reference) => {
      const digest = contents(name)?.tags.get(reference) ?? reference;
      return Promise.resolve(parseManifest(contents(name)?.manifests.get(digest)?.bytes));
    },
    blob: (name, digest) => Promise.resolve(contents(name)?.blobs.get(digest)),
  };
  return { store: new ChannelStore(registry, path, schemaV0), reader, path: `${path}/`, requests };
}

/** A fresh view of a folder of image layouts. */
export function layoutStore(folder: string, { schema = schemaV0, label }: ViewOptions = {}): StoreUnderTest {
  const store = new ChannelStore(openLayoutRegistry(folder), '', schema, label);
  const path = store.path === '' ? '' : `${store.path}/`;
  return { store, reader: layoutReader(folder), path, requests: [] };
}

/** A channel over HTTP with connections of its own. */
export function httpSource(url: string): HttpChannel {
  const client = openHttpClient({ userAgent: 'conda-ferry-test' });
  onTestFinished(async () => client[Symbol.asyncDispose]());
  return new HttpChannel(new URL(url), client.send);
}

/** Mirrors a folder into a store. */
export async function mirrorFolder(
  folder: string,
  { store }: StoreUnderTest,
  options: Partial<MirrorOptions> = {},
): Promise<MirrorReport> {
  return mirrorChannel({ source: new DirectoryChannel(folder), destination: store, ...options });
}

/** Requests that write. */
export function writesOf({ requests }: StoreUnderTest): string[] {
  return requests.filter((request) => !/^(?:GET|HEAD) /.test(request));
}

/** File names that failed, with their codes, sorted. */
export function failuresOf(report: MirrorReport): Record<string, string> {
  const failures = report.subdirs.flatMap(({ subdir, failed }) =>
    failed.map(({ filename, code }) => [`${subdir}/${filename}`, code] as const),
  );
  return Object.fromEntries(failures.sort(([a], [b]) => (a < b ? -1 : 1)));
}

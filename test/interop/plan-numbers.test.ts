import { createHash } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import { WorkerPool } from '#ferry/artifact/worker-pool.js';
import { parseFilters } from '#ferry/mirror/filters/filters.js';
import { mirrorChannel, planMirror, type MirrorOptions } from '#ferry/mirror/mirror.js';
import { makePlanDocument } from '#ferry/mirror/plan-document.js';
import { profileOf } from '#ferry/registry/host-profile.js';
import { openRegistry } from '#ferry/registry/open-registry.js';
import { condaPackage } from '../../fixtures/build/archive.mjs';
import { incompressible } from '../../fixtures/build/bytes.mjs';
import { writeChannel } from '../../fixtures/build/channel.mjs';
import { serveChannel, type ChannelServer } from '../support/channel-server.js';
import { startRegistry, type TestRegistry } from '../support/docker-registry.js';
import type { GhcrDouble } from '../support/double/ghcr.js';
import { startRegistryDouble, type RegistryDouble } from '../support/double/registry-double.js';
import { doubleReader } from '../support/storm.js';
import {
  ghcrStore,
  httpSource,
  layoutStore,
  registryStore,
  startGhcr,
  type StoreUnderTest,
} from '../support/stores.js';
import { tempFolder } from '../support/temp.js';
import { smallConda, smallTarBz2, type BuiltArchive } from '../support/v1-channel.js';

/** What `--plan` says beforehand is what the run then does, requests counted at the client. */

/** How far the requests may be from those that were said. */
const TOLERANCE = 0.02;
const MIB = 1024 * 1024;

let workers: WorkerPool;
let docker: TestRegistry;
let ghcr: GhcrDouble;
let single: RegistryDouble;
let source: string;
let server: ChannelServer;
beforeAll(async () => {
  workers = new WorkerPool();
  docker = await startRegistry();
  ghcr = await startGhcr();
  single = await startRegistryDouble({ singlePost: 'accepts' });
});
afterAll(async () => {
  for (const resource of [docker, ghcr, single, workers]) await resource[Symbol.asyncDispose]();
});
beforeEach(async () => {
  source = await tempFolder();
  server = await serveChannel(source);
  onTestFinished(() => server[Symbol.asyncDispose]());
});

type Open = () => StoreUnderTest;

const kinds: readonly (readonly [string, (name: string) => Promise<Open>])[] = [
  ['docker-registry', (name) => Promise.resolve(() => registryStore(docker, `${name}-v0`))],
  [
    'docker-registry by schema v1',
    (name) => Promise.resolve(() => registryStore(docker, `${name}-v1`, { schema: schemaV1 })),
  ],
  ['GHCR', (name) => Promise.resolve(() => ghcrStore(ghcr, name))],
  ['a registry of single POSTs', (name) => Promise.resolve(() => singlePostStore(name))],
  [
    'image layouts',
    async () => {
      const folder = await tempFolder();
      return () => layoutStore(folder);
    },
  ],
];

/** A fresh view of a registry that is known to take a blob with the first request. */
function singlePostStore(channel: string): StoreUnderTest {
  const requests: string[] = [];
  const registry = openRegistry(single.host, {
    userAgent: 'conda-ferry-test',
    profile: { ...profileOf(single.host), singlePost: 'yes' },
    onRequest: ({ method, url }) => requests.push(`${method} ${url.pathname}`),
  });
  onTestFinished(() => registry[Symbol.asyncDispose]());
  const store = new ChannelStore(registry, channel, schemaV0);
  return { store, reader: doubleReader(single), path: `${channel}/`, requests };
}

interface Offer {
  readonly noarch: readonly BuiltArchive[];
  readonly 'linux-64'?: readonly BuiltArchive[];
}

async function offer(subdirs: Offer): Promise<void> {
  await rm(source, { recursive: true, force: true });
  const newest = Object.fromEntries(
    Object.values(subdirs).flatMap((archives: readonly BuiltArchive[]) =>
      archives.map(({ index }) => [String(index['name']), String(index['version'])]),
    ),
  );
  await writeChannel(source, { ...subdirs }, { companions: true, newest });
  for (const [subdir, archives] of Object.entries(subdirs) as [string, readonly Attested[]][])
    for (const { filename, sidecar } of archives)
      if (sidecar !== undefined)
        await writeFile(join(source, subdir, `${filename}.sigs.${hex(sidecar)}`), sidecar);
}

type Attested = BuiltArchive & { readonly sidecar?: string };

function attested(archive: BuiltArchive): BuiltArchive {
  const sidecar = `["${archive.filename}"]`;
  return Object.assign({}, archive, { sidecar, record: { attestations_sha256: hex(sidecar) } });
}

function hex(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** Plans, runs, and compares; each with a view that knows nothing of the other. */
async function expectAsPlanned(
  view: Open,
  options: Partial<MirrorOptions> = {},
): Promise<{ readonly archives: number }> {
  const choices = { source: httpSource(server.url), workers, ...options };
  const planning = view();
  const plan = await planMirror({ ...choices, destination: planning.store });
  expect(planning.requests.filter((line) => !/^(?:GET|HEAD) /.test(line))).toEqual([]);
  const { totals } = makePlanDocument(plan, { now: new Date() });
  const running = view();
  const report = await mirrorChannel({ ...choices, destination: running.store });
  const sum = (field: 'added' | 'addedBytes' | 'artifacts'): number =>
    report.subdirs.reduce((total, subdir) => total + subdir[field], 0);
  expect(report.subdirs.flatMap(({ failed }) => failed)).toEqual([]);
  expect(totals).toMatchObject({
    archives: sum('added'),
    bytes: sum('addedBytes'),
    artifacts: sum('artifacts'),
  });
  const counted = running.requests.length;
  const isNear = Math.abs(totals.requests - counted) <= TOLERANCE * counted;
  const said = JSON.stringify(plan.subdirs.map(({ subdir, requests }) => [subdir, requests]));
  const counts = countBy(running.requests);
  expect(
    isNear ? 'as planned' : { planned: totals.requests, counted, said, channel: plan.requests, counts },
  ).toBe('as planned');
  return { archives: totals.archives };
}

/** Requests by kind and repository, to look at where they are not those planned. */
function countBy(lines: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const line of lines) {
    const key = line.replace(/sha256:[0-9a-f]+/, 'D').replace(/uploads\/.*$/, 'uploads/');
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}

const built = new Map<string, BuiltArchive>();

const many = (count: number, version = '1.0'): BuiltArchive[] =>
  Array.from({ length: count }, (_, i) => {
    const spec = { name: `many-${String(Math.floor(i / 4))}`, version, build: String(i % 4) };
    const key = Object.values(spec).join('-');
    const archive = built.get(key) ?? smallConda(spec);
    built.set(key, archive);
    return archive;
  });

describe.each(kinds)('what was planned for %s', (_kind, open) => {
  test('is what a first mirror does, and the nights after it', async () => {
    const view = await open('nights');
    const linux = [smallConda({ name: 'native' }, 'linux-64'), smallTarBz2({ name: 'old' }, 'linux-64')];
    const first = {
      noarch: [
        ...many(12),
        smallConda({ name: 'twin' }),
        smallTarBz2({ name: 'late' }),
        attested(smallConda({ name: 'attested' })),
      ],
      'linux-64': linux,
    };
    await offer(first);
    expect((await expectAsPlanned(view)).archives).toBe(17);

    // New ones, of new and of known packages; other bytes under a name; twins that come later, either way; both at once.
    await offer({
      'linux-64': linux,
      noarch: [
        ...many(12).slice(1),
        ...many(6, '2.0'),
        smallConda({ name: 'twin', payload: 'other' }),
        smallTarBz2({ name: 'late' }),
        smallConda({ name: 'late', payload: 'packed anew' }),
        smallConda({ name: 'pair' }),
        smallTarBz2({ name: 'pair' }),
        attested(smallConda({ name: 'attested' })),
        attested(smallConda({ name: 'attested', version: '2.0' })),
      ],
    });
    await expectAsPlanned(view);

    const edited = parseFilters({ exclude: ['many-1', 'native'] });
    expect((await expectAsPlanned(view, { filters: edited })).archives).toBe(0);
    expect((await expectAsPlanned(view, { filters: edited })).archives).toBe(0);
    await offer({ ...first, noarch: [...many(12), ...many(10, '3.0')] });
    await expectAsPlanned(view, { filters: edited });
    await expectAsPlanned(view, { deep: true });
  });
});

describe.each([kinds[0], kinds[3]].flatMap((kind) => (kind === undefined ? [] : [kind])))(
  'what was planned for %s',
  (_kind, open) => {
    test('is what is done where nothing is trusted, and where archives are large', async () => {
      const view = await open('large');
      const large = condaPackage({
        name: 'large',
        version: '1.0',
        build: '0',
        subdir: 'noarch',
        index: { noarch: 'generic' },
        payloadFiles: { 'share/noise': incompressible(5 * MIB) },
        zip: { level: 1 },
      });
      await offer({ noarch: [large, ...many(6)] });
      await expectAsPlanned(view, { subdirs: ['noarch'] });
      // The mirror of another source: all is asked for.
      const elsewhere = await tempFolder();
      await writeChannel(elsewhere, { noarch: [large, ...many(6), ...many(4, '2.0')] });
      await using other = await serveChannel(elsewhere);
      await expectAsPlanned(view, { source: httpSource(other.url), subdirs: ['noarch'] });
    });
  },
);

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { openHttpClient, type HttpClient } from '#ferry/http/client.js';
import { openLayoutRegistry } from '#ferry/image-layout/layout-registry.js';
import { copyGraph } from '#ferry/oci/copy-graph.js';
import { parseImageManifest } from '#ferry/oci/manifest.js';
import { IMAGE_MANIFEST } from '#ferry/oci/media-types.js';
import { MemoryRegistry } from '#ferry/oci/memory-store.js';
import type { Repository } from '#ferry/oci/storage.js';
import { RegistryClient } from '#ferry/registry/registry-client.js';
import {
  artifactOf,
  contentOf,
  indexOf,
  pushArtifact,
  pushContent,
  readAll,
  tagsOf,
} from '../contracts/artifacts.js';
import { listedRecords, placeOf, registryReader, sha256, type ListedRecord } from '../support/audit.js';
import { FIXTURE_CHANNEL, HAS_REAL_CHANNELS, realChannel } from '../support/channels.js';
import { oras, skopeo } from '../support/clients.js';
import { runFerry } from '../support/ferry.js';
import { startDistribution3 } from '../support/registries/distribution3.js';
import { startDiskRegistry, startMemoryRegistry } from '../support/registries/docker.js';
import { startOlareg } from '../support/registries/olareg.js';
import type { StartedRegistry } from '../support/registries/server-process.js';
import { tempFolder } from '../support/temp.js';

const PLAIN = '--plain-http';
/** Packages that are looked at with each client; the rest of a channel is no different. */
const SAMPLES = 4;

/** `hasReferrers`: whether it knows what is attached to an artifact; elsewhere clients keep a tag for it. */
const REGISTRIES: readonly [
  name: string,
  start: () => Promise<StartedRegistry>,
  features: { readonly hasReferrers: boolean },
][] = [
  ['docker-registry in memory', () => startMemoryRegistry(), { hasReferrers: false }],
  ['docker-registry on disk', () => startDiskRegistry(), { hasReferrers: false }],
  ['distribution 3', () => startDistribution3(), { hasReferrers: false }],
  ['olareg', () => startOlareg({ store: 'dir' }), { hasReferrers: true }],
];

const CHANNELS = {
  fixtures: { folder: FIXTURE_CHANNEL, subdirs: ['noarch', 'linux-64', 'osx-arm64'], records: 32 },
  "conda's test recipes": {
    folder: realChannel('test-recipes'),
    subdirs: ['noarch', 'linux-fake', 'osx-fake', 'win-fake'],
    records: 41,
  },
} as const;

describe.each(REGISTRIES)('oras and skopeo on %s', (_name, start, { hasReferrers }) => {
  let server: StartedRegistry;
  let client: HttpClient;
  let registry: RegistryClient;
  beforeAll(async () => {
    server = await start();
    client = openHttpClient({ userAgent: 'ferry-test/1' });
    registry = new RegistryClient({ host: server.host, send: client.send });
  });
  afterAll(async () => {
    await client[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  const urlOf = (repository: string): string => `${server.host}/${repository}`;

  describe.each(Object.entries(CHANNELS))('a mirror of %s', (title, { folder, subdirs, records }) => {
    const isThere = folder === FIXTURE_CHANNEL || HAS_REAL_CHANNELS;
    const channel = `mirror/${title.replace(/\W+/g, '-').toLowerCase()}`;
    const listed: { subdir: string; record: ListedRecord; repository: string; tag: string }[] = [];
    beforeAll(async () => {
      if (!isThere) return;
      const args = ['mirror', folder, `oci://${server.host}/${channel}`, '--quiet'];
      expect(await runFerry(args)).toMatchObject({ code: 0, stderr: '' });
      for (const subdir of subdirs) {
        const found = (await listedRecords(registryReader(server.host), `${channel}/${subdir}`)) ?? [];
        for (const record of found) {
          listed.push({ subdir, record, ...placeOf(`${channel}/${subdir}`, record) });
        }
      }
      expect(listed).toHaveLength(records);
    });

    test('is read by oras manifest fetch, blob fetch and repo tags', async ({ skip }) => {
      skip(!isThere, 'there is no ../shared/channels');
      for (const { repository, tag, record } of sampleOf(listed)) {
        const url = urlOf(repository);
        const bytes = await oras(['manifest', 'fetch', PLAIN, '--output', '-', `${url}:${tag}`]);
        const found = await registry.repository(repository).resolve(tag);
        expect(sha256(bytes)).toBe(found?.digest);
        const { config, layers } = parseImageManifest(bytes);
        for (const { digest } of [config, ...layers]) {
          const blob = await oras(['blob', 'fetch', PLAIN, '--output', '-', `${url}@${digest}`]);
          expect(sha256(blob)).toBe(digest);
        }
        expect(layers.map(({ digest }) => digest)).toContain(`sha256:${record.sha256}`);
        const tags = (await oras(['repo', 'tags', PLAIN, url])).toString('utf8').trim().split('\n');
        expect(tags.sort()).toEqual(await tagsOf(registry.repository(repository)));
      }
    });

    test('is pulled by oras pull: archive, info and index under their names', async ({ skip }) => {
      skip(!isThere, 'there is no ../shared/channels');
      const output = await tempFolder();
      for (const { subdir, repository, tag, record } of sampleOf(listed)) {
        const url = urlOf(repository);
        await oras(['pull', PLAIN, '--no-tty', '--output', output, `${url}:${tag}`]);
        const original = await readFile(join(folder, subdir, record.filename));
        expect((await readFile(join(output, record.filename))).equals(original), record.filename).toBe(true);
        const stem = record.filename.replace(/\.(?:conda|tar\.bz2)$/, '');
        const index = await readFile(join(output, stem, 'info', 'index.json'), 'utf8');
        expect(JSON.parse(index)).toMatchObject({ name: record.name, version: record.version });
      }
    });

    test('is copied by oras and skopeo to other places, digest for digest', async ({ skip }) => {
      skip(!isThere, 'there is no ../shared/channels');
      await using other = await startMemoryRegistry();
      const layouts = await tempFolder();
      // skopeo's names of images on disk allow no `__`, which schema v0 needs for `+` and `!`.
      const plain = listed.filter(({ tag }) => !tag.includes('__'));
      for (const [i, { repository, tag }] of sampleOf(plain).entries()) {
        const from = `${server.host}/${repository}:${tag}`;
        const digest = (await registry.repository(repository).resolve(tag))?.digest;
        const within = `${server.host}/copies/oras-${i}:${tag}`;
        const across = `${other.host}/copies/oras-${i}:${tag}`;
        const onDisk = join(layouts, `oras-${i}`);
        const skopeoOnDisk = join(layouts, `skopeo-${i}`);
        const back = `${server.host}/copies/skopeo-${i}:${tag}`;
        const copy = ['copy', '--no-tty', '--from-plain-http'];
        await oras([...copy, '--to-plain-http', from, within]);
        await oras([...copy, '--to-plain-http', from, across]);
        await oras([...copy, '--to-oci-layout', from, `${onDisk}:${tag}`]);
        await skopeo('copy', '--src-tls-verify=false', `docker://${from}`, `oci:${skopeoOnDisk}:${tag}`);
        await skopeo('copy', '--dest-tls-verify=false', `oci:${skopeoOnDisk}:${tag}`, `docker://${back}`);
        for (const image of [within, across, back]) {
          const raw = await skopeo('inspect', '--tls-verify=false', '--raw', `docker://${image}`);
          expect(sha256(raw), image).toBe(digest);
        }
        for (const name of [`oras-${i}`, `skopeo-${i}`]) {
          const copied = openLayoutRegistry(layouts).repository(name);
          expect((await copied.resolve(tag))?.digest, name).toBe(digest);
          await copyOut(copied, tag);
        }
      }
    });
  });

  test('a generic artifact and an index of ours are read by oras, and copied whole', async () => {
    const name = 'generic/ours';
    const url = urlOf(name);
    const source = new MemoryRegistry().repository('source');
    const [first, second] = [artifactOf('one', 'shared'), artifactOf('two', 'shared')];
    for (const artifact of [first, second]) await pushArtifact(source, artifact);
    const index = indexOf(first.manifest, second.manifest);
    await pushContent(source, index, ['both']);
    await copyGraph(source, registry.repository(name), first.manifest.descriptor, {
      tags: ['1.0-0', 'a_B.c'],
    });
    await copyGraph(source, registry.repository(name), index.descriptor, { tags: ['both'] });
    for (const [tag, { bytes }] of [
      ['a_B.c', first.manifest],
      ['both', index],
    ] as const) {
      const fetched = await oras(['manifest', 'fetch', PLAIN, '--output', '-', `${url}:${tag}`]);
      expect(fetched.equals(bytes)).toBe(true);
    }
    const tags = (await oras(['repo', 'tags', PLAIN, url])).toString('utf8').trim().split('\n');
    expect(tags.sort()).toEqual(['1.0-0', 'a_B.c', 'both']);
    const layouts = await tempFolder();
    const copy = ['copy', '--no-tty', '--from-plain-http', '--to-oci-layout'];
    await oras([...copy, `${url}:both`, `${join(layouts, 'both')}:both`]);
    const copied = openLayoutRegistry(layouts).repository('both');
    const blob = contentOf('two').descriptor;
    expect((await readAll(copied.fetch(blob))).toString('utf8')).toBe('two');
    await copyOut(copied, 'both');
  });

  test('what oras pushes and attaches is read and copied by us', async () => {
    const name = 'generic/theirs';
    const url = urlOf(name);
    const cwd = await tempFolder();
    await writeFile(join(cwd, 'data.bin'), Buffer.alloc(100_000, 'data'));
    await writeFile(join(cwd, 'note.json'), '{"note":"ü"}');
    const layers = ['data.bin:application/vnd.example.data', 'note.json:application/json'];
    const type = 'application/vnd.example.thing';
    await oras(['push', PLAIN, '--no-tty', '--artifact-type', type, `${url}:1.0,latest`, ...layers], { cwd });
    await writeFile(join(cwd, 'sbom.json'), '{}');
    const attach = ['attach', PLAIN, '--no-tty', '--artifact-type', 'application/vnd.example.sbom'];
    await oras([...attach, '--format', 'json', `${url}:1.0`, 'sbom.json:application/json'], { cwd });

    const repository = registry.repository(name);
    const stored = await repository.fetchManifest('1.0');
    expect(stored?.descriptor.mediaType).toBe(IMAGE_MANIFEST);
    const manifest = parseImageManifest(stored?.bytes ?? new Uint8Array());
    expect(manifest.artifactType).toBe(type);
    expect(manifest.layers.map(({ annotations }) => annotations?.['org.opencontainers.image.title'])).toEqual(
      ['data.bin', 'note.json'],
    );
    for (const [i, file] of ['data.bin', 'note.json'].entries()) {
      const layer = manifest.layers[i];
      if (layer === undefined) throw new Error('a layer is missing');
      const bytes = await readAll(repository.fetch(layer));
      expect(bytes.equals(await readFile(join(cwd, file)))).toBe(true);
      const rest = await readAll(repository.fetch(layer, { offset: 5 }));
      expect(rest.equals(bytes.subarray(5))).toBe(true);
    }
    await copyOut(repository, 'latest');

    // Where the registry does not know who refers to what, oras keeps an index of them under a tag.
    const fallback = stored?.descriptor.digest.replace(':', '-') ?? '';
    expect(await tagsOf(repository)).toEqual(['1.0', 'latest', ...(hasReferrers ? [] : [fallback])]);
    if (!hasReferrers) await copyOut(repository, fallback);
    const discover = ['discover', PLAIN, '--format', 'json', `${url}:1.0`];
    const found = JSON.parse((await oras(discover)).toString('utf8')) as { manifests: { digest: string }[] };
    const attached = await repository.fetchManifest(found.manifests[0]?.digest ?? '');
    const sbom = parseImageManifest(attached?.bytes ?? new Uint8Array());
    expect(sbom.subject?.digest).toBe(stored?.descriptor.digest);
    if (attached !== undefined) await copyOut(repository, attached.descriptor.digest);
  });
});

/** Copies an artifact into memory, which reads and checks all of it. */
async function copyOut(from: Repository, reference: string): Promise<void> {
  const root = await from.resolve(reference);
  if (root === undefined) throw new Error(`${reference} is not there`);
  const memory = new MemoryRegistry();
  onTestFinished(() => memory[Symbol.asyncDispose]());
  await copyGraph(from, memory.repository('copy'), root);
  expect(await memory.repository('copy').exists(root)).toBe(true);
}

/** Some, from the whole length of a list, and all whose tags or repositories are written another way than their names. */
function sampleOf<T extends { readonly repository: string; readonly tag: string }>(items: readonly T[]): T[] {
  const step = Math.max(1, Math.floor(items.length / SAMPLES));
  return items.filter(({ repository, tag }, i) => i % step === 0 || /\/zzz_|__/.test(`${repository}:${tag}`));
}

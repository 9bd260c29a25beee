import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { OciChannel } from '#ferry/artifact/oci-channel.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import { pullArchives } from '#ferry/mirror/pull.js';
import { readChannelRecords } from '#ferry/mirror/read-channel.js';
import { faultsOf, listedRecords, placeOf, publishedRepodata } from '../support/audit.js';
import { FIXTURE_CHANNEL } from '../support/channels.js';
import { startRegistry, type TestRegistry } from '../support/docker-registry.js';
import { failingRegistry } from '../support/failing-registry.js';
import {
  failuresOf,
  layoutStore,
  mirrorFolder,
  registryStore,
  writesOf,
  type StoreUnderTest,
  type ViewOptions,
} from '../support/stores.js';
import { tempFolder } from '../support/temp.js';
import {
  LONG_BUILD,
  LONG_NAME,
  LONG_VERSION,
  offer,
  smallConda,
  smallTarBz2,
  v1Kinds,
} from '../support/v1-channel.js';
import { mirrorChannel, planMirror, workers } from '../support/workers.js';

const SUBDIRS = ['linux-64', 'noarch', 'osx-arm64'];
const V1 = { schema: 'v1' } as const;

let registry: TestRegistry;
let source: string;
beforeAll(async () => {
  registry = await startRegistry();
});
afterAll(async () => registry[Symbol.asyncDispose]());
beforeEach(async () => {
  source = await tempFolder();
});

describe.each(v1Kinds(() => registry))('mirror into %s by schema v1', (_kind, open) => {
  test('v1/P6: carries the fixture channel, and of twins the .conda alone', async () => {
    const view = await open('whole');
    const report = await mirrorFolder(FIXTURE_CHANNEL, view());
    expect(failuresOf(report)).toEqual({});
    const { reader, path } = view();
    for (const { subdir, listed, added, withheld, publishedAs } of report.subdirs) {
      const records = await listedRecords(reader, path + subdir, 'v1');
      expect(await faultsOf(reader, path + subdir, V1)).toEqual([]);
      expect([added, added + withheld.length]).toEqual([records?.length, listed]);
      expect(publishedAs).toBe(withheld.length === 0 ? 'unchanged' : 'spliced');
      for (const { filename, code, clause } of withheld) {
        expect([code, clause]).toEqual(['TWIN_UNREPRESENTABLE', 'v1/P6']);
        expect(records?.map((record) => record.filename)).toContain(
          filename.replace(/\.tar\.bz2$/, '.conda'),
        );
      }
    }
    expect(report.subdirs.flatMap(({ withheld }) => withheld)).toHaveLength(3);
    // What nothing was withheld of is the source's, byte for byte.
    expect(await publishedRepodata(reader, `${path}osx-arm64`, 'v1')).toEqual(
      await readFile(join(FIXTURE_CHANNEL, 'osx-arm64', 'repodata.json')),
    );
  });

  test('v1/R4, v1/R7: repodata stands under a UTC history tag beside latest, and bears the mark of the schema', async () => {
    const view = await open('metadata');
    await mirrorFolder(FIXTURE_CHANNEL, view(), { now: () => new Date('2026-11-21T07:35:09Z') });
    const { reader, path } = view();
    const repository = `${path}noarch/mrepodata.json`;
    const latest = await reader.manifest(repository, 'latest');
    expect((await reader.manifest(repository, '20261121T073509Z'))?.digest).toBe(latest?.digest);
    for (const manifest of [latest, await reader.manifest(`${path}noarch/mledger`, 'latest')]) {
      expect(manifest?.annotations).toEqual({ 'org.conda.oci.schema': '1' });
      expect(manifest?.config.mediaType).toBe('application/vnd.oci.empty.v1+json');
      expect(manifest?.artifactType).toBe(manifest?.layers[0]?.mediaType);
    }
    expect(latest?.layers.map(({ mediaType }) => mediaType)).toEqual([
      'application/vnd.conda.repodata.v1+json',
      'application/vnd.conda.repodata.v1+json+zst',
    ]);
  });

  test('a second run writes nothing, in three requests for each subdir, and deep finds all there', async () => {
    const view = await open('twice');
    await mirrorFolder(FIXTURE_CHANNEL, view());
    const second = view();
    const report = await mirrorFolder(FIXTURE_CHANNEL, second);
    expect(report.subdirs.map(({ publishedAs }) => publishedAs)).toEqual(['kept', 'kept', 'kept']);
    expect(report.subdirs.flatMap(({ withheld }) => withheld.map(({ clause }) => clause))).toEqual(
      Array.from({ length: 3 }, () => 'v1/P6'),
    );
    expect(writesOf(second)).toEqual([]);
    expect(second.requests.length).toBeLessThanOrEqual(3 * SUBDIRS.length);
    const deep = view();
    const deepReport = await mirrorFolder(FIXTURE_CHANNEL, deep, { deep: true });
    expect(failuresOf(deepReport)).toEqual({});
    expect(deepReport.subdirs.map(({ added, publishedAs }) => [added, publishedAs])).toEqual(
      SUBDIRS.map(() => [0, 'kept']),
    );
    // Of packages nothing at all; a ledger may be written anew.
    expect(writesOf(deep).filter((line) => !line.includes('/mledger/'))).toEqual([]);
  });

  test('a killed run is finished by the next one, which sends no manifest again', async () => {
    const view = await open('killed');
    await offer(
      source,
      ...'abcdef'.split('').map((name) => smallConda({ name })),
      smallTarBz2({ name: 'a' }),
    );
    const { store } = view();
    const killed = failingRegistry(store.registry, ({ repository }) => repository.endsWith('/ce'));
    const destination = new ChannelStore(killed, store.path, schemaV1);
    const channel = new DirectoryChannel(source);
    await expect(mirrorChannel({ source: channel, destination, concurrency: 1 })).rejects.toThrow('killed');
    const next = view();
    const report = await mirrorFolder(source, next);
    expect(report.subdirs[0]).toMatchObject({ there: 4, added: 2, failed: [], publishedAs: 'spliced' });
    expect(writesOf(next).filter((line) => /\/c[a-d]\//.test(line))).toEqual([]);
    expect(await faultsOf(next.reader, `${next.path}noarch`, V1)).toEqual([]);
  });

  test('v1/N3, v1/T4, v1/T5: what is too long is hashed, name and tag together, and read back', async () => {
    const view = await open('hashed');
    const archives = [
      smallConda({ name: LONG_NAME }),
      smallConda({ version: LONG_VERSION, build: LONG_BUILD }),
      smallTarBz2({ version: '1!2.0_1+a', build: 'py_P0' }),
      smallConda({ name: 'g'.repeat(63) }),
    ];
    await offer(source, ...archives);
    expect(failuresOf(await mirrorFolder(source, view()))).toEqual({});
    const { reader, path, store } = view();
    expect(await faultsOf(reader, `${path}noarch`, V1)).toEqual([]);
    // Vectors of the draft, and of its boundary.
    for (const [leaf, tag] of [
      [
        'h7008598d269d3cb5f2e14b5847671d3e21479d6907824e3c8ab1973a7638e4a9',
        'ha2e4a5ec4b951e4727a204277a99b08ecf65db55d1d812fb4ffa6ba3ed249b59',
      ],
      [undefined, 'h2f9d65b91604cfc6a8286a453446d5dc2435837013a9277b69f6c3f14c6ca605'],
      ['chello', '1_N2.0__1_Pa-py__P0'],
      [`c${'g'.repeat(63)}`, '1.0-0'],
    ] as const) {
      const repository =
        leaf ??
        placeOf('x', { name: 'hello', version: LONG_VERSION, build: LONG_BUILD }, 'v1').repository.slice(2);
      const stored = await store.packageRepository('noarch', { repository }).resolve(tag);
      expect(stored, `${repository}:${tag}`).toBeDefined();
    }
    const channel = new OciChannel(view().store);
    for (const { filename, bytes } of archives) {
      const chunks: Uint8Array[] = [];
      for await (const chunk of channel.openArchive({ subdir: 'noarch', filename })) chunks.push(chunk);
      expect(Buffer.concat(chunks).equals(bytes), filename).toBe(true);
    }
    expect(await mirrorFolder(source, view())).toMatchObject({
      subdirs: [{ publishedAs: 'kept', there: 4 }],
    });
    expect(await mirrorFolder(source, view(), { deep: true })).toMatchObject({
      subdirs: [{ publishedAs: 'kept', there: 4, added: 0 }],
    });
  });

  test('v1/G9, v1/B28: a package whose path is too long is withheld; a channel that is too long is refused', async () => {
    const view = await open('long');
    await offer(source, smallConda({ name: 'a' }), smallConda({ name: LONG_NAME }));
    const free = (leaf: string): string => {
      const { registry: of, path } = view().store;
      const rest = of.maxNameLength - (path === '' ? 0 : path.length + 1) - `/noarch/${leaf}`.length;
      return 'x'.repeat(rest);
    };
    const at = (more: string): ChannelStore => {
      const { registry: of, path } = view().store;
      return new ChannelStore(of, [path, more].filter((part) => part !== '').join('/'), schemaV1);
    };
    const channel = new DirectoryChannel(source);
    // Room for the longest metadata, and not for a hash.
    const destination = at(free('mrepodata.json'));
    const report = await mirrorChannel({ source: channel, destination });
    expect(report.subdirs[0]).toMatchObject({
      added: 1,
      withheld: [{ filename: `${LONG_NAME}-1.0-0.conda`, code: 'NAME_UNREPRESENTABLE', clause: 'v1/G9' }],
    });
    const tooLong = at(`${free('mrepodata.json')}y`);
    await expect(mirrorChannel({ source: channel, destination: tooLong })).rejects.toMatchObject({
      code: 'NAME_UNREPRESENTABLE',
      clause: 'v1/G9',
    });
  });

  test('v1/L3, v1/L4: a label has its own place, and main is no label', async () => {
    const view = await open('labelled');
    await offer(source, smallConda());
    const labelled = view({ label: 'dev' });
    expect(labelled.path.endsWith('label/dev/')).toBe(true);
    await mirrorFolder(source, labelled);
    expect(await faultsOf(labelled.reader, `${labelled.path}noarch`, V1)).toEqual([]);
    const plain = view();
    expect(await listedRecords(plain.reader, `${plain.path}noarch`, 'v1')).toBeUndefined();
    expect(await listedRecords(plain.reader, `${plain.path}label/dev/noarch`, 'v1')).toHaveLength(1);
    await mirrorFolder(source, view({ label: 'main' }));
    expect(await listedRecords(plain.reader, `${plain.path}noarch`, 'v1')).toHaveLength(1);
    const names = (await view().store.registry.repositories()) ?? [];
    expect(names.filter((name) => name.includes('label/main'))).toEqual([]);
    expect(names).toContain(`${plain.path}label/dev/noarch/chello`);
    // The channel's subdirs are its own, not the label's.
    expect(await new OciChannel(view().store).subdirs()).toEqual(['noarch']);
    expect(await new OciChannel(view({ label: 'dev' }).store).subdirs()).toEqual(['noarch']);
  });

  test.each([
    ['v0', 'v1', schemaV0, schemaV1],
    ['v1', 'v0', schemaV1, schemaV0],
  ])('v1/B14: where a channel of %s is, none of %s goes', async (first, second, one, other) => {
    const view = await open(`conflict-${first}`);
    await offer(source, smallConda({ name: 'make' }));
    await mirrorFolder(source, view({ schema: one }));
    const refused = view({ schema: other });
    const error = { code: 'SCHEMA_CONFLICT', hint: `choose another path, or pass --schema ${first}` };
    await expect(mirrorFolder(source, refused)).rejects.toMatchObject(error);
    const destination = view({ schema: other }).store;
    await expect(planMirror({ source: new DirectoryChannel(source), destination })).rejects.toMatchObject(
      error,
    );
    expect(writesOf(refused)).toEqual([]);
    const { reader, path } = view();
    expect(await listedRecords(reader, `${path}noarch`, second === 'v0' ? 'v0' : 'v1')).toBeUndefined();
    // Neither into a subdir that comes later, nor where there is nothing to add.
    await offer(source);
    await expect(mirrorFolder(source, view({ schema: other }))).rejects.toMatchObject(error);
  });

  test('lists and gives back what it was given', async () => {
    const view = await open('read');
    await mirrorFolder(FIXTURE_CHANNEL, view());
    const channel = new OciChannel(view().store);
    expect(await channel.subdirs()).toEqual(SUBDIRS);
    const counts: Record<string, number> = {};
    for await (const { subdir, records } of readChannelRecords(channel, { workers })) {
      counts[subdir] = [...records].length;
    }
    expect(counts).toEqual({ 'linux-64': 22, noarch: 3, 'osx-arm64': 4 });
    const folder = await tempFolder();
    const specs = ['ferry-local', 'ferry-tool', '_ferry_mutex'];
    for await (const pulled of pullArchives({ channel, specs, folder, workers })) {
      if ('error' in pulled) throw pulled.error;
      expect(await readFile(pulled.path)).toEqual(
        await readFile(join(FIXTURE_CHANNEL, pulled.subdir, pulled.filename)),
      );
    }
    // A mirror of the mirror has the same manifests.
    const copy = layoutStore(await tempFolder(), { schema: schemaV1 });
    await mirrorChannel({ source: channel, destination: copy.store });
    await expectSame(view(), copy);
  });
});

test('deep finds a hole and fills it', async () => {
  const folder = await tempFolder();
  const view = (): StoreUnderTest => layoutStore(folder, { schema: schemaV1 });
  await offer(source, smallConda(), smallConda({ name: 'other' }));
  await mirrorFolder(source, view());
  const repository = view().store.packageRepository('noarch', { repository: 'cother' });
  const there = await repository.resolve('1.0-0');
  if (there !== undefined) await repository.delete?.(there);
  const report = await mirrorFolder(source, view(), { deep: true });
  expect(report.subdirs[0]).toMatchObject({ there: 1, added: 1, failed: [] });
  expect(await faultsOf(view().reader, `${view().path}noarch`, V1)).toEqual([]);
});

test('v1/B4, v1/B8: what OCI cannot name is withheld, with the clause that rules it out', async () => {
  const folder = await tempFolder();
  const view = (): StoreUnderTest => layoutStore(folder, { schema: schemaV1 });
  await offer(
    source,
    smallConda(),
    smallConda({ name: 'foo_' }),
    smallConda({ version: '2.0.0~alpha0' }),
    smallConda({ name: '_ferry' }),
  );
  const report = await mirrorFolder(source, view());
  expect(failuresOf(report)).toEqual({});
  expect(report.subdirs[0]?.withheld.map(({ filename, code, clause }) => [filename, code, clause])).toEqual([
    ['foo_-1.0-0.conda', 'NAME_UNREPRESENTABLE', 'v1/G2'],
    ['hello-2.0.0~alpha0-0.conda', 'NAME_UNREPRESENTABLE', 'v1/G3'],
  ]);
  const { reader, path } = view();
  expect(await faultsOf(reader, `${path}noarch`, V1)).toEqual([]);
  expect((await listedRecords(reader, `${path}noarch`, 'v1'))?.map(({ name }) => name)).toEqual([
    '_ferry',
    'hello',
  ]);
});

test('a folder of layouts and a registry hold the same manifests', async () => {
  const [one, two] = [
    registryStore(registry, 'same', { schema: schemaV1 }),
    layoutStore(source, { schema: schemaV1 }),
  ];
  await mirrorFolder(FIXTURE_CHANNEL, one);
  await mirrorFolder(FIXTURE_CHANNEL, two);
  await expectSame(one, two);
});

test('v1/B14: a subdir that comes later is looked at too', async () => {
  const view = (options: ViewOptions): StoreUnderTest => layoutStore(folder, options);
  const folder = await tempFolder();
  await mirrorFolder(FIXTURE_CHANNEL, view({ schema: schemaV0 }), { subdirs: ['linux-64'] });
  await mirrorFolder(FIXTURE_CHANNEL, view({ schema: schemaV1 }), { subdirs: ['noarch'] });
  await expect(mirrorFolder(FIXTURE_CHANNEL, view({ schema: schemaV1 }))).rejects.toMatchObject({
    code: 'SCHEMA_CONFLICT',
  });
});

/** Compares the manifests of all that the fixture channel's repodata lists. */
async function expectSame(one: StoreUnderTest, two: StoreUnderTest): Promise<void> {
  for (const subdir of SUBDIRS) {
    const records = (await listedRecords(one.reader, one.path + subdir, 'v1')) ?? [];
    expect(records.length).toBeGreaterThan(0);
    for (const record of records) {
      const [a, b] = await Promise.all(
        [one, two].map(async ({ reader, path }) => {
          const { repository, tag } = placeOf(path + subdir, record, 'v1');
          return (await reader.manifest(repository, tag))?.digest;
        }),
      );
      expect(a, record.filename).toBe(b);
    }
  }
}

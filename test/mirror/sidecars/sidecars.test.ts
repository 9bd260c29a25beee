import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { OciChannel } from '#ferry/artifact/oci-channel.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import type { ChannelSource } from '#ferry/conda/channel-source.js';
import { MAX_SIDECAR_BYTES } from '#ferry/conda/sidecar.js';
import { check } from '#ferry/conformance/check.js';
import { CopyError, FerryError } from '#ferry/errors.js';
import { collect } from '#ferry/io/bytes.js';
import { Repodata } from '#ferry/conda/repodata/repodata.js';
import { openerOf } from '#ferry/io/bytes.js';
import { attestedRecords, type AttestedRecord } from '#ferry/mirror/sidecars/attested-records.js';
import { carrySidecars, type SidecarContext } from '#ferry/mirror/sidecars/carry-sidecars.js';
import { MemoryRegistry } from '#ferry/oci/memory-store.js';
import { serveChannel } from '../../support/channel-server.js';
import { startRegistry, type TestRegistry } from '../../support/docker-registry.js';
import { failingRegistry } from '../../support/failing-registry.js';
import { httpSource, layoutStore, registryStore, writesOf } from '../../support/stores.js';
import { tempFolder } from '../../support/temp.js';
import { attestedChannel } from './attested-channel.js';
import { mirrorChannel } from '../../support/workers.js';

let docker: TestRegistry;
beforeAll(async () => {
  docker = await startRegistry();
});
afterAll(async () => docker[Symbol.asyncDispose]());

const kinds: readonly (readonly [string, () => Promise<ChannelStore>])[] = [
  ['memory, v0', () => Promise.resolve(new ChannelStore(new MemoryRegistry(), 'c', schemaV0))],
  ['memory, v1', () => Promise.resolve(new ChannelStore(new MemoryRegistry(), 'c', schemaV1))],
  ['image layouts', async () => layoutStore(await tempFolder()).store],
  ['docker-registry', () => Promise.resolve(registryStore(docker, 'sidecars').store)],
];

function memory(): ChannelStore {
  return new ChannelStore(new MemoryRegistry(), 'c', schemaV0);
}

function contextOf(
  source: string | ChannelSource,
  store: ChannelStore,
  options: Partial<SidecarContext> = {},
): SidecarContext {
  const opened = typeof source === 'string' ? new DirectoryChannel(source) : source;
  return { source: opened, store, concurrency: 4, subdir: 'noarch', ...options };
}

function pathOf({ filename, attestationsSha256 }: AttestedRecord): string {
  return `noarch/${filename}.sigs.${attestationsSha256}`;
}

async function readFrom(store: ChannelStore, record: AttestedRecord): Promise<Uint8Array | undefined> {
  const answer = await new OciChannel(store).openMetadata(pathOf(record));
  return answer.status === 'found' ? collect(answer.body, MAX_SIDECAR_BYTES, 'it') : undefined;
}

describe.each(kinds)('sidecars carried into %s', (_kind, open) => {
  test('cep142/immutable-url: are there byte for byte, and a check of the channel finds no errors', async () => {
    const { folder, records, sidecars } = await attestedChannel('aaa', 'bbb');
    const store = await open();
    const carried = await carrySidecars(records, contextOf(folder, store));
    const bytes = [...sidecars.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
    expect(carried).toEqual({ added: 2, addedBytes: bytes, failed: [] });
    for (const record of records) {
      expect(Buffer.from((await readFrom(store, record)) ?? [])).toEqual(
        Buffer.from(sidecars.get(record.filename) ?? []),
      );
    }
    await mirrorChannel({ source: new DirectoryChannel(folder), destination: store });
    const report = await check({ kind: 'channel', store }, { name: 'c', deep: true });
    expect(report.findings.filter(({ severity }) => severity === 'error')).toEqual([]);
    expect(report.unchecked).toEqual([]);
    expect(report.clauses.map(({ clause }) => clause.id)).toContain('cep142/bytes-kept');
  });

  test('go on from there to another store', async () => {
    const { folder, records } = await attestedChannel('ccc');
    const store = await open();
    await carrySidecars(records, contextOf(folder, store));
    const next = memory();
    const carried = await carrySidecars(records, contextOf(new OciChannel(store), next));
    expect(carried.failed).toEqual([]);
    const [record] = records;
    expect(await readFrom(next, record!)).toEqual(await readFrom(store, record!));
  });
});

test('an artifact is a pure function of the sidecar and its name', async () => {
  const { folder, records } = await attestedChannel('aaa');
  const store = memory();
  await carrySidecars(records, contextOf(folder, store));
  const [record] = records;
  const repository = store.metadataRepository('noarch', 'attestations');
  expect(repository.name).toBe('c/noarch/attestations.sigs');
  const stored = await repository.fetchManifest(record!.attestationsSha256);
  expect(JSON.parse(Buffer.from(stored!.bytes).toString())).toMatchObject({
    layers: [
      {
        mediaType: 'application/vnd.conda.attestations.v1+json',
        digest: `sha256:${record!.attestationsSha256}`,
        annotations: {
          'org.opencontainers.image.title': `${record!.filename}.sigs.${record!.attestationsSha256}`,
        },
      },
    ],
  });
});

describe('requests', () => {
  test('none for what is known to be there', async () => {
    const { folder, records } = await attestedChannel('aaa', 'bbb');
    const view = registryStore(docker, 'known');
    const known = new Set(records.map(({ attestationsSha256 }) => attestationsSha256));
    expect((await carrySidecars(records, contextOf(folder, view.store, { known }))).added).toBe(0);
    expect(view.requests).toEqual([]);
  });

  test('one for the tags where a run was killed, and only what is missing is written', async () => {
    const { folder, records } = await attestedChannel('aaa', 'bbb', 'ccc');
    await carrySidecars(records.slice(0, 2), contextOf(folder, registryStore(docker, 'killed').store));
    const view = registryStore(docker, 'killed');
    const carried = await carrySidecars(records, contextOf(folder, view.store, { asksFirst: true }));
    expect(carried.added).toBe(1);
    expect(view.requests.filter((request) => request.startsWith('GET '))).toEqual([
      `GET /v2/${view.path}noarch/attestations.sigs/tags/list`,
    ]);
    expect(writesOf(view).filter((request) => request.includes('/manifests/'))).toHaveLength(1);
  });

  test('one sidecar of two archives is fetched and stored once', async () => {
    const { folder, records } = await attestedChannel('aaa');
    const [first] = records;
    const second = { ...first!, filename: 'zzz-1.0-0.conda' };
    const store = memory();
    const carried = await carrySidecars([second, first!], contextOf(folder, store));
    expect(carried).toMatchObject({ added: 1, failed: [] });
    expect(await readFrom(store, second)).toEqual(await readFrom(store, first!));
    const tags: string[] = [];
    for await (const tag of store.metadataRepository('noarch', 'attestations').tags()) tags.push(tag);
    expect(tags).toEqual([first!.attestationsSha256]);
  });
});

describe('a sidecar that is not to be had', () => {
  test('cep142/client-fails: one that is missing or wrong fails its record alone', async () => {
    const { folder, records } = await attestedChannel('aaa', 'bbb', 'ccc', 'ddd');
    const [aaa, bbb, ccc] = records;
    await rm(join(folder, pathOf(aaa!)));
    await writeFile(join(folder, pathOf(bbb!)), '[]');
    await writeFile(join(folder, pathOf(ccc!)), Buffer.alloc(MAX_SIDECAR_BYTES + 1));
    const store = memory();
    const carried = await carrySidecars(records, contextOf(folder, store));
    expect(carried.added).toBe(1);
    expect(carried.failed.map(({ filename, code }) => [filename, code])).toEqual([
      ['aaa-1.0-0.conda', 'ATTESTATION_ABSENT'],
      ['bbb-1.0-0.conda', 'ATTESTATION_MISMATCH'],
      ['ccc-1.0-0.conda', 'ATTESTATION_MISMATCH'],
    ]);
    expect(await readFrom(store, bbb!)).toBeUndefined();
  });

  test.each(['', 'A'.repeat(64), 'a'.repeat(63), '../../x', `${'a'.repeat(64)}/..`, '42'])(
    'cep142/client-refuses: no address is made of the digest %j',
    async (attestationsSha256) => {
      const { folder } = await attestedChannel();
      const asked: string[] = [];
      const source = new DirectoryChannel(folder);
      const watched: ChannelSource = {
        url: source.url,
        subdirs: () => source.subdirs(),
        openMetadata: (path) => {
          asked.push(path);
          return source.openMetadata(path);
        },
        openArchive: (archive) => source.openArchive(archive),
      };
      const record = { filename: 'aaa-1.0-0.conda', attestationsSha256 };
      const { failed } = await carrySidecars([record], contextOf(watched, memory()));
      expect(failed.map(({ code }) => code)).toEqual(['RECORD_INVALID']);
      expect(asked).toEqual([]);
    },
  );

  test('ends the run where nobody answers at the source any more', async () => {
    const { folder, records } = await attestedChannel('aaa');
    const server = await serveChannel(folder);
    await server[Symbol.asyncDispose]();
    const context = contextOf(httpSource(server.url), memory());
    await expect(carrySidecars(records, context)).rejects.toMatchObject({ code: 'NETWORK' });
  });

  test('ends the run where the destination does not take it', async () => {
    const { folder, records } = await attestedChannel('aaa');
    const registry = failingRegistry(new MemoryRegistry(), () => {
      throw new FerryError('DENIED', 'no');
    });
    const context = contextOf(folder, new ChannelStore(registry, 'c', schemaV0));
    await expect(carrySidecars(records, context)).rejects.toBeInstanceOf(CopyError);
  });
});

test('cep151/resolution: beside an archive that lies elsewhere lies its sidecar, too', async () => {
  const { folder, records, sidecars } = await attestedChannel('aaa');
  const [record] = records;
  const elsewhere = await tempFolder();
  const path = `files/aaa-1.0-0.conda.sigs.${record!.attestationsSha256}`;
  await mkdir(dirname(join(elsewhere, path)), { recursive: true });
  await writeFile(join(elsewhere, path), sidecars.get(record!.filename)!);
  await using archives = await serveChannel(elsewhere);
  await using server = await serveChannel(await tempFolder());
  const store = memory();
  const url = `${archives.url}/files/aaa-1.0-0.conda`;
  const carried = await carrySidecars([{ ...record!, url }], contextOf(httpSource(server.url), store));
  expect(carried).toMatchObject({ added: 1, failed: [] });
  expect(server.requests).toEqual([]);
  const lost = { filename: 'bbb-1.0-0.conda', attestationsSha256: 'b'.repeat(64), url: `${archives.url}/b` };
  const { failed } = await carrySidecars([lost], contextOf(httpSource(server.url), store));
  expect(failed.map(({ code }) => code)).toEqual(['ATTESTATION_ABSENT']);
  // A folder cannot follow, and has it beside the repodata.
  const local = await carrySidecars([{ ...record!, url }], contextOf(folder, memory()));
  expect(local).toMatchObject({ added: 1, failed: [] });
});

describe('records that name a sidecar', () => {
  const attested = async (text: string): Promise<AttestedRecord[]> => [
    ...attestedRecords(await Repodata.read(openerOf(Buffer.from(text)), 'noarch')),
  ];
  const record = (name: string, more: object): object => ({ name, version: '1', build: '0', ...more });

  test('are found in both sections, with where their archives lie', async () => {
    const repodata = {
      info: { attestations_sha256: 'no record' },
      packages: {
        'a-1-0.tar.bz2': record('a', { attestations_sha256: 'a'.repeat(64), url: 'https://x.example/a' }),
        'b-1-0.tar.bz2': record('b', { attestations_sha256: null }),
      },
      'packages.conda': {
        'c-1-0.conda': record('c', { attestations_sha256: 'no digest' }),
        'd-1-0.conda': record('d', {}),
      },
      removed: [],
    };
    expect(await attested(JSON.stringify(repodata))).toEqual([
      { filename: 'a-1-0.tar.bz2', attestationsSha256: 'a'.repeat(64), url: 'https://x.example/a' },
      { filename: 'c-1-0.conda', attestationsSha256: 'no digest', url: undefined },
    ]);
  });

  test('are found under an escaped key, and once where a record stands twice', async () => {
    const fields = '"name":"a","version":"1","build":"0"';
    const twice = (last: string): string =>
      `{"packages":{"a-1-0.tar.bz2":{${fields},"attestations_sha256":"x"},"a-1-0.tar.bz2":{${fields},${last}:"y"}}}`;
    for (const key of ['"attestations_sha256"', '"attestations_sha25\\u0036"'])
      expect((await attested(twice(key))).map(({ attestationsSha256 }) => attestationsSha256)).toEqual(['y']);
  });

  test('are none in repodata without any', async () => {
    expect(await attested('{"packages":{"a-1-0.tar.bz2":{}}}')).toEqual([]);
    expect(await attested('')).toEqual([]);
  });
});

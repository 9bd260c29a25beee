import { describe, expect, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { readLedger, writeLedger, type Ledger } from '#ferry/artifact/ledger.js';
import { LATEST, pushMetadata } from '#ferry/artifact/metadata-artifact.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { digestOf } from '#ferry/io/digest.js';
import { MemoryRegistry } from '#ferry/oci/memory-store.js';
import { rejection } from '../contracts/artifacts.js';

const LEDGER_TYPE = 'application/vnd.conda-ferry.ledger.v1+json';
const digest = digestOf(Buffer.from('x'));

const least: Ledger = {
  ledger_version: 1,
  schema: 'v0',
  subdir: 'noarch',
  role: { kind: 'mirror', source: 'https://example.org/channel' },
  filters: digest,
  unchanged: false,
  complete: false,
  withheld: [],
  quarantine: [],
  kept: {},
  foreign: [],
};

const full: Ledger = {
  ...least,
  source: {
    file: 'repodata.json.zst',
    digest,
    etag: '"abc"',
    last_modified: 'Sat, 21 Nov 2026 07:35:00 GMT',
  },
  repodata: digest,
  unchanged: true,
  complete: true,
  counts: { listed: 3, there: 2 },
  withheld: [{ filename: 'zzz_a-1-0.conda', code: 'NAME_UNREPRESENTABLE', message: 'taken' }],
  quarantine: [
    { filename: 'nonsense', code: 'RECORD_INVALID', message: 'no archive name' },
    {
      filename: 'a-1-0.conda',
      name: 'a',
      version: '1',
      build: '0',
      sha256: 'ab',
      md5: 'cd',
      size: 7,
      url: 'u',
      code: 'ARCHIVE_ABSENT',
      message: 'gone',
      attestations_sha256: 'ef',
    },
  ],
  kept: { 'old-1-0.conda': 'sha256:ab', constructor: 'md5:cd' },
  foreign: ['other-1-0.conda'],
  subdirs: ['noarch', 'linux-64'],
  companions: {
    'run_exports.json': {
      file: 'run_exports.json.zst',
      digest,
      etag: '"abc"',
      last_modified: 'Sat, 21 Nov 2026 07:35:00 GMT',
      manifest: digest,
      spliced: true,
    },
    'notices.json': { file: 'notices.json', digest, manifest: digest },
  },
  sidecars: true,
  shims: true,
  running: { id: '1', started: '2026-11-21T07:35:00.000Z', publishing: digest },
};

function openStore(): ChannelStore {
  return new ChannelStore(new MemoryRegistry(), 'c', schemaV0);
}

async function writeText(store: ChannelStore, text: string, mediaType = LEDGER_TYPE): Promise<void> {
  const layer = { mediaType, title: 'repodata_ledger.json', bytes: Buffer.from(text) };
  await pushMetadata(store, 'noarch', 'ledger', [layer], { tags: [LATEST] });
}

describe('a ledger', () => {
  test('is absent where none was written', async () => {
    expect(await readLedger(openStore(), 'noarch')).toBeUndefined();
  });

  test.each([
    ['with the least it may say', least],
    ['with all it can say', full],
  ])('reads back as it was written, %s', async (_, ledger) => {
    const store = openStore();
    await writeLedger(store, ledger);
    expect(await readLedger(store, 'noarch')).toEqual(ledger);
  });

  test('keeps fields that only later versions know, at every level, and writes them back', async () => {
    const store = openStore();
    const later = {
      ...full,
      x_top: [1, { a: null }],
      role: { ...full.role, x_role: 1 },
      source: { ...full.source, x_source: true },
      counts: { ...full.counts, x_counts: 1 },
      withheld: full.withheld.map((item) => ({ ...item, x_item: 1 })),
      quarantine: full.quarantine.map((item) => ({ ...item, x_item: {} })),
      running: { ...full.running, x_running: 'y' },
    };
    await writeText(store, JSON.stringify(later));
    const read = (await readLedger(store, 'noarch'))!;
    expect(read).toEqual(later);
    await writeLedger(store, read);
    expect(await readLedger(store, 'noarch')).toEqual(later);
  });

  test('is a small artifact of its own type, under `latest` only', async () => {
    const store = openStore();
    await writeLedger(store, least);
    await writeLedger(store, full);
    const repository = store.registry.repository('c/noarch/repodata_ledger.json');
    const manifest = JSON.parse(Buffer.from((await repository.fetchManifest(LATEST))!.bytes).toString()) as {
      layers: object[];
    };
    expect(manifest.layers).toMatchObject([
      { mediaType: LEDGER_TYPE, annotations: { 'org.opencontainers.image.title': 'repodata_ledger.json' } },
    ]);
  });

  test.each([
    ['no JSON', 'nope'],
    ['a list', '[]'],
    ['a later version', JSON.stringify({ ...least, ledger_version: 2 })],
    ['no filters', JSON.stringify({ ...least, filters: undefined })],
    ['a digest that is none', JSON.stringify({ ...least, repodata: 'sha256:abc' })],
    ['a negative size', JSON.stringify({ ...full, quarantine: [{ ...full.quarantine[1], size: -1 }] })],
  ])('that is %s is LEDGER_INVALID', async (_, text) => {
    const store = openStore();
    await writeText(store, text);
    const failure = await rejection(readLedger(store, 'noarch'));
    expect(failure).toMatchObject({
      code: 'LEDGER_INVALID',
      hint: expect.stringContaining('--deep') as string,
    });
  });
});

import { describe, expect, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { filtersDigest, firstLedger, readLedger, writeLedger, type Ledger } from '#ferry/artifact/ledger.js';
import { LATEST, pushMetadata } from '#ferry/artifact/metadata-artifact.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { digestOf } from '#ferry/io/digest.js';
import { encodeJson } from '#ferry/oci/manifest.js';
import { MemoryRegistry } from '#ferry/oci/memory-store.js';
import { makeLedger, seenOf } from '#ferry/mirror/make-ledger.js';
import { newRunning } from '#ferry/mirror/publish.js';
import type { Snapshot } from '#ferry/mirror/snapshot.js';
import { breachesOf } from './spec.js';

const check = breachesOf('ledger');
const store = new ChannelStore(new MemoryRegistry(), 'c', schemaV0);
const digest = digestOf(Buffer.from('x'));

const role = { kind: 'mirror', source: 'https://example.org/channel' } as const;
const snapshot = {
  subdir: 'noarch',
  digest,
  origin: {
    file: 'repodata.json.zst',
    validators: { etag: '"abc"', lastModified: 'Sat, 21 Nov 2026 07:35:00 GMT' },
  },
} as unknown as Snapshot;

const first = firstLedger(store, 'noarch', role);
const failure = { filename: 'a-1-0.conda', code: 'ARCHIVE_ABSENT', message: 'gone' };
const full: Ledger = {
  ...makeLedger({
    store,
    role,
    migrated: { source: 'oci://example.org/old', schema: 'v0' },
    subdir: 'noarch',
    filters: filtersDigest(store),
    seen: seenOf(snapshot),
    repodata: digest,
    unchanged: true,
    complete: false,
    counts: { listed: 3, there: 2 },
    withheld: [
      { filename: 'zzz_a-1-0.conda', code: 'NAME_UNREPRESENTABLE', message: 'taken', clause: 'v0/D2' },
    ],
    quarantine: [
      { filename: 'nonsense', code: 'RECORD_INVALID', message: 'no archive name' },
      { ...failure, name: 'a', version: '1', build: '0', sha256: 'ab', md5: 'cd', size: 7, url: 'u' },
    ],
    kept: new Map([['old-1-0.conda', 'sha256:ab']]),
    unlisted: { 'old-1-0.conda': '2026-11-21T07:35:00.000Z' },
    times: {
      ripens: '2026-11-28T07:35:00.000Z',
      waiting: { 'young-1-0.conda': '2026-11-21T07:35:00.000Z' },
      requests_per_blob: 2,
    },
    foreign: new Set(['other-1-0.conda']),
    subdirs: ['noarch', 'linux-64'],
  }),
  running: { ...newRunning(new Date()), publishing: digest },
  rolled_back: { to: '2026.11.21.07.35.00', at: '2026-11-22T07:35:00.000Z' },
};

const { running, rolled_back: _, ...ended } = full;
const withCompanions: Ledger = {
  ...ended,
  companions: {
    'run_exports.json': {
      file: 'run_exports.json.zst',
      digest,
      etag: '"1"',
      last_modified: 'Sat, 21 Nov 2026 07:35:00 GMT',
      manifest: digest,
      spliced: true,
    },
    'notices.json': { file: 'notices.json', digest, manifest: digest },
  },
  sidecars: true,
  shims: true,
  running,
};

async function isRead(document: object): Promise<boolean> {
  const layer = {
    mediaType: 'application/vnd.conda-ferry.ledger.v1+json',
    title: 'repodata_ledger.json',
    bytes: encodeJson(document),
  };
  const channel = new ChannelStore(new MemoryRegistry(), 'c', schemaV0);
  await pushMetadata(channel, 'noarch', 'ledger', [layer], { tags: [LATEST] });
  return readLedger(channel, 'noarch').then(
    () => true,
    () => false,
  );
}

describe('the schema of a ledger', () => {
  test.each([
    ['the first one of a channel', first],
    ['one of a run that has ended', full],
    ['one with what lies beside the repodata', withCompanions],
    ['one of a channel that is published to', firstLedger(store, 'noarch', { kind: 'published' })],
    [
      'one of a compacted log',
      {
        ...firstLedger(store, 'noarch', { kind: 'published' }),
        epoch: { number: 1, repodata: digest, generation: '2026.11.21.07.35.00' },
      },
    ],
    ['one of a migration', { ...full, role: { kind: 'migrated', source: 'oci://example.org/old' } }],
    [
      'one with later fields',
      { ...full, x: 1, role: { ...full.role, x: 1 }, counts: { ...full.counts, x: 1 } },
    ],
  ])('accepts what we write, %s', async (_, ledger) => {
    expect(check(JSON.parse(JSON.stringify(ledger)))).toEqual([]);
    expect(await isRead(ledger)).toBe(true);
  });

  test.each<[string, object]>([
    ['a later version', { ...first, ledger_version: 2 }],
    ...Object.keys(first).map((key): [string, object] => [`no ${key}`, { ...first, [key]: undefined }]),
    ['a digest that is none', { ...first, repodata: 'sha256:abc' }],
    ['a digest of another kind', { ...first, filters: `md5:${'0'.repeat(32)}` }],
    ['another role', { ...first, role: { kind: 'other', source: 'x' } }],
    ['a mirror of nothing', { ...first, role: { kind: 'mirror' } }],
    ['a source of what is published to', { ...first, role: { kind: 'published', source: 'x' } }],
    ['an epoch of nothing', { ...first, epoch: { number: 1, generation: 'x' } }],
    ['an epoch before the first', { ...first, epoch: { number: 0, repodata: digest, generation: 'x' } }],
    ['a migration from nowhere', { ...first, migrated: { schema: 'v0' } }],
    ['another source file', { ...full, source: { ...full.source, file: 'repodata.json.bz2' } }],
    ['text for a count', { ...full, counts: { listed: '3', there: 2 } }],
    ['half a count', { ...full, counts: { listed: 3.5, there: 2 } }],
    ['a negative size', { ...first, quarantine: [{ ...failure, size: -1 }] }],
    ['a failure without a code', { ...first, quarantine: [{ ...failure, code: undefined }] }],
    ['a package that is no archive', { ...first, quarantine: [{ ...failure, name: 'a', filename: '../a' }] }],
    [
      'a package with too long a name',
      { ...first, quarantine: [{ ...failure, name: 'a', filename: `${'a'.repeat(210)}-1-0.conda` }] },
    ],
    ['a record withheld for no reason', { ...first, withheld: [{ filename: 'a', code: 'b' }] }],
    ['an identity that is no text', { ...first, kept: { 'a-1-0.conda': 1 } }],
    ['a time that is no text', { ...first, unlisted: { 'a-1-0.conda': 1 } }],
    ['a rollback to nowhere', { ...first, rolled_back: { at: '2026-11-22T07:35:00.000Z' } }],
    ['a subdir with a path', { ...first, subdirs: ['../noarch'] }],
    ['a long subdir', { ...first, subdirs: [`linux-${'6'.repeat(32)}`] }],
    ['a companion without a manifest', { ...first, companions: { x: { file: 'x', digest } } }],
    ['text for yes', { ...first, sidecars: 'true' }],
    ['a number for yes', { ...first, shims: 1 }],
    ['a run without a start', { ...first, running: { id: '1' } }],
  ])('refuses what we would not read: %s', async (_, ledger) => {
    expect(check(JSON.parse(JSON.stringify(ledger)))).not.toEqual([]);
    expect(await isRead(ledger)).toBe(false);
  });

  test('does not change what a ledger says, nor in which order: one that says the same is not written again', async () => {
    const ledger: Ledger = {
      ...withCompanions,
      quarantine: [{ ...failure, attestations_sha256: 'a'.repeat(64) }],
    };
    const channel = new ChannelStore(new MemoryRegistry(), 'c', schemaV0);
    await writeLedger(channel, ledger);
    const read = await readLedger(channel, 'noarch');
    expect(JSON.stringify(read)).toBe(JSON.stringify(ledger));
    expect(check(JSON.parse(JSON.stringify(ledger)))).toEqual([]);
  });
});

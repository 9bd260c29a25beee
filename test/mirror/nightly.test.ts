import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { readLedger } from '#ferry/artifact/ledger.js';
import { LATEST } from '#ferry/artifact/metadata-artifact.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import { formatFailureList, parseFailureList, unknownFailures } from '#ferry/mirror/failure-list.js';
import { parseFilters, type FilterInput } from '#ferry/mirror/filters/filters.js';
import type { MirrorOptions } from '#ferry/mirror/mirror.js';
import { makePlanDocument, parsePlanDocument } from '#ferry/mirror/plan-document.js';
import type { MirrorReport } from '#ferry/mirror/report.js';
import { MemoryRegistry } from '#ferry/oci/memory-store.js';
import { parseLockFile } from '#ferry/provenance/lock-files/parse-lock-file.js';
import { condaPackage } from '../../fixtures/build/archive.mjs';
import { writeChannel } from '../../fixtures/build/channel.mjs';
import { createGate } from '../support/gate.js';
import { serveChannel } from '../support/channel-server.js';
import { httpSource } from '../support/stores.js';
import { tempFolder } from '../support/temp.js';
import { mirrorChannel, planMirror } from '../support/workers.js';

/** What an operator does with a mirror night after night. */

const NOW = Date.parse('2026-05-01T00:00:00Z');
const DAY_MS = 24 * 60 * 60 * 1000;

let registry: MemoryRegistry;
let source: string;
beforeEach(async () => {
  registry = new MemoryRegistry();
  source = await tempFolder();
});

type Archive = ReturnType<typeof condaPackage>;

function conda(name: string, payload = 'x', version = '1.0'): Archive {
  return condaPackage({
    name,
    version,
    build: '0',
    subdir: 'noarch',
    index: { noarch: 'generic' },
    payloadFiles: { 'share/text': payload },
  });
}

async function offer(...archives: Archive[]): Promise<void> {
  await rm(source, { recursive: true, force: true });
  await writeChannel(source, { noarch: archives });
}

const destination = (): ChannelStore => new ChannelStore(registry, 'c', schemaV0);

async function run(options: Partial<MirrorOptions> = {}): Promise<MirrorReport> {
  return mirrorChannel({
    source: new DirectoryChannel(source),
    destination: destination(),
    concurrency: 1,
    ...options,
  });
}

function only(report: MirrorReport): MirrorReport['subdirs'][number] {
  const [subdir] = report.subdirs;
  if (subdir === undefined) throw new Error('no subdir');
  return subdir;
}

async function listed(): Promise<string[]> {
  const channel = destination();
  const repository = channel.metadataRepository('noarch', 'repodata.json');
  const manifest = await repository.fetchManifest(LATEST);
  if (manifest === undefined) return [];
  const { layers } = JSON.parse(Buffer.from(manifest.bytes).toString()) as {
    layers: { mediaType: string; digest: `sha256:${string}`; size: number }[];
  };
  const plain = layers.find(({ mediaType }) => mediaType.endsWith('+json'));
  if (plain === undefined) return [];
  const chunks: Uint8Array[] = [];
  for await (const chunk of repository.fetch(plain)) chunks.push(chunk);
  const repodata = JSON.parse(Buffer.concat(chunks).toString()) as Record<string, object>;
  return Object.keys({ ...repodata['packages'], ...repodata['packages.conda'] }).sort();
}

/** Filters as the command line reads them. */
const filters = (input: FilterInput) => parseFilters(input);

describe('an orderly stop', () => {
  test('what is under way is finished and published, and the next run does the rest', async () => {
    await offer(conda('a'), conda('b'), conda('c'), conda('d'));
    const stop = new AbortController();
    const report = await run({
      stop: stop.signal,
      reporter: {
        archive: ({ filename }) => {
          if (filename.startsWith('b-')) stop.abort(new Error('enough'));
        },
      },
    });
    expect(report.isInterrupted).toBe(true);
    expect(only(report)).toMatchObject({ added: 2, untried: 2, publishedAs: 'spliced' });
    expect(await listed()).toEqual(['a-1.0-0.conda', 'b-1.0-0.conda']);
    const rest = await run();
    expect(rest.isInterrupted).toBe(false);
    expect(only(rest)).toMatchObject({ there: 2, added: 2, untried: 0, publishedAs: 'unchanged' });
  });

  test('a stop that comes when all is done is no interruption', async () => {
    await offer(conda('a'));
    const stop = new AbortController();
    const reporter = {
      archive: () => {
        stop.abort();
      },
    };
    expect((await run({ stop: stop.signal, reporter })).isInterrupted).toBe(false);
  });

  test('a stop before anything moves ends the run at once', async () => {
    await offer(conda('a'));
    const reason = new Error('not today');
    await expect(run({ stop: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(await listed()).toEqual([]);
  });
});

describe('checkpoints', () => {
  test('come at growing intervals, move `latest` alone, and leave no history tags', async () => {
    const archives = Array.from({ length: 40 }, (_, i) => conda(`p${String(i).padStart(2, '0')}`));
    await offer(...archives);
    const seen: number[] = [];
    let time = NOW;
    await run({
      checkpointMs: 60_000,
      now: () => new Date(time),
      reporter: {
        archive: () => {
          time += 30_000;
        },
      },
      source: watchedSource(async () => {
        seen.push((await listed()).length);
      }),
    });
    // After 2, then 4 more, then 8, then 16.
    expect([...new Set(seen)]).toEqual([0, 2, 6, 14, 30]);
    const tags: string[] = [];
    for await (const tag of destination().metadataRepository('noarch', 'repodata.json').tags())
      tags.push(tag);
    expect(tags).toHaveLength(2);
    expect(await listed()).toHaveLength(40);
  });

  /** The folder as a source that tells when an archive is asked for. */
  function watchedSource(onArchive: () => Promise<void>) {
    const channel = new DirectoryChannel(source);
    const openArchive: DirectoryChannel['openArchive'] = async function* (archive, options) {
      await onArchive();
      yield* channel.openArchive(archive, options);
    };
    return {
      url: channel.url,
      subdirs: () => channel.subdirs(),
      openMetadata: channel.openMetadata.bind(channel),
      openArchive,
    };
  }
});

describe('a second run', () => {
  test('on the same machine is kept out while the first one lasts', async () => {
    await offer(conda('a'));
    const lockFolder = await tempFolder();
    const gate = createGate();
    const held = createGate();
    const channel = new DirectoryChannel(source);
    const slow = {
      url: channel.url,
      subdirs: async () => {
        held.open();
        await gate.passed;
        return channel.subdirs();
      },
      openMetadata: channel.openMetadata.bind(channel),
      openArchive: channel.openArchive.bind(channel),
    };
    const first = run({ lockFolder, source: slow });
    // Whoever asks its source for anything has the lock.
    await held.passed;
    await expect(run({ lockFolder })).rejects.toMatchObject({ code: 'LOCK_TIMEOUT' });
    gate.open();
    expect(only(await first).added).toBe(1);
    expect(only(await run({ lockFolder })).publishedAs).toBe('kept');
  });

  test('that published meanwhile is noticed: the first one plans again', async () => {
    await offer(conda('a'), conda('b'));
    const warnings: string[] = [];
    let isFirst = true;
    const report = await run({
      reporter: { warning: (text) => warnings.push(text) },
      source: {
        ...bound(new DirectoryChannel(source)),
        openArchive: async function* (archive, options) {
          if (isFirst) {
            isFirst = false;
            // What is the same in the end would be no conflict.
            await run({ filters: filters({ exclude: ['b'] }) });
          }
          yield* new DirectoryChannel(source).openArchive(archive, options);
        },
      },
    });
    expect(warnings).toEqual(['noarch: somebody else has published meanwhile; planned again']);
    expect(only(report)).toMatchObject({ there: 0, added: 2, failed: [] });
    expect(await listed()).toEqual(['a-1.0-0.conda', 'b-1.0-0.conda']);
    expect((await readLedger(destination(), 'noarch'))?.running).toBeUndefined();
  });

  function bound(channel: DirectoryChannel) {
    return {
      url: channel.url,
      subdirs: () => channel.subdirs(),
      openMetadata: channel.openMetadata.bind(channel),
    };
  }
});

describe('filters', () => {
  test('are part of what the ledger vouches for: edited ones are heeded though the source answers 304', async () => {
    await offer(conda('a'), conda('b'), conda('c'));
    await using server = await serveChannel(source);
    const http = (input: FilterInput) =>
      run({
        source: httpSource(server.url.replace(/channel$/, '')),
        subdirs: ['noarch'],
        filters: filters(input),
      });
    const first = await http({ exclude: ['b'] });
    expect(only(first)).toMatchObject({ added: 2, publishedAs: 'spliced', leftOut: { excluded: 1 } });
    expect(await listed()).toEqual(['a-1.0-0.conda', 'c-1.0-0.conda']);
    server.requests.length = 0;
    expect(only(await http({ exclude: ['b'] })).publishedAs).toBe('kept');
    expect(
      server.requests.map(({ path, status }) => `${path.split('/').pop() ?? ''} ${String(status)}`),
    ).toEqual([...['repodata.json.zst 304', 'channeldata.json 404', 'notices.json 404']]);
    expect(only(await http({ exclude: ['a'] }))).toMatchObject({ added: 1, kept: 1 });
    expect(await listed()).toEqual(['b-1.0-0.conda', 'c-1.0-0.conda']);
    expect(only(await http({}))).toMatchObject({ added: 0, there: 3, publishedAs: 'unchanged' });
  });

  test('of age ripen: what was too young is taken when its time has come, and what is there stays', async () => {
    await offer(conda('a'), conda('b'));
    const path = join(source, 'noarch', 'repodata.json');
    const repodata = JSON.parse(await readFile(path, 'utf8')) as {
      'packages.conda': Record<string, Record<string, unknown>>;
    };
    Object.assign(repodata['packages.conda']['a-1.0-0.conda'] ?? {}, { indexed_timestamp: NOW - 6 * DAY_MS });
    await writeFile(path, JSON.stringify(repodata));
    await rm(join(source, 'noarch', 'repodata.json.zst'), { force: true });
    const at = (days: number) =>
      run({ filters: filters({ minAge: '7d' }), now: () => new Date(NOW + days * DAY_MS) });

    expect(only(await at(0))).toMatchObject({ added: 0, leftOut: { 'too-young': 2 } });
    expect(await readLedger(destination(), 'noarch')).toMatchObject({
      ripens: new Date(NOW + DAY_MS).toISOString(),
      waiting: { 'b-1.0-0.conda': new Date(NOW).toISOString() },
    });
    expect(only(await at(0.5)).publishedAs).toBe('kept');
    expect(only(await at(1))).toMatchObject({ added: 1, leftOut: { 'too-young': 1 } });
    expect(only(await at(6.9)).publishedAs).toBe('kept');
    expect(only(await at(7))).toMatchObject({ added: 1, publishedAs: 'unchanged' });
    expect((await readLedger(destination(), 'noarch'))?.ripens).toBeUndefined();
  });

  test('of lock files fail for what the source does not have, or has with other bytes, each night', async () => {
    await offer(conda('a'), conda('b'));
    const channel = `https://conda.example.org/${source.split('/').pop() ?? ''}`;
    const list = [
      '@EXPLICIT',
      `${channel}/noarch/a-1.0-0.conda#${'0'.repeat(32)}`,
      `${channel}/noarch/b-1.0-0.conda`,
      `${channel}/noarch/c-1.0-0.conda`,
      'https://conda.example.org/another/noarch/d-1.0-0.conda',
    ];
    const lock = await parseLockFile('explicit.txt', list.join('\n'));
    for (const added of [1, 0]) {
      const report = only(await run({ filters: filters({ lock }) }));
      expect(report.added).toBe(added);
      expect(report.failed.map(({ filename, code }) => [filename, code])).toEqual([
        ['a-1.0-0.conda', 'DIGEST_MISMATCH'],
        ['c-1.0-0.conda', 'NOT_FOUND'],
      ]);
    }
    expect(await listed()).toEqual(['b-1.0-0.conda']);
  });

  test('warn of dependencies that nobody meets', async () => {
    const needy = condaPackage({
      ...{ name: 'a', version: '1.0', build: '0', subdir: 'noarch' },
      index: { noarch: 'generic', depends: ['nowhere >=2'] },
    });
    await offer(needy, conda('b'));
    const warnings: string[] = [];
    await run({
      filters: filters({ include: ['a'], withDependencies: true }),
      reporter: { warning: (text) => warnings.push(text) },
    });
    expect(warnings).toEqual([
      'noarch: nothing that may be taken meets `nowhere >=2`, which `a-1.0-0.conda` asks for',
    ]);
  });

  test('that leave out everything publish an empty channel, and say so', async () => {
    await offer(conda('a'));
    const report = await run({ filters: filters({ include: ['other'] }) });
    expect(only(report)).toMatchObject({ added: 0, listed: 1, leftOut: { 'not-included': 1 } });
    expect(await listed()).toEqual([]);
  });
});

describe('what the source lists no more', () => {
  test('is mirrored on request out of repodata_from_packages.json, and stays unlisted', async () => {
    await offer(conda('a'), conda('b'));
    const noarch = join(source, 'noarch');
    const repodata = JSON.parse(await readFile(join(noarch, 'repodata.json'), 'utf8')) as {
      'packages.conda': Record<string, object>;
      removed?: string[];
    };
    await writeFile(join(noarch, 'repodata_from_packages.json'), JSON.stringify(repodata));
    delete repodata['packages.conda']['b-1.0-0.conda'];
    repodata.removed = ['b-1.0-0.conda'];
    await writeFile(join(noarch, 'repodata.json'), JSON.stringify(repodata));
    await rm(join(noarch, 'repodata.json.zst'), { force: true });

    expect(only(await run())).toMatchObject({ added: 1, kept: 0 });
    const report = await run({ includeRemoved: true });
    expect(only(report)).toMatchObject({ added: 1, kept: 1, publishedAs: 'kept' });
    expect(await listed()).toEqual(['a-1.0-0.conda']);
    const stored = await destination().packageRepository('noarch', { repository: 'b' }).resolve('1.0-0');
    expect(stored).toBeDefined();
    expect(only(await run({ includeRemoved: true })).publishedAs).toBe('kept');
    // Filters hold for these as for all others.
    const filtered = await run({ includeRemoved: true, filters: filters({ exclude: ['b'] }) });
    expect(only(filtered)).toMatchObject({ added: 0, failed: [] });
  });
});

describe('a plan', () => {
  const planOf = async () => {
    const plan = await planMirror({ source: new DirectoryChannel(source), destination: destination() });
    return makePlanDocument(plan, { now: new Date(NOW), requestsPerMinute: 60 });
  };

  test('says what is to add, what changed and what is gone, and reads back as it was', async () => {
    await offer(conda('a'), conda('b'), conda('c'));
    await run();
    await offer(conda('a'), conda('b', 'changed'), conda('d'));
    const document = await planOf();
    expect(parsePlanDocument(JSON.stringify(document), 'plan')).toEqual(document);
    expect(document.subdirs).toMatchObject([
      {
        ...{ subdir: 'noarch', status: 'planned', listed: 3, there: 1, artifacts: 2 },
        add: [{ filename: 'd-1.0-0.conda' }],
        changed: [{ filename: 'b-1.0-0.conda' }],
        gone: ['c-1.0-0.conda'],
      },
    ]);
    expect(document.totals.archives).toBe(2);
    expect(document.largest_packages.map(({ name }) => name).sort()).toEqual(['b', 'd']);
  });

  test('that is applied moves what it names, and leaves the rest for another run', async () => {
    await offer(conda('a'), conda('b'));
    const apply = await planOf();
    await offer(conda('a'), conda('b', 'changed'), conda('c'));
    const warnings: string[] = [];
    const report = await run({ apply, reporter: { warning: (text) => warnings.push(text) } });
    expect(only(report)).toMatchObject({ added: 1, failed: [] });
    expect(warnings).toEqual([
      'noarch: `b-1.0-0.conda` is not what it was when it was planned; left for another run',
    ]);
    expect(await listed()).toEqual(['a-1.0-0.conda']);
    expect(only(await run())).toMatchObject({ there: 1, added: 2 });
  });

  test('of other ends, other filters or another state is stale', async () => {
    await offer(conda('a'));
    const apply = await planOf();
    await expect(run({ apply, filters: filters({ exclude: ['x'] }) })).rejects.toMatchObject({
      code: 'PLAN_STALE',
    });
    await expect(
      run({ apply, destination: new ChannelStore(registry, 'other', schemaV0) }),
    ).rejects.toMatchObject({ code: 'PLAN_STALE' });
    await run();
    await expect(run({ apply })).rejects.toMatchObject({ code: 'PLAN_STALE' });
  });

  test.each([
    ['not JSON', '{'],
    ['another document', '{"plan_version": 2}'],
  ])('%s is no plan', (_, text) => {
    expect(() => parsePlanDocument(text, 'plan.json')).toThrow(expect.objectContaining({ code: 'USAGE' }));
  });
});

describe('known failures', () => {
  test('what one run could not mirror, another one accepts', async () => {
    await offer(conda('a'), conda('b'));
    await rm(join(source, 'noarch', 'b-1.0-0.conda'));
    const report = await run();
    const text = formatFailureList(report);
    expect(text).toMatch(/^noarch\/b-1\.0-0\.conda {2}# ARCHIVE_ABSENT /);
    const known = parseFailureList(`# of last night\n\n${text}`, 'known');
    expect(unknownFailures(report.subdirs, known)).toBe(0);
    expect(unknownFailures(report.subdirs, new Set())).toBe(1);
    // Tried again each night, and known each night.
    expect(unknownFailures((await run()).subdirs, known)).toBe(0);
  });

  test.each(['b-1.0-0.conda', 'noarch/', '../b.conda', 'noarch/x/y'])('%j names no archive', (line) => {
    expect(() => parseFailureList(`noarch/a.conda\n${line}`, 'known')).toThrow(
      expect.objectContaining({ code: 'USAGE', message: 'line 2 of `known` names no archive' }),
    );
  });
});

test('repodata can be published compressed only, and plain again', async () => {
  await offer(conda('a'));
  const layers = async (): Promise<string[]> => {
    const stored = await destination().metadataRepository('noarch', 'repodata.json').fetchManifest(LATEST);
    const manifest = JSON.parse(Buffer.from(stored?.bytes ?? []).toString()) as {
      layers: { mediaType: string }[];
    };
    return manifest.layers.map(({ mediaType }) => mediaType.split('+').slice(1).join('+'));
  };
  await run({ plainJson: false });
  expect(await layers()).toEqual(['json+zst']);
  expect(only(await run({ plainJson: false })).publishedAs).toBe('kept');
  await run();
  expect(await layers()).toEqual(['json', 'json+zst']);
});

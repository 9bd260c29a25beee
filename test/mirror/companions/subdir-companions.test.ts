import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ChannelStore } from '#ferry/artifact/channel-store.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import { FerryError } from '#ferry/errors.js';
import { digestOf } from '#ferry/io/digest.js';
import { carrySubdirCompanions } from '#ferry/mirror/companions/subdir-companions.js';
import { writeChannel } from '../../../fixtures/build/channel.mjs';
import { serveChannel } from '../../support/channel-server.js';
import { startRegistry, type TestRegistry } from '../../support/docker-registry.js';
import { httpSource, layoutStore, registryStore, writesOf } from '../../support/stores.js';
import { tempFolder } from '../../support/temp.js';
import {
  carry,
  channelFolder,
  conda,
  contextOf,
  errorsIn,
  jsonOf,
  listedIn,
  memoryStore,
  outcomesOf,
  published,
  put,
  TAGS,
  withoutCompanions,
} from './channel-with-companions.js';
import { mirrorChannel } from '../../support/workers.js';

const FILES = [
  'run_exports.json',
  'patch_instructions.json',
  'current_repodata.json',
  'repodata_from_packages.json',
] as const;

let docker: TestRegistry;
beforeAll(async () => {
  docker = await startRegistry();
});
afterAll(async () => {
  await docker[Symbol.asyncDispose]();
});

const kinds: readonly (readonly [string, () => Promise<ChannelStore>])[] = [
  ['memory, v0', () => Promise.resolve(memoryStore(schemaV0))],
  ['memory, v1', () => Promise.resolve(memoryStore(schemaV1))],
  ['image layouts', async () => layoutStore(await tempFolder()).store],
  ['docker-registry', () => Promise.resolve(registryStore(docker, 'companions').store)],
];

describe.each(kinds)('metadata files of a subdir, carried into %s', (_kind, open) => {
  test('are there byte for byte, under the history tag first and under latest in the end', async () => {
    const folder = await channelFolder();
    const store = await open();
    await mirrorChannel({ source: withoutCompanions(folder), destination: store });
    const tag = TAGS[store.schema.id];
    const first = await carry(folder, store, { kept: ['yanked-1.0-0.conda'], isUnmoved: true });
    expect(first.reports.map(({ file, outcome }) => [file, outcome])).toEqual(
      FILES.map((file) => [file, 'unchanged']),
    );
    for (const file of FILES) {
      const repository = store.metadataRepository('noarch', file);
      expect(await repository.resolve('latest')).toBeUndefined();
      expect((await repository.resolve(tag))?.digest).toBe(first.companions[file]?.manifest);
    }
    const second = await carry(folder, store, { kept: ['yanked-1.0-0.conda'] });
    expect(second.moves.map(({ file }) => file)).toEqual(FILES);
    for (const file of FILES) {
      const bytes = await published(store, `noarch/${file}`);
      expect(JSON.parse(String(bytes))).toEqual(await jsonOf(folder, `noarch/${file}`));
      expect(second.companions[file]).toMatchObject({ digest: digestOf(bytes ?? Buffer.alloc(0)) });
      expect(await published(store, `noarch/${file}.zst`)).toBeDefined();
    }
    expect(second.companions['run_exports.json']).toMatchObject({ file: 'run_exports.json.zst' });
    expect(second.companions['current_repodata.json']).toMatchObject({ file: 'current_repodata.json' });
    expect(await errorsIn(store)).toEqual([]);
  });
});

test('the compressed form of the source is published as it is', async () => {
  const folder = await channelFolder();
  const store = memoryStore(schemaV0);
  await carry(folder, store);
  const source = new DirectoryChannel(folder);
  const answer = await source.openMetadata('noarch/run_exports.json.zst');
  if (answer.status !== 'found') throw new Error('absent');
  const chunks: Uint8Array[] = [];
  for await (const chunk of answer.body) chunks.push(chunk);
  expect(await published(store, 'noarch/run_exports.json.zst')).toEqual(Buffer.concat(chunks));
});

describe('of a mirror that does not hold everything', () => {
  const LISTED = ['aaa-1.0-0.conda', 'ccc-1.0-0.tar.bz2'];

  test('cep12/all-packages: run exports are those of what is listed or kept', async () => {
    const folder = await channelFolder();
    const store = memoryStore(schemaV0);
    const carried = await carry(folder, store, { listed: LISTED, kept: ['yanked-1.0-0.conda'] });
    expect(outcomesOf(carried)['run_exports.json']).toBe('spliced');
    const runExports = JSON.parse(String(await published(store, 'noarch/run_exports.json'))) as object;
    const before = await jsonOf(folder, 'noarch/run_exports.json');
    expect(runExports).toEqual({
      info: before['info'],
      packages: before['packages'],
      'packages.conda': {
        'aaa-1.0-0.conda': { run_exports: {} },
        'yanked-1.0-0.conda': { run_exports: {} },
      },
    });
  });

  test('patch instructions are those of what is listed or kept, a .tar.bz2 entry for its .conda too', async () => {
    const folder = await channelFolder();
    const store = memoryStore(schemaV0);
    await carry(folder, store, { listed: [...LISTED, 'bbb-1.0-0.conda'], kept: ['yanked-1.0-0.conda'] });
    expect(JSON.parse(String(await published(store, 'noarch/patch_instructions.json')))).toEqual({
      patch_instructions_version: 1,
      packages: { 'ccc-1.0-0.tar.bz2': { license: 'MIT' }, 'bbb-1.0-0.tar.bz2': { license: 'BSD' } },
      'packages.conda': { 'aaa-1.0-0.conda': { license: 'MIT' } },
      remove: ['yanked-1.0-0.conda'],
      revoke: [],
    });
    await carry(folder, store, { listed: LISTED });
    expect(JSON.parse(String(await published(store, 'noarch/patch_instructions.json')))).toEqual({
      patch_instructions_version: 1,
      packages: { 'ccc-1.0-0.tar.bz2': { license: 'MIT' } },
      'packages.conda': { 'aaa-1.0-0.conda': { license: 'MIT' } },
      remove: [],
      revoke: [],
    });
  });

  test('listings have what is listed; the unpatched one what is kept, too', async () => {
    const folder = await channelFolder();
    const store = memoryStore(schemaV0);
    const carried = await carry(folder, store, { listed: LISTED, kept: ['yanked-1.0-0.conda'] });
    expect(outcomesOf(carried)).toMatchObject({
      'current_repodata.json': 'spliced',
      'repodata_from_packages.json': 'spliced',
    });
    const namesIn = async (file: string): Promise<string[]> => {
      const listing = JSON.parse(String(await published(store, `noarch/${file}`))) as Record<string, object>;
      return ['packages', 'packages.conda'].flatMap((section) => Object.keys(listing[section] ?? {}));
    };
    expect(await namesIn('current_repodata.json')).toEqual(['aaa-1.0-0.conda']);
    expect(await namesIn('repodata_from_packages.json')).toEqual([
      'ccc-1.0-0.tar.bz2',
      'aaa-1.0-0.conda',
      'yanked-1.0-0.conda',
    ]);
  });

  test('a listing loses a record of other bytes than are there, and what would lead past the mirror', async () => {
    const folder = await channelFolder();
    const store = memoryStore(schemaV0);
    const current = await jsonOf(folder, 'noarch/current_repodata.json');
    current['packages.conda'] = {
      ...current['packages.conda'],
      'aaa-1.0-0.conda': {
        ...(current['packages.conda']?.['aaa-1.0-0.conda'] as object),
        sha256: 'a'.repeat(64),
      },
    };
    current['info'] = { subdir: 'noarch', base_url: 'https://elsewhere.example/' };
    await put(folder, 'noarch/current_repodata.json', current);
    await carry(folder, store);
    const listing = JSON.parse(String(await published(store, 'noarch/current_repodata.json'))) as Record<
      string,
      object
    >;
    expect(Object.keys(listing['packages.conda'] ?? {})).toEqual(['bbb-1.0-0.conda']);
    expect(listing['info']).toEqual({ subdir: 'noarch' });
  });

  test('a check of a mirror with an archive that failed finds no errors', async () => {
    const folder = await channelFolder();
    const store = memoryStore(schemaV0);
    await rm(join(folder, 'noarch', 'bbb-1.0-0.conda'));
    await mirrorChannel({ source: withoutCompanions(folder), destination: store });
    await carry(folder, store, { listed: LISTED });
    expect(await errorsIn(store)).toEqual([]);
  });
});

describe('a later run', () => {
  test('writes nothing and asks the destination nothing where the source has nothing new', async () => {
    const folder = await channelFolder();
    const first = await carry(folder, registryStore(docker, 'later').store);
    const view = registryStore(docker, 'later');
    const second = await carry(folder, view.store, { remembered: { ...first.companions } });
    expect(outcomesOf(second)).toEqual(Object.fromEntries(FILES.map((file) => [file, 'kept'])));
    expect(second.moves).toEqual([]);
    expect(second.companions).toEqual(first.companions);
    expect(view.requests).toEqual([]);
  });

  test('without a memory it finds what is there, and writes nothing', async () => {
    const folder = await channelFolder();
    const first = await carry(folder, registryStore(docker, 'forgetful').store);
    const view = registryStore(docker, 'forgetful');
    const second = await carry(folder, view.store);
    expect(second.companions).toEqual(first.companions);
    expect(second.moves).toEqual([]);
    expect(writesOf(view)).toEqual([]);
  });

  test('spliced files are written only where that changes them', async () => {
    const folder = await channelFolder();
    const store = memoryStore(schemaV0);
    const listed = ['aaa-1.0-0.conda'];
    const first = await carry(folder, store, { listed });
    const second = await carry(folder, store, { listed, remembered: { ...first.companions } });
    expect(second.moves).toEqual([]);
    expect(second.companions).toEqual(first.companions);
    const third = await carry(folder, store, { remembered: { ...first.companions } });
    expect(outcomesOf(third)).toMatchObject({ 'run_exports.json': 'unchanged' });
  });

  test('asks a web server by what it remembers, for the form that it had', async () => {
    const folder = await channelFolder();
    await using server = await serveChannel(folder);
    const store = memoryStore(schemaV0);
    const kept = ['yanked-1.0-0.conda'];
    const first = await carry(folder, store, { source: httpSource(server.url), kept });
    const remembered = { ...first.companions };
    await carry(folder, store, { source: httpSource(server.url), kept, remembered });
    // The server notes a request when its answer is gone, which may be after it has arrived.
    await expect.poll(() => server.requests.length).toBe(10);
    expect(server.requests.map(({ path, status }) => `${String(status)} ${path}`)).toEqual([
      '200 /channel/noarch/run_exports.json.zst',
      '404 /channel/noarch/patch_instructions.json.zst',
      '200 /channel/noarch/patch_instructions.json',
      '404 /channel/noarch/current_repodata.json.zst',
      '200 /channel/noarch/current_repodata.json',
      '200 /channel/noarch/repodata_from_packages.json.zst',
      '304 /channel/noarch/run_exports.json.zst',
      '304 /channel/noarch/patch_instructions.json',
      '304 /channel/noarch/current_repodata.json',
      '304 /channel/noarch/repodata_from_packages.json.zst',
    ]);
  });

  test('a file that vanished at the source stays, with a warning', async () => {
    const folder = await channelFolder();
    const store = memoryStore(schemaV0);
    const first = await carry(folder, store);
    await rm(join(folder, 'noarch', 'patch_instructions.json'));
    const second = await carry(folder, store, { remembered: { ...first.companions } });
    expect(second.reports[1]).toEqual({
      subdir: 'noarch',
      file: 'patch_instructions.json',
      outcome: 'stale',
      warning: 'noarch/patch_instructions.json: the source has it no more; the last one stays',
    });
    expect(second.companions).toEqual(first.companions);
  });

  test.each([
    ['run_exports.json', '{"packages":[]}'],
    ['run_exports.json', ''],
    ['patch_instructions.json', '[]'],
    ['patch_instructions.json', '{"packages":{}'],
    ['current_repodata.json', ''],
    ['current_repodata.json', '{"info":{"subdir":"linux-64"}}'],
    ['repodata_from_packages.json', 'not found'],
  ] as const)('a malformed %s (%j) leaves the last one, with a warning', async (file, text) => {
    const folder = await channelFolder();
    const store = memoryStore(schemaV0);
    const listed = ['aaa-1.0-0.conda'];
    const first = await carry(folder, store, { listed });
    const before = await published(store, `noarch/${file}`);
    await put(folder, `noarch/${file}`, text, true);
    const context = contextOf(folder, store);
    const identities = await listedIn(folder);
    const second = await carrySubdirCompanions(
      {
        subdir: 'noarch',
        unchanged: false,
        listed: new Map(listed.map((name) => [name, identities.get(name) ?? ''])),
        kept: new Map(),
        remembered: first.companions,
      },
      context,
    );
    expect(second.moves).toEqual([]);
    const report = second.reports.find((candidate) => candidate.file === file);
    expect(report?.outcome).toBe('stale');
    expect(report?.warning).toMatch(new RegExp(`^noarch/${file}: .*; the last one stays$`));
    expect(second.companions).toEqual(first.companions);
    expect(await published(store, `noarch/${file}`)).toEqual(before);
  });

  test('a compressed form that is none is a warning', async () => {
    const folder = await channelFolder();
    await put(folder, 'noarch/current_repodata.json.zst', 'no zstd');
    const { reports } = await carry(folder, memoryStore(schemaV0));
    expect(reports[2]?.warning).toMatch(/is not whole zstd.*; it is left out$/);
  });
});

test('what the source does not have is absent, and so is what it refuses to show', async () => {
  const folder = await tempFolder();
  await writeChannel(folder, { noarch: [conda('aaa')] });
  const store = memoryStore(schemaV0);
  const source = new DirectoryChannel(folder);
  const input = {
    subdir: 'noarch',
    unchanged: true,
    listed: new Map<string, string>(),
    kept: new Map<string, string>(),
    remembered: undefined,
  };
  const absent = await carrySubdirCompanions(input, contextOf(source, store));
  expect(absent.reports.map(({ outcome, warning }) => [outcome, warning])).toEqual(
    FILES.map(() => ['absent', undefined]),
  );
  expect(absent.companions).toEqual({});
  const refusing = {
    url: 'https://bucket.example',
    subdirs: () => source.subdirs(),
    openMetadata: () => Promise.reject(new FerryError('DENIED', 'no')),
    openArchive: (...args: Parameters<DirectoryChannel['openArchive']>) => source.openArchive(...args),
  };
  const refused = await carrySubdirCompanions(input, contextOf(refusing, store));
  expect(refused.reports.map(({ outcome }) => outcome)).toEqual(FILES.map(() => 'absent'));
});

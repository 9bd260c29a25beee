import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { ChannelStore } from '#ferry/artifact/channel-store.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import { PackageSummaries } from '#ferry/conformance/rules/channeldata.js';
import { moveCompanions, type CarriedCompanions } from '#ferry/mirror/companions/carry-companion.js';
import {
  carryChannelCompanions,
  type ChannelCompanionsInput,
} from '#ferry/mirror/companions/channel-companions.js';
import { Repodata } from '#ferry/conda/repodata/repodata.js';
import { openerOf } from '#ferry/io/bytes.js';
import { summarizeRepodata } from '#ferry/mirror/companions/fit-channeldata.js';
import { writeChannel } from '../../../fixtures/build/channel.mjs';
import { serveChannel } from '../../support/channel-server.js';
import { httpSource } from '../../support/stores.js';
import { tempFolder } from '../../support/temp.js';
import {
  channelFolder,
  conda,
  contextOf,
  errorsIn,
  jsonOf,
  memoryStore,
  outcomesOf,
  published,
  put,
  TAGS,
  withoutCompanions,
} from './channel-with-companions.js';
import { mirrorChannel } from '../../support/workers.js';

async function carryChannel(
  source: string | Parameters<typeof contextOf>[0],
  store: ChannelStore,
  input: Partial<ChannelCompanionsInput> = {},
): Promise<CarriedCompanions> {
  const carried = await carryChannelCompanions(
    { remembered: undefined, isListingChanged: true, ...input },
    contextOf(source, store),
  );
  await moveCompanions(store, carried.moves);
  return carried;
}

/** What a store lists, as a run that filters would read it. */
async function summaryOf(store: ChannelStore, subdirs: readonly string[]): Promise<PackageSummaries> {
  const summaries = new PackageSummaries();
  for (const subdir of subdirs) {
    const bytes = (await published(store, `${subdir}/repodata.json`)) ?? Buffer.alloc(0);
    await summarizeRepodata(await Repodata.read(openerOf(bytes), subdir), summaries);
  }
  return summaries;
}

describe.each([schemaV0, schemaV1])('metadata files of the channel in schema $id', (schema) => {
  test('cep38/location: channel data and notices are there byte for byte, under both tags', async () => {
    const folder = await channelFolder();
    const store = memoryStore(schema);
    await mirrorChannel({ source: withoutCompanions(folder), destination: store });
    const carried = await carryChannel(folder, store);
    expect(outcomesOf(carried)).toEqual({ 'channeldata.json': 'unchanged', 'notices.json': 'unchanged' });
    for (const file of ['channeldata.json', 'notices.json'] as const) {
      expect(JSON.parse(String(await published(store, file)))).toEqual(await jsonOf(folder, file));
      const tag = await store.metadataRepository('', file).resolve(TAGS[schema.id]);
      expect(tag?.digest).toBe(carried.companions[file]?.manifest);
    }
    expect(await errorsIn(store)).toEqual([]);
  });
});

test('a channel without them has none', async () => {
  const folder = await tempFolder();
  await writeChannel(folder, { noarch: [conda('aaa')] });
  const carried = await carryChannel(folder, memoryStore(schemaV0));
  expect(outcomesOf(carried)).toEqual({ 'channeldata.json': 'absent', 'notices.json': 'absent' });
});

describe('of a mirror that does not hold everything', () => {
  const OLD_MS = 1_600_000_000_000;

  /** A channel of which only a part is mirrored: `1.10` is newer than `1.9`, and its archive is lost. */
  async function filtered(): Promise<{ folder: string; store: ChannelStore }> {
    const folder = await tempFolder();
    const old = { timestamp: OLD_MS };
    const exporting = (version: string, index = {}) => ({
      ...conda('aaa', version, index),
      runExports: { weak: [`aaa ${version}`] },
    });
    const archives = [exporting('1.2', old), exporting('1.9', old), exporting('1.10'), conda('bbb')];
    const other = { ...conda('aaa', '1.9', { subdir: 'linux-64' }) };
    await writeChannel(
      folder,
      { noarch: archives, 'linux-64': [other] },
      { companions: true, newest: { aaa: '1.10' } },
    );
    await rm(join(folder, 'noarch', 'aaa-1.10-0.conda'));
    await rm(join(folder, 'noarch', 'bbb-1.0-0.conda'));
    const store = memoryStore(schemaV0);
    await mirrorChannel({ source: withoutCompanions(folder), destination: store, subdirs: ['noarch'] });
    return { folder, store };
  }

  test('channel data say what is listed, and what is the newest of that', async () => {
    const { folder, store } = await filtered();
    const subdirs = ['noarch'];
    const input = { filtered: { subdirs, packages: () => summaryOf(store, subdirs) } };
    const carried = await carryChannel(folder, store, input);
    expect(outcomesOf(carried)['channeldata.json']).toBe('spliced');
    const before = await jsonOf(folder, 'channeldata.json');
    const fitted = JSON.parse(String(await published(store, 'channeldata.json'))) as Record<string, object>;
    expect(fitted).toEqual({
      ...before,
      subdirs,
      packages: {
        aaa: {
          ...(before['packages']?.['aaa'] as object),
          subdirs,
          version: '1.9',
          timestamp: OLD_MS / 1000,
          run_exports: { '1.2': { weak: ['aaa 1.2'] }, '1.9': { weak: ['aaa 1.9'] } },
        },
      },
    });
    expect(await errorsIn(store)).toEqual([]);
    const again = await carryChannel(folder, store, { ...input, remembered: carried.companions });
    expect(again.moves).toEqual([]);
    expect(again.companions).toEqual(carried.companions);
  });

  test('is not read at all where neither the source nor the listing changed', async () => {
    const { folder, store } = await filtered();
    const subdirs = ['noarch'];
    const packages = () => summaryOf(store, subdirs);
    const first = await carryChannel(folder, store, { filtered: { subdirs, packages } });
    const second = await carryChannel(folder, store, {
      filtered: { subdirs, packages: () => Promise.reject(new Error('read')) },
      isListingChanged: false,
      remembered: first.companions,
    });
    expect(outcomesOf(second)).toEqual({ 'channeldata.json': 'kept', 'notices.json': 'absent' });
  });

  test.each(['{"packages":[]}', '[]', '{"packages":{}', '{"subdirs":["noarch"]}'])(
    'malformed channel data (%s) leave the last ones, with a warning',
    async (text) => {
      const folder = await channelFolder();
      const store = memoryStore(schemaV0);
      const input = {
        filtered: { subdirs: ['noarch'], packages: () => Promise.resolve(new PackageSummaries()) },
      };
      const first = await carryChannel(folder, store, input);
      await put(folder, 'channeldata.json', text);
      const second = await carryChannel(folder, store, { ...input, remembered: first.companions });
      expect(outcomesOf(second)['channeldata.json']).toBe('stale');
      expect(second.companions).toEqual(first.companions);
    },
  );
});

test('notices change without any package, and are asked for by what is remembered', async () => {
  const folder = await channelFolder();
  await using server = await serveChannel(folder);
  const store = memoryStore(schemaV0);
  const first = await carryChannel(httpSource(server.url), store);
  const later = { isListingChanged: false, remembered: first.companions };
  await carryChannel(httpSource(server.url), store, later);
  await put(folder, 'notices.json', {
    notices: [
      {
        id: '1',
        message: 'moving',
        level: 'info',
        created_at: '2026-01-01T00:00:00Z',
        expires_at: '2027-01-01T00:00:00Z',
      },
    ],
  });
  const third = await carryChannel(httpSource(server.url), store, later);
  // The server notes a request when its answer is gone, which may be after it has arrived.
  await expect.poll(() => server.requests.length).toBe(6);
  expect(server.requests.map(({ path, status }) => `${String(status)} ${path}`)).toEqual([
    '200 /channel/channeldata.json',
    '200 /channel/notices.json',
    '304 /channel/channeldata.json',
    '304 /channel/notices.json',
    '304 /channel/channeldata.json',
    '200 /channel/notices.json',
  ]);
  expect(outcomesOf(third)).toEqual({ 'channeldata.json': 'kept', 'notices.json': 'unchanged' });
  expect(JSON.parse(String(await published(store, 'notices.json')))).toEqual(
    await jsonOf(folder, 'notices.json'),
  );
});

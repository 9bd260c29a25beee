import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { condaPackage } from '../../fixtures/build/archive.mjs';
import { repodataOf, writeChannel } from '../../fixtures/build/channel.mjs';
import { serveChannel } from '../support/channel-server.js';
import { FIXTURE_CHANNEL } from '../support/channels.js';
import { httpSource } from '../support/stores.js';
import { tempFolder } from '../support/temp.js';
import { checkFolder } from './checked-channel.js';

const archive = condaPackage({
  name: 'foo',
  version: '1.0',
  build: '0',
  subdir: 'noarch',
  index: { noarch: 'generic' },
  runExports: { weak: ['foo'] },
});

let channel: string;
beforeEach(async () => {
  channel = await tempFolder();
  await writeChannel(channel, { noarch: [archive] }, { companions: true });
});

async function found(): Promise<readonly string[]> {
  return (await checkFolder(channel)).clauses;
}

test('cep36/listed-there: the fixture channel has no errors', async () => {
  const { findings, unchecked } = await checkFolder(FIXTURE_CHANNEL);
  expect(findings.filter(({ severity }) => severity === 'error')).toEqual([]);
  expect(unchecked).toEqual([]);
});

describe('the place of a file', () => {
  test.each([
    ['cep38/location', 'channeldata.json', 'noarch/channeldata.json'],
    ['cep6/location', 'notices.json', 'noarch/notices.json'],
    ['cep12/beside-repodata', 'noarch/run_exports.json', 'run_exports.json'],
  ])('%s: %s is not looked for at %s', async (clause, right, wrong) => {
    if (clause === 'cep6/location') await writeFile(join(channel, right), '{"notices":[]}');
    expect(await found()).toEqual([]);
    await rename(join(channel, right), join(channel, wrong));
    expect(await found()).toEqual([clause]);
  });

  test('cep38/location: a copy elsewhere does no harm', async () => {
    await writeFile(join(channel, 'noarch/channeldata.json'), 'none');
    expect(await found()).toEqual([]);
  });
});

describe('the compressed form', () => {
  test('cep36/zst-name: is zstd, as its name says, whether the plain one is there or not', async () => {
    await writeFile(join(channel, 'noarch/repodata.json.zst'), 'none');
    expect(await found()).toEqual(['cep36/zst-name']);
    await mkdir(join(channel, 'linux-64'));
    await writeFile(join(channel, 'linux-64/repodata.json.zst'), 'none');
    // The subdir is there, though what it has cannot be read.
    expect(await found()).toEqual(['cep36/zst-name', 'cep36/zst-name', 'cep38/subdirs-complete']);
  });

  test('cep36/zst-same-bytes: expands to the file', async () => {
    const other = await readFile(join(FIXTURE_CHANNEL, 'noarch/repodata.json.zst'));
    await writeFile(join(channel, 'noarch/repodata.json.zst'), other);
    expect(await found()).toEqual(['cep36/zst-same-bytes']);
  });
});

test.each(['current_repodata.json', 'repodata_from_packages.json'])(
  'cep36/variant-schema: %s is judged as repodata is',
  async (variant) => {
    const repodata = repodataOf('noarch', [archive]);
    await writeFile(join(channel, 'noarch', variant), JSON.stringify(repodata));
    expect(await found()).toEqual([]);
    const { size: _, ...record } = repodata['packages.conda'][archive.filename]!;
    const bent = { ...repodata, 'packages.conda': { [archive.filename]: record } };
    await writeFile(join(channel, 'noarch', variant), JSON.stringify(bent));
    expect(await found()).toEqual(['cep36/record-size']);
  },
);

test('cep12/equals-archive: run exports are held against the archive, and a difference is noted', async () => {
  const file = join(channel, 'noarch/run_exports.json');
  const text = await readFile(file, 'utf8');
  await writeFile(file, text.replace('"foo"', '"bar"'));
  const { findings } = await checkFolder(channel);
  expect(findings.map(({ clause }) => clause)).toContain('cep12/equals-archive');
});

test('cep15/download-url: archives are read from where `base_url` says', async () => {
  const elsewhere = await tempFolder();
  await writeChannel(elsewhere, { noarch: [archive] });
  await using archives = await serveChannel(elsewhere);
  const repodata = repodataOf('noarch', [archive]);
  const info = { ...repodata.info, base_url: `${archives.url}/noarch` };
  await rm(join(channel, 'noarch'), { recursive: true });
  await mkdir(join(channel, 'noarch'));
  const text = JSON.stringify({ ...repodata, info, repodata_version: 2 });
  await writeFile(join(channel, 'noarch/repodata.json'), text);
  await using server = await serveChannel(channel);
  const { clauses, unchecked } = await checkFolder(httpSource(server.url), { subdirs: ['noarch'] });
  expect(clauses).toEqual(['cep36/compressed']);
  expect(unchecked).toEqual([]);
  expect(archives.requests.map(({ path }) => path)).toContain(`/channel/noarch/${archive.filename}`);
});

import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import { parseLockFile } from '#ferry/provenance/lock-files/parse-lock-file.js';
import { condaPackage, tarBz2Package } from '../../../fixtures/build/archive.mjs';
import { hexDigest, incompressible } from '../../../fixtures/build/bytes.mjs';
import { MALFORMED_CHANNEL } from '../../support/channels.js';
import { rejection } from '../../contracts/artifacts.js';
import { tempFolder } from '../../support/temp.js';
import { channelOf, names, pkg, pull, sha256 } from './scene.js';

const FORGE = 'https://conda.anaconda.org/t/secret/forge';

async function recordOf(folder: string, name: string): Promise<Record<string, unknown>> {
  const text = await readFile(join(folder, name, 'info', 'repodata_record.json'), 'utf8');
  return JSON.parse(text) as Record<string, unknown>;
}

test('an archive is unpacked beside itself, with the record of the repodata and where it came from', async () => {
  const a = pkg('a', { index: { noarch: 'generic', license: 'MIT' } });
  const source = await channelOf({ noarch: [{ ...a, record: { depends: ['patched >=1'] } }] });
  const folder = await tempFolder();
  const { done } = await pull(source, { folder, specs: ['a'], extract: true });
  expect(done).toMatchObject([{ unpacked: join(folder, 'a-1-0'), status: 'fetched' }]);
  expect(await names(folder)).toEqual(['a-1-0', 'a-1-0.conda', 'urls.txt']);
  expect(await readFile(join(folder, 'a-1-0', 'share', 'a'))).toEqual(Buffer.from(incompressible(8000)));
  const record = await recordOf(folder, 'a-1-0');
  expect(record).toMatchObject({
    ...{ name: 'a', version: '1', build: '0', build_number: 0, license: 'MIT', noarch: 'generic' },
    ...{ depends: ['patched >=1'], sha256: sha256(a.bytes), md5: hexDigest('md5', a.bytes) },
    ...{ size: a.bytes.length, subdir: 'noarch', fn: 'a-1-0.conda' },
    ...{ channel: `${source.url}/noarch`, url: `${source.url}/noarch/a-1-0.conda` },
  });
  expect(Object.keys(record)).toEqual(Object.keys(record).sort());
  expect(await readFile(join(folder, 'urls.txt'), 'utf8')).toBe(`${source.url}/noarch/a-1-0.conda\n`);
});

test('what is unpacked is not unpacked again; an archive that was pulled before is', async () => {
  const source = await channelOf({ noarch: [pkg('a')] });
  const folder = await tempFolder();
  await pull(source, { folder, specs: ['a'] });
  const again = (): ReturnType<typeof pull> => pull(source, { folder, specs: ['a'], extract: true });
  expect(await again()).toMatchObject({ done: [{ status: 'there', unpacked: join(folder, 'a-1-0') }] });
  await writeFile(join(folder, 'a-1-0', 'mark'), '');
  expect(await again()).toMatchObject({ done: [{ status: 'there', unpacked: join(folder, 'a-1-0') }] });
  expect(await names(join(folder, 'a-1-0'))).toContain('mark');
});

test('something else of the name of the unpacked package is let be', async () => {
  const source = await channelOf({ noarch: [pkg('a'), pkg('b')] });
  for (const make of [
    async (path: string) => mkdir(path),
    async (path: string) => writeFile(path, 'a file'),
    async (path: string) => symlink('elsewhere', path),
    async (path: string) => {
      await mkdir(join(path, 'info'), { recursive: true });
      await writeFile(join(path, 'info', 'repodata_record.json'), `{"sha256":"${'0'.repeat(64)}"}`);
    },
    async (path: string) => {
      await mkdir(join(path, 'info'), { recursive: true });
      await writeFile(join(path, 'info', 'repodata_record.json'), 'null');
    },
  ]) {
    const folder = await tempFolder();
    await make(join(folder, 'a-1-0'));
    const { done, failed } = await pull(source, { folder, specs: ['*'], extract: true });
    expect(failed).toMatchObject([{ filename: 'a-1-0.conda', error: { code: 'ARCHIVE_EXISTS' } }]);
    expect(done).toMatchObject([{ filename: 'b-1-0.conda' }]);
    expect(await names(folder)).toEqual(['a-1-0', 'b-1-0', 'b-1-0.conda', 'urls.txt']);
  }
});

test('of a locked package the record names the place that the lock names, without its token', async () => {
  const [a, b] = [pkg('a'), pkg('b')];
  const source = await channelOf({ noarch: [a, { ...b, removed: true }] });
  const lines = [a, b].map(({ filename, bytes }) => `${FORGE}/noarch/${filename}#sha256:${sha256(bytes)}`);
  const lock = await parseLockFile('lock', ['@EXPLICIT', ...lines].join('\n'));
  const folder = await tempFolder();
  await pull(source, { folder, lock, extract: true });
  for (const [name, { bytes }] of [
    ['a', a],
    ['b', b],
  ] as const)
    expect(await recordOf(folder, `${name}-1-0`)).toMatchObject({
      ...{ name, size: bytes.length, sha256: sha256(bytes), noarch: 'generic' },
      channel: 'https://conda.anaconda.org/forge/noarch',
      url: `https://conda.anaconda.org/forge/noarch/${name}-1-0.conda`,
    });
  const other = await tempFolder();
  const channelUrl = 'https://mirror.example/forge/';
  await pull(source, { folder: other, lock, extract: true, channelUrl });
  expect(await recordOf(other, 'a-1-0')).toMatchObject({
    channel: 'https://mirror.example/forge/noarch',
    url: 'https://mirror.example/forge/noarch/a-1-0.conda',
  });
});

test('of twins the .conda is unpacked; two of one name are refused', async () => {
  const spec = { name: 'a', version: '1', build: '0', subdir: 'noarch' };
  const twins = [condaPackage(spec), tarBz2Package(spec)];
  const source = await channelOf({ noarch: twins });
  const folder = await tempFolder();
  await pull(source, { folder, specs: ['a'], extract: true });
  expect(await names(folder)).toEqual(['a-1-0', 'a-1-0.conda', 'urls.txt']);
  const old = await tempFolder();
  await pull(source, { folder: old, specs: ['a-1-0.tar.bz2'], extract: true });
  expect(await names(old)).toEqual(['a-1-0', 'a-1-0.tar.bz2', 'urls.txt']);
  const elsewhere = tarBz2Package({ ...spec, subdir: 'linux-64' });
  const both = await channelOf({ noarch: [twins[0]!], 'linux-64': [elsewhere] });
  const pulling = pull(both, { folder: await tempFolder(), specs: ['a'], extract: true });
  expect(await rejection(pulling)).toMatchObject({ code: 'USAGE' });
});

test('an archive that cannot be unpacked leaves nothing, and the rest is unpacked', async () => {
  const source = new DirectoryChannel(MALFORMED_CHANNEL);
  const expected = JSON.parse(await readFile(join(MALFORMED_CHANNEL, 'expected.json'), 'utf8')) as Record<
    string,
    { readonly code: string }
  >;
  for (const subdir of ['linux-64', 'noarch']) {
    const folder = await tempFolder();
    const specs = ['*'];
    const { done, failed } = await pull(source, { folder, specs, subdirs: [subdir], extract: true });
    const codes = Object.fromEntries(failed.map(({ filename, error }) => [filename, error.code]));
    for (const [path, { code }] of Object.entries(expected)) {
      const filename = path.slice(subdir.length + 1);
      // Of twins only the `.conda` is looked at, and what is in the wrong place has the wrong record.
      if (path.startsWith(`${subdir}/`) && filename in codes) expect(codes[filename], path).toBe(code);
    }
    expect(failed.length).toBeGreaterThan(10);
    const kept = done.flatMap(({ filename }) => [filename, filename.replace(/\.(?:conda|tar\.bz2)$/, '')]);
    expect(await names(folder)).toEqual([...kept, 'urls.txt'].sort());
  }
});

import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { writeInfoLayer } from '#ferry/artifact/info-layer.js';
import { readInfo } from '#ferry/conda/archive/read-info.js';
import type { Bytes } from '#ferry/io/bytes.js';
import { openerOf } from '#ferry/io/bytes.js';
import { readIndexedInfo, readIndexedLayer } from '#ferry/publish/indexed-info.js';
import { condaArchive, tarBz2Archive, type PackageSpec } from '../../fixtures/build/archive.mjs';

const SPEC: PackageSpec = {
  name: 'ferry',
  version: '1.0',
  build: '0',
  subdir: 'linux-64',
  about: { summary: 'A ferry' },
  runExports: { weak: ['ferry >=1.0'] },
  payloadFiles: { 'etc/conda/activate.d/ferry.sh': 'true\n', 'bin/.ferry-post-link.sh': 'true\n' },
  infoFiles: {
    'info/recipe/meta.yaml': 'source:\n  url: https://ferry.example/1.tar.gz\n  git_url: {a: b}\n',
  },
};
const infoWith = (path: string, content: string | Uint8Array): PackageSpec => ({
  ...SPEC,
  infoFiles: { [path]: content },
});
const read = (spec: PackageSpec) => readIndexedInfo({ bytes: condaArchive(spec) }, 'conda');

describe('what an indexer reads of an archive', () => {
  test.each([
    ['conda', condaArchive(SPEC)],
    ['tar.bz2', tarBz2Archive(SPEC)],
  ] as const)('is in a .%s', async (extension, bytes) => {
    const { indexJson, innerStem, ...info } = await readIndexedInfo({ bytes }, extension);
    expect(JSON.parse(Buffer.from(indexJson).toString())).toMatchObject({ name: 'ferry' });
    expect(innerStem).toBe(extension === 'conda' ? 'ferry-1.0-0' : undefined);
    expect(info).toMatchObject({
      about: { summary: 'A ferry' },
      runExports: { weak: ['ferry >=1.0'] },
      source: { url: 'https://ferry.example/1.tar.gz' },
      flags: { 'activate.d': true, post_link: true, pre_link: false },
    });
    expect(info.source).not.toHaveProperty('git_url');
  });

  test('is the same in the info layer of its artifact', async () => {
    const bytes = condaArchive(SPEC);
    const { about, runExports, source, flags } = await readIndexedInfo({ bytes }, 'conda');
    const layer = writeInfoLayer((await readInfo({ bytes }, 'conda')).members);
    expect(await readIndexedLayer(openerOf(layer)(), layer.byteLength)).toEqual({
      about,
      runExports,
      source,
      flags,
    });
  });

  test.each([
    ['about.json', infoWith('info/about.json', '[')],
    ['about.json that nobody can read', infoWith('info/about.json', '{"summary":"\\ud800"}')],
  ])('leaves out %s where that is no JSON', async (_what, spec) => {
    const { about: _about, ...rest } = spec;
    expect((await read(rest)).flags['activate.d']).toBe(true);
  });

  test('has no run exports where these are no JSON, and weak ones where they are a list', async () => {
    const { runExports: _runExports, ...rest } = SPEC;
    const withRunExports = async (text: string) =>
      (await read({ ...rest, infoFiles: { 'info/run_exports.json': text } })).runExports;
    expect(await withRunExports('{')).toEqual({});
    expect(await withRunExports('["ferry"]')).toEqual({ weak: ['ferry'] });
  });

  test.each([
    ['a list of sources', 'source:\n  - url: x\n'],
    ['no YAML', '{{{ jinja }}\n\t- ['],
    [
      'aliases without end',
      `a: &a [x]\n${'bcdefghijk'.replace(/./g, (key) => `${key}: &${key} [*${String.fromCharCode(key.charCodeAt(0) - 1)},*${String.fromCharCode(key.charCodeAt(0) - 1)},*${String.fromCharCode(key.charCodeAt(0) - 1)}]\n`)}source: {url: *k}\n`,
    ],
  ])('has no source where the recipe has %s', async (_what, recipe) => {
    expect((await read(infoWith('info/recipe/meta.yaml', recipe))).source).toEqual({});
  });

  test('has the flags of a package without paths.json', async () => {
    const spec: PackageSpec = {
      ...SPEC,
      infoFiles: { 'info/files': 'bin/.ferry-pre-unlink.sh\n', 'info/has_prefix': 'bin/ferry\n' },
      arrange: (members) => members.filter(({ path }) => path !== 'info/paths.json'),
    };
    expect((await read(spec)).flags).toMatchObject({
      pre_unlink: true,
      text_prefix: true,
      binary_prefix: false,
    });
  });
});

describe('an info layer', () => {
  const layer = writeInfoLayer([
    { path: 'about.json', type: 'file', mode: 0o644, bytes: Buffer.alloc(4096, 'x') },
  ]);

  test.each([
    ['is cut', layer.subarray(0, -20)],
    ['is no gzip', Buffer.from('nothing of the kind')],
    ['has a wrong checksum', Buffer.concat([layer.subarray(0, -8), Buffer.alloc(8)])],
  ])('that %s is refused', async (_what, bytes) => {
    await expect(readIndexedLayer(openerOf(bytes)(), bytes.byteLength)).rejects.toMatchObject({
      code: 'ARCHIVE_CORRUPT',
    });
  });

  test('that unpacks to far more than it has is refused', async () => {
    const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024));
    await expect(readIndexedLayer(openerOf(bomb)(), bomb.byteLength / 32)).rejects.toMatchObject({
      code: 'ARCHIVE_LIMIT_EXCEEDED',
    });
  });

  test('fails with what its source failed with', async () => {
    const broken = async function* (): Bytes {
      yield layer.subarray(0, 30);
      throw new Error('the wire broke');
    };
    await expect(readIndexedLayer(broken(), layer.byteLength)).rejects.toThrow('the wire broke');
  });
});

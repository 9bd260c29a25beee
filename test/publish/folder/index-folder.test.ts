import { randomUUID } from 'node:crypto';
import {
  copyFile,
  cp,
  mkdir,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readShard, readShardIndex } from '#ferry/conda/shards/read-shards.js';
import { digestOf } from '#ferry/io/digest.js';
import { acquireDirectoryLock } from '#ferry/io/directory-lock.js';
import { decompressZstd } from '#ferry/io/zstd.js';
import { indexFolder, type IndexFolderOptions } from '#ferry/publish/folder/index-folder.js';
import { condaArchive, tarBz2Archive, type PackageSpec } from '../../../fixtures/build/archive.mjs';
import { FIXTURE_CHANNEL, MALFORMED_CHANNEL } from '../../support/channels.js';
import { tempFolder } from '../../support/temp.js';

/** An hour from now: what tests have just written counts as settled. */
const LATER_MS = Date.now() + 3_600_000;

type Document = Readonly<Record<string, Readonly<Record<string, Readonly<Record<string, unknown>>>>>>;

const spec = (name: string, more: Partial<PackageSpec> = {}): PackageSpec => ({
  name,
  version: '1',
  build: '0',
  subdir: 'noarch',
  ...more,
});

/** A channel with these archives in `noarch`. */
async function channelOf(...specs: readonly PackageSpec[]): Promise<string> {
  const folder = await tempFolder();
  for (const each of specs) await put(folder, each);
  return folder;
}

async function put(
  folder: string,
  each: PackageSpec,
  extension: 'conda' | 'tar.bz2' = 'conda',
): Promise<string> {
  await mkdir(join(folder, each.subdir), { recursive: true });
  const path = join(folder, each.subdir, `${each.name}-${each.version}-${each.build}.${extension}`);
  await writeFile(path, extension === 'conda' ? condaArchive(each) : tarBz2Archive(each));
  return path;
}

const index = (folder: string, options: Partial<IndexFolderOptions> = {}) =>
  indexFolder({ folder, now: () => new Date(LATER_MS), ...options });

async function json(folder: string, path: string): Promise<Document> {
  return JSON.parse(await readFile(join(folder, path), 'utf8')) as Document;
}

/** Every file of a folder but archives, with its bytes and its time. */
async function filesOf(folder: string): Promise<ReadonlyMap<string, string>> {
  const names = await readdir(folder, { recursive: true });
  const files = new Map<string, string>();
  for (const name of names.sort()) {
    const path = join(folder, name);
    const found = await stat(path);
    if (!found.isFile()) continue;
    files.set(name, `${digestOf(await readFile(path))} ${found.mtimeMs}`);
  }
  return files;
}

describe('indexing a folder', () => {
  test('makes all files of a channel, plain and compressed', async () => {
    const folder = await channelOf(spec('a'), spec('b', { runExports: { weak: ['b'] } }));
    const report = await index(folder);
    expect(report).toEqual({
      channel: folder,
      subdirs: [
        {
          subdir: 'noarch',
          records: 2,
          added: 2,
          gone: 0,
          removed: 0,
          read: 2,
          changed: true,
          failed: [],
          warnings: [],
        },
      ],
    });
    const plain = [
      'current_repodata.json',
      'repodata.json',
      'repodata_from_packages.json',
      'run_exports.json',
    ];
    expect((await readdir(join(folder, 'noarch'))).filter((name) => !name.endsWith('.conda')).sort()).toEqual(
      [...plain, ...plain.map((name) => `${name}.zst`), 'repodata_shards.msgpack.zst', 'shards'].sort(),
    );
    for (const name of plain) {
      const bytes = await readFile(join(folder, 'noarch', name));
      const zst = await readFile(join(folder, 'noarch', `${name}.zst`));
      expect(bytes.equals(await decompressZstd(zst, 1e6, 'it'))).toBe(true);
    }
    expect(await json(folder, 'noarch/repodata.json')).toMatchObject({
      info: { subdir: 'noarch' },
      packages: {},
      'packages.conda': {
        'a-1-0.conda': { name: 'a', indexed_timestamp: LATER_MS, size: expect.any(Number) as number },
        'b-1-0.conda': { name: 'b', indexed_timestamp: LATER_MS },
      },
      removed: [],
      repodata_version: 1,
    });
    expect(await json(folder, 'noarch/run_exports.json')).toEqual({
      info: { subdir: 'noarch', version: 1 },
      packages: {},
      'packages.conda': {
        'a-1-0.conda': { run_exports: {} },
        'b-1-0.conda': { run_exports: { weak: ['b'] } },
      },
    });
    expect(Object.keys((await json(folder, 'channeldata.json'))['packages']!)).toEqual(['a', 'b']);
  });

  test('writes shards with run exports, whose index tells when the newest archive came', async () => {
    const folder = await channelOf(spec('b', { runExports: { strong: ['b'] } }));
    await index(folder);
    const bytes = await readFile(join(folder, 'noarch', 'repodata_shards.msgpack.zst'));
    const shards = await readShardIndex(bytes, 'noarch', 'it');
    expect(shards.info).toEqual({
      subdir: 'noarch',
      base_url: '',
      shards_base_url: './shards/',
      created_at: new Date(LATER_MS).toISOString(),
    });
    const digest = shards.shards.get('b')!;
    const shard = await readFile(join(folder, 'noarch', 'shards', `${digest.slice(7)}.msgpack.zst`));
    const content = await readShard(shard, { name: 'b', digest });
    expect(content['packages.conda'].get('b-1-0.conda')).toMatchObject({ run_exports: { strong: ['b'] } });
  });

  test('changes no byte when it is done again, and reads no archive again', async () => {
    const folder = await tempFolder();
    await cp(FIXTURE_CHANNEL, folder, { recursive: true });
    await index(folder);
    const before = await filesOf(folder);
    const { subdirs } = await index(folder, { now: () => new Date(LATER_MS + 1e9) });
    expect(subdirs.map(({ read, changed, added, gone }) => [read, changed, added, gone])).toEqual(
      subdirs.map(() => [0, false, 0, 0]),
    );
    expect(await filesOf(folder)).toEqual(before);
  });

  test('makes the same bytes of the same archives without what it remembers', async () => {
    const [one, two] = [await tempFolder(), await tempFolder()];
    for (const folder of [one, two]) {
      for (const subdir of ['noarch', 'linux-64', 'osx-arm64']) {
        await mkdir(join(folder, subdir));
        for (const name of await readdir(join(FIXTURE_CHANNEL, subdir)))
          if (/\.(?:conda|tar\.bz2)$/.test(name))
            await copyFile(join(FIXTURE_CHANNEL, subdir, name), join(folder, subdir, name));
      }
      await index(folder);
    }
    await rm(join(two, '.conda-ferry'), { recursive: true });
    await index(two, { now: () => new Date(LATER_MS + 5e9) });
    const published = async (folder: string) =>
      [...(await filesOf(folder))]
        .filter(([name]) => !name.startsWith('.conda-ferry'))
        .map(([name, state]) => [name, state.split(' ')[0]]);
    expect(await published(one)).toEqual(await published(two));
  });

  test('reads an archive again when its bytes changed, whatever time and size say', async () => {
    const folder = await channelOf(spec('a', { index: { license: 'AAA' } }), spec('b'));
    const path = join(folder, 'noarch', 'a-1-0.conda');
    const { mtime, size } = await stat(path);
    await index(folder);
    const changed = condaArchive(spec('a', { index: { license: 'BBB' } }));
    await writeFile(path, changed);
    await utimes(path, mtime, mtime);
    const { subdirs } = await index(folder, { now: () => new Date(LATER_MS + 1000) });
    expect(subdirs[0]).toMatchObject({ read: 1, changed: true });
    const repodata = await json(folder, 'noarch/repodata.json');
    expect(repodata['packages.conda']!['a-1-0.conda']).toMatchObject({
      license: 'BBB',
      indexed_timestamp: LATER_MS + 1000,
    });
    expect(repodata['packages.conda']!['b-1-0.conda']).toMatchObject({ indexed_timestamp: LATER_MS });
    expect(Math.abs(changed.byteLength - size)).toBeLessThan(8);
  });

  test('reads again what was touched just now, since it may be touched again', async () => {
    const folder = await channelOf(spec('a'));
    await index(folder, { now: () => new Date() });
    const { subdirs } = await index(folder);
    expect(subdirs[0]).toMatchObject({ read: 1, changed: false });
  });

  test('does without a cache that cannot be read', async () => {
    const folder = await channelOf(spec('a'));
    await index(folder);
    const before = await filesOf(join(folder, 'noarch'));
    const cache = join(folder, '.conda-ferry', 'index', 'noarch.jsonl');
    const text = await readFile(cache, 'utf8');
    for (const broken of [
      '',
      'nothing\n',
      '{"index_cache":0}\n{}\n',
      text.slice(0, -9),
      text.replace('"about"', '"abut"'),
    ]) {
      await writeFile(cache, broken);
      expect((await index(folder)).subdirs[0]).toMatchObject({ read: 1, changed: false });
      expect(await readFile(cache, 'utf8')).toBe(text);
    }
    expect(await filesOf(join(folder, 'noarch'))).toEqual(before);
  });

  test('keeps what a server said of the same bytes, and gives records that were listed without a time none', async () => {
    const folder = await channelOf(spec('a'), spec('b'), spec('c'));
    await index(folder);
    const path = join(folder, 'noarch', 'repodata.json');
    const repodata = await json(folder, 'noarch/repodata.json');
    const records = repodata['packages.conda']!;
    const { indexed_timestamp: _gone, ...untimed } = records['b-1-0.conda']!;
    const changed = {
      'a-1-0.conda': { ...records['a-1-0.conda'], indexed_timestamp: 5, attestations_sha256: 'f'.repeat(64) },
      'b-1-0.conda': untimed,
    };
    const info = { subdir: 'noarch', channel_relations: { base: '../x' } };
    await writeFile(path, JSON.stringify({ ...repodata, info, 'packages.conda': changed }));
    await rm(join(folder, 'noarch', 'repodata_from_packages.json'));
    await index(folder, { now: () => new Date(LATER_MS + 7) });
    const after = await json(folder, 'noarch/repodata.json');
    expect(after['packages.conda']).toMatchObject({
      'a-1-0.conda': { indexed_timestamp: 5, attestations_sha256: 'f'.repeat(64) },
      'c-1-0.conda': { indexed_timestamp: LATER_MS + 7 },
    });
    expect(after['packages.conda']!['b-1-0.conda']).not.toHaveProperty('indexed_timestamp');
    expect(after['info']).toEqual(info);
  });

  test('applies patches to what clients read, keeps them, and leaves the unpatched as it was', async () => {
    const folder = await channelOf(spec('a'), spec('b', { runExports: { weak: ['b'] } }));
    await index(folder);
    const unpatched = await json(folder, 'noarch/repodata_from_packages.json');
    const instructions = {
      patch_instructions_version: 2,
      packages: { 'a-1-0.tar.bz2': { depends: ['patched'] }, 'x-1-0.tar.bz2': {} },
      'packages.conda': { 'b-1-0.conda': { run_exports: { weak: ['patched'] } } },
      remove: ['b-1-0.conda'],
    };
    const { subdirs } = await index(folder, { patches: () => instructions });
    expect(subdirs[0]).toMatchObject({ records: 1, gone: 1, removed: 1, changed: true });
    const patched = await json(folder, 'noarch/repodata.json');
    expect(patched).toMatchObject({
      'packages.conda': { 'a-1-0.conda': { depends: ['patched'], indexed_timestamp: LATER_MS } },
      removed: ['b-1-0.conda'],
    });
    expect(await json(folder, 'noarch/repodata_from_packages.json')).toEqual(unpatched);
    expect((await json(folder, 'noarch/run_exports.json'))['packages.conda']).toEqual({
      'a-1-0.conda': { run_exports: {} },
      'b-1-0.conda': { run_exports: { weak: ['patched'] } },
    });
    expect(await json(folder, 'noarch/patch_instructions.json')).toEqual(instructions);
    expect(Object.keys((await json(folder, 'channeldata.json'))['packages']!)).toEqual(['a']);

    const before = await filesOf(folder);
    await index(folder);
    expect(await filesOf(folder)).toEqual(before);

    // What patches removed comes back with the patches gone.
    await index(folder, { patches: () => ({ patch_instructions_version: 1 }) });
    expect((await json(folder, 'noarch/repodata.json'))['packages.conda']).toEqual(
      unpatched['packages.conda'],
    );
  });

  test('lists nothing again that somebody withdrew', async () => {
    const folder = await channelOf(spec('a'), spec('b'));
    await index(folder);
    const repodata = await json(folder, 'noarch/repodata.json');
    const { 'a-1-0.conda': _withdrawn, ...rest } = repodata['packages.conda']!;
    await writeFile(
      join(folder, 'noarch', 'repodata.json'),
      JSON.stringify({ ...repodata, 'packages.conda': rest, removed: ['a-1-0.conda'] }),
    );
    for (const patches of [undefined, () => ({ remove: ['b-1-0.conda'] }), () => ({})]) {
      await index(folder, { patches });
      const after = await json(folder, 'noarch/repodata.json');
      expect(after['removed']).toContain('a-1-0.conda');
      expect(after['packages.conda']).not.toHaveProperty('a-1-0.conda');
    }
    expect((await json(folder, 'noarch/repodata.json'))['packages.conda']).toHaveProperty('b-1-0.conda');
    expect((await json(folder, 'noarch/repodata_from_packages.json'))['packages.conda']).toHaveProperty(
      'a-1-0.conda',
    );
  });

  test('leaves out what cannot be read or lies in the wrong place, and says why', async () => {
    const folder = await channelOf(spec('a'), spec('odd', { index: { x: { a: '\ud800' } } }));
    await writeFile(join(folder, 'noarch', 'broken-1-0.conda'), 'nothing');
    await writeFile(join(folder, 'noarch', 'noname.conda'), 'nothing');
    await writeFile(
      join(folder, 'noarch', 'elsewhere-1-0.conda'),
      condaArchive(spec('elsewhere', { subdir: 'linux-64' })),
    );
    await writeFile(join(folder, 'noarch', 'other-1-0.conda'), condaArchive(spec('another')));
    await mkdir(join(folder, 'noarch', 'folder-1-0.conda'));
    await symlink('nowhere', join(folder, 'noarch', 'dangling-1-0.conda'));
    const { subdirs } = await index(folder);
    expect(subdirs[0]?.failed.map(({ filename, code }) => [filename, code])).toEqual([
      ['broken-1-0.conda', 'ARCHIVE_NOT_CONDA'],
      ['dangling-1-0.conda', 'SOURCE_UNREADABLE'],
      ['elsewhere-1-0.conda', 'ARCHIVE_SUBDIR_MISMATCH'],
      ['folder-1-0.conda', 'SOURCE_UNREADABLE'],
      ['noname.conda', 'RECORD_INVALID'],
      ['odd-1-0.conda', 'ARCHIVE_INDEX_INVALID'],
      ['other-1-0.conda', 'ARCHIVE_INDEX_MISMATCH'],
    ]);
    expect(subdirs[0]).toMatchObject({ records: 1 });
  });

  test('lists the good ones among all the bad archives there are, and those that repodata alone was wrong about', async () => {
    const folder = await tempFolder();
    await cp(MALFORMED_CHANNEL, folder, { recursive: true });
    const { subdirs } = await index(folder);
    const listed = await Promise.all(
      subdirs.map(async ({ subdir }) =>
        Object.keys((await json(folder, `${subdir}/repodata.json`))['packages.conda']!),
      ),
    );
    expect(listed.flat().filter((name) => !/^(?:good|half-good|wrong-digest)-/.test(name))).toEqual([]);
    expect(subdirs.every(({ failed }) => failed.length > 0)).toBe(true);
  });

  test('warns of archives from the future', async () => {
    const folder = await channelOf(spec('a', { index: { timestamp: LATER_MS + 60_000 } }));
    expect((await index(folder)).subdirs[0]?.warnings).toEqual([
      '`a-1-0.conda` says that it was built in the future',
    ]);
    expect((await index(folder)).subdirs[0]?.warnings).toEqual([]);
  });

  test('takes archives out that are gone, and old shards after a week', async () => {
    const folder = await channelOf(spec('a'), spec('b'));
    await index(folder);
    await rm(join(folder, 'noarch', 'a-1-0.conda'));
    expect((await index(folder)).subdirs[0]).toMatchObject({ records: 1, gone: 1, changed: true });
    expect(await readdir(join(folder, 'noarch', 'shards'))).toHaveLength(2);
    await index(folder, { now: () => new Date(LATER_MS + 8 * 24 * 3_600_000) });
    expect(await readdir(join(folder, 'noarch', 'shards'))).toHaveLength(1);
  });

  test('makes noarch, takes symlinked archives, and passes over other folders and hidden files', async () => {
    const folder = await channelOf(spec('a', { subdir: 'linux-64' }));
    await symlink('a-1-0.conda', join(folder, 'linux-64', 'b-1-0.conda')).catch(() => undefined);
    await writeFile(join(folder, 'linux-64', '.tmp-a-1-0.conda'), 'unfinished');
    await mkdir(join(folder, 'my-docs'));
    await mkdir(join(folder, 'osx-64'));
    const { subdirs } = await index(folder);
    expect(subdirs.map(({ subdir, records }) => [subdir, records])).toEqual([
      ['linux-64', 1],
      ['noarch', 0],
    ]);
    expect(subdirs[0]?.failed).toMatchObject([{ filename: 'b-1-0.conda', code: 'ARCHIVE_INDEX_MISMATCH' }]);
    expect(await json(folder, 'noarch/repodata.json')).toMatchObject({ packages: {}, 'packages.conda': {} });
  });

  test('of some subdirs only leaves the others, and describes all of them', async () => {
    const folder = await channelOf(spec('a'), spec('b', { subdir: 'linux-64' }));
    await index(folder);
    await put(folder, spec('c', { subdir: 'linux-64' }));
    await put(folder, spec('d'));
    const { subdirs } = await index(folder, { subdirs: ['noarch'] });
    expect(subdirs.map(({ subdir }) => subdir)).toEqual(['noarch']);
    expect((await json(folder, 'linux-64/repodata.json'))['packages.conda']).not.toHaveProperty(
      'c-1-0.conda',
    );
    expect(await json(folder, 'channeldata.json')).toMatchObject({
      subdirs: ['linux-64', 'noarch'],
      packages: { a: {}, b: { subdirs: ['linux-64'], summary: expect.any(String) as string }, d: {} },
    });
    expect((await json(folder, 'channeldata.json'))['packages']).not.toHaveProperty('c');
  });

  test('waits for another run, and gives up in the end', async () => {
    const folder = await channelOf(spec('a'));
    await using held = await acquireDirectoryLock(join(folder, '.conda-ferry-export.lock'));
    await expect(index(folder, { lockTimeoutMs: 20 })).rejects.toMatchObject({ code: 'LOCK_TIMEOUT' });
    const waiting = index(folder);
    await held[Symbol.asyncDispose]();
    expect((await waiting).subdirs).toHaveLength(1);
  });

  test('two at once make what one makes', async () => {
    const folder = await channelOf(spec('a'), spec('b'));
    await Promise.all([index(folder), index(folder), index(folder)]);
    const before = await filesOf(folder);
    await index(folder);
    expect(await filesOf(folder)).toEqual(before);
  });

  test('refuses what is no channel, and a mirror', async () => {
    const folder = await channelOf(spec('a'));
    await expect(index(join(folder, 'none'))).rejects.toMatchObject({ code: 'CHANNEL_NOT_FOUND' });
    await expect(index(join(folder, 'noarch'))).rejects.toMatchObject({ code: 'CHANNEL_INVALID' });
    await expect(index(folder, { subdirs: ['../x'] })).rejects.toMatchObject({ code: 'USAGE' });
    await writeFile(join(folder, '.conda-ferry-export.json'), '{}');
    await expect(index(folder)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    expect((await index(folder, { force: true })).subdirs).toHaveLength(1);
  });

  test('removes what killed runs left', async () => {
    const folder = await channelOf(spec('a'));
    await index(folder);
    const before = await filesOf(folder);
    for (const place of ['', '.conda-ferry/index', 'noarch', 'noarch/shards'])
      await writeFile(join(folder, place, `.tmp-${randomUUID()}`), 'half');
    await index(folder);
    expect(await filesOf(folder)).toEqual(before);
  });

  test('keeps a time that only the unpatched repodata has, and knows archives of old repodata by their md5', async () => {
    const folder = await channelOf(spec('a'), spec('b'));
    await index(folder);
    const repodata = await json(folder, 'noarch/repodata.json');
    const records = Object.entries(repodata['packages.conda']!).map(([filename, record]) => {
      const { indexed_timestamp: _time, sha256: _sum, ...rest } = record;
      return [filename, filename.startsWith('a') ? { ...rest, sha256: record['sha256'] } : rest];
    });
    await writeFile(
      join(folder, 'noarch', 'repodata.json'),
      JSON.stringify({ ...repodata, 'packages.conda': Object.fromEntries(records) as unknown }),
    );
    await index(folder, { now: () => new Date(LATER_MS + 9) });
    expect(await json(folder, 'noarch/repodata.json')).toEqual(repodata);
    await writeFile(
      join(folder, 'noarch', 'repodata.json'),
      JSON.stringify({ ...repodata, 'packages.conda': Object.fromEntries(records) as unknown }),
    );
    await rm(join(folder, 'noarch', 'repodata_from_packages.json'));
    await index(folder, { now: () => new Date(LATER_MS + 9) });
    for (const record of Object.values((await json(folder, 'noarch/repodata.json'))['packages.conda']!))
      expect(record).not.toHaveProperty('indexed_timestamp');
  });

  test('stops where the repodata cannot be read, since what it says would be lost', async () => {
    const folder = await channelOf(spec('a'));
    for (const name of ['repodata.json', 'repodata_from_packages.json', 'patch_instructions.json']) {
      await writeFile(join(folder, 'noarch', name), '{"packages":{');
      await expect(index(folder)).rejects.toMatchObject({ code: 'REPODATA_INVALID' });
      await rm(join(folder, 'noarch', name));
    }
  });

  test('ends when it is told to', async () => {
    const folder = await channelOf(spec('a'));
    const controller = new AbortController();
    const reporter = {
      archive: () => {
        controller.abort(new Error('enough'));
      },
    };
    await expect(index(folder, { reporter, signal: controller.signal })).rejects.toThrow('enough');
    await expect(stat(join(folder, 'noarch', 'repodata.json'))).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { archiveExtensionOf } from '#ferry/conda/names.js';
import { checkArchive, type CheckedArchive } from '#ferry/conformance/check-archive.js';
import { CheckLog, type Finding } from '#ferry/conformance/check-log.js';
import { describe, expect, it } from 'vitest';
import { condaPackage, tarBz2Package } from '../../../fixtures/build/archive.mjs';
import { zstdOfZeros } from '../../../fixtures/build/zstd.mjs';
import { EXPECTED } from './malformed.js';

type Built = ReturnType<typeof condaPackage>;
type Spec = Parameters<typeof condaPackage>[0];
type Member = Parameters<NonNullable<Spec['arrange']>>[0][number];

const root = join(import.meta.dirname, '../../..');
const shared = join(root, '../shared/channels');
const spec = { name: 'ferry', version: '1.0', build: '0', subdir: 'noarch' };

interface Checked extends CheckedArchive {
  readonly log: CheckLog;
  readonly findings: readonly Finding[];
  /** Each broken clause once. */
  readonly clauses: readonly string[];
}

async function check(target: Parameters<typeof checkArchive>[0]): Promise<Checked> {
  const log = new CheckLog();
  const checked = await checkArchive(target, log);
  const clauses = [...new Set(log.findings.map(({ clause }) => clause))].sort();
  return { ...checked, log, findings: log.findings, clauses };
}

async function checkFile(folder: string, archive: string): Promise<Checked> {
  const [subdir = '', filename = ''] = archive.split('/').slice(-2);
  return await check({ archive: { path: join(folder, archive) }, filename, subdir, where: archive });
}

async function checkBuilt({ bytes, filename }: Built, subdir = 'noarch'): Promise<Checked> {
  return await check({ archive: { bytes }, filename, subdir, where: `${subdir}/${filename}` });
}

async function archivesIn(folder: string): Promise<string[]> {
  const files = await readdir(folder, { recursive: true });
  return files
    .map((file) => file.replaceAll('\\', '/'))
    .filter((file) => archiveExtensionOf(file) !== undefined);
}

/** Both formats, with further or other members. */
async function clausesOfBoth(changes: Partial<Spec>): Promise<readonly (readonly string[])[]> {
  const conda = await checkBuilt(condaPackage({ ...spec, ...changes }));
  const bz2 = await checkBuilt(tarBz2Package({ ...spec, ...changes }));
  return [conda.clauses, bz2.clauses];
}

/** Puts another content in the place of a member's. */
function withContent(path: string, content: (before: unknown) => unknown): Pick<Spec, 'arrange'> {
  const change = (member: Member): Member => {
    if (member.path !== path) return member;
    const before: unknown = JSON.parse(Buffer.from(member.content ?? '').toString());
    return { ...member, content: JSON.stringify(content(before)) };
  };
  return { arrange: (members) => members.map(change) };
}

interface PathsJson {
  readonly paths: readonly Record<string, unknown>[];
}

/** Changes the one entry of paths.json. */
function withEntry(change: Record<string, unknown>): Pick<Spec, 'arrange'> {
  return withContent('info/paths.json', (before) => {
    const { paths, ...rest } = before as PathsJson;
    return { ...rest, paths: paths.map((entry) => ({ ...entry, ...change })) };
  });
}

describe('archives of the fixtures', async () => {
  const malformed = join(root, 'fixtures/malformed');
  const codes = JSON.parse(await readFile(join(malformed, 'expected.json'), 'utf8')) as Record<
    string,
    { readonly code: string }
  >;

  it('cep35: the table of malformed archives has each of them', async () => {
    const archives = await archivesIn(malformed);
    const bad = archives.filter((archive) => codes[archive]?.code.startsWith('ARCHIVE_') === true);
    expect(Object.keys(EXPECTED).sort()).toEqual(bad.sort());
  });

  const table = Object.entries(EXPECTED).map(([archive, clauses]) => [clauses.join(', '), archive] as const);
  it.each(table)('%s: malformed/%s', async (ids, archive) => {
    const checked = await checkFile(malformed, archive);
    expect(checked.clauses).toEqual(ids.split(', ').sort());
    expect(checked.findings.every(({ where }) => where.startsWith(archive))).toBe(true);
    // What is refused elsewhere does not conform.
    expect(checked.findings.some(({ severity }) => severity === 'error')).toBe(true);
  });

  it.each((await archivesIn(malformed)).filter((archive) => !(archive in EXPECTED)))(
    'cep35: malformed/%s is good as an archive',
    async (archive) => {
      expect((await checkFile(malformed, archive)).findings).toEqual([]);
    },
  );

  it.each(await archivesIn(join(root, 'fixtures/channel')))(
    'cep34: channel/%s has no errors',
    async (archive) => {
      const { findings, isWhole } = await checkFile(join(root, 'fixtures/channel'), archive);
      expect(isWhole).toBe(true);
      expect(findings.filter(({ severity }) => severity === 'error')).toEqual([]);
    },
  );
});

describe.skipIf(!existsSync(shared))('archives that others built', async () => {
  /** The links of these became empty files when their channel was put together. */
  const damaged = /zlib-1\.2\.11-h(?:7b6447c|1de35cc)_3\.tar\.bz2$/;

  it.each(existsSync(shared) ? await archivesIn(shared) : [])('cep34: %s', async (archive) => {
    const { findings, isWhole } = await checkFile(shared, archive);
    const errors = new Set(
      findings.filter(({ severity }) => severity === 'error').map(({ clause }) => clause),
    );
    expect(isWhole).toBe(true);
    expect([...errors].sort()).toEqual(
      damaged.test(archive) ? ['cep34/paths-sha256-agrees', 'cep34/paths-size-agrees'] : [],
    );
  });
});

describe('members', () => {
  it.each<[string, Spec['infoFiles'], Spec['payloadFiles']]>([
    ['cep34/no-repodata-record', { 'info/repodata_record.json': '{}' }, undefined],
    ['cep34/no-conda-meta', undefined, { 'conda-meta/ferry-1.0-0.json': '{}' }],
    ['cep35/payload-link', undefined, [{ path: 'lib/a', type: 'symlink', target: '/etc/passwd' }]],
    ['cep35/payload-link', undefined, [{ path: 'lib/a', type: 'symlink', target: '../../x' }]],
    ['cep35/member-type', undefined, [{ path: 'dev/null', type: 'character-device' }]],
    ['cep35/link-target', { 'info/x': '' }, [{ path: 'lib/a', type: 'hardlink', target: 'lib/none' }]],
  ])('%s: %j %j', async (clause, infoFiles, payloadFiles) => {
    const files = { ...(infoFiles && { infoFiles }), ...(payloadFiles && { payloadFiles }) };
    for (const clauses of await clausesOfBoth(files))
      // What cannot be unpacked is not there for paths.json either.
      expect(clauses.filter((id) => !id.startsWith('cep34/paths-'))).toEqual([clause]);
  });

  it('cep35/member-path: a payload link with members below it, whichever comes first', async () => {
    const link = { path: 'lib/a', type: 'symlink', target: 'b' } as const;
    const below = { path: 'lib/a/c', content: 'c' };
    for (const payloadFiles of [
      [link, below],
      [below, link],
      [link, { path: 'lib/a', type: 'directory' } as const, below],
    ])
      for (const clauses of await clausesOfBoth({ payloadFiles }))
        expect(clauses).toContain('cep35/member-path');
  });

  it('cep35/info-content, cep35/pkg-content: each tarball has its own part', async () => {
    const misplaced = condaPackage({
      ...spec,
      payloadFiles: { 'info/stray': 'a' },
      arrange: (members) => [...members, { path: 'lib/stray', content: 'b' }],
    });
    expect((await checkBuilt(misplaced)).clauses).toEqual(
      expect.arrayContaining(['cep35/info-content', 'cep35/pkg-content']),
    );
  });

  it('cep35/root: a folder around the package', async () => {
    const arrange: NonNullable<Spec['arrange']> = (members) =>
      members.map((member) => ({ ...member, path: `ferry-1.0-0/${member.path}` }));
    expect((await checkBuilt(tarBz2Package({ ...spec, arrange }))).clauses).toEqual(
      ['cep34/index-json', 'cep34/paths-json', 'cep35/root'].sort(),
    );
  });

  it('cep35/zip-entry-extra: is told but no error', async () => {
    const zip = {
      entries: (entries: readonly { name: string; bytes: Uint8Array }[]) => [
        ...entries,
        { name: 'readme.txt', bytes: new Uint8Array(3) },
      ],
    };
    const { findings } = await checkBuilt(condaPackage({ ...spec, zip }));
    expect(findings).toMatchObject([{ clause: 'cep35/zip-entry-extra', severity: 'info' }]);
  });

  it('cep35/limits: a payload that unpacks a thousandfold is not read on', async () => {
    const bomb = zstdOfZeros([{ zeros: 2 ** 30 }]);
    const zip = {
      entries: (entries: readonly { name: string; bytes: Uint8Array }[]) =>
        entries.map((entry) => (entry.name.startsWith('pkg-') ? { ...entry, bytes: bomb } : entry)),
    };
    const before = process.memoryUsage().rss;
    const { clauses, isWhole } = await checkBuilt(condaPackage({ ...spec, zip }));
    expect(clauses).toEqual(['cep35/limits']);
    expect(isWhole).toBe(false);
    expect(process.memoryUsage().rss - before).toBeLessThan(300 * 2 ** 20);
  });
});

describe('info/index.json', () => {
  it.each<[string, Record<string, unknown>]>([
    ['cep34/index-schema-version', { schema_version: -1 }],
    ['cep34/index-schema-version', { schema_version: 2, flags: ['gpu:cuda'] }],
    ['cep34/index-schema-version', { extra_depends: { test: ['a'] } }],
    ['cep34/index-version', { version: 1 }],
    ['cep34/index-build', { build: undefined }],
    ['cep34/index-build-number', { build_number: '0' }],
    ['cep34/index-build-has-number', { build_number: 7 }],
    ['cep34/index-keys', { depends: undefined }],
    ['cep34/index-depends', { depends: ['a', 1] }],
    ['cep34/index-constrains', { constrains: 'a' }],
    ['cep26/virtual-name', { depends: ['__glibc >=2.17', '__Cuda'] }],
    ['cep26/virtual-name', { constrains: ['__a__b>1'] }],
    ['cep34/index-subdir', { subdir: 1 }],
    ['cep34/noarch', { noarch: 'java' }],
    ['cep34/noarch', { noarch: true, schema_version: 2 }],
    ['cep34/noarch-historic', { noarch: true }],
    ['cep34/index-timestamp', { timestamp: '1' }],
    ['cep34/index-timestamp-unit', { timestamp: 1_700_000_000 }],
    ['cep34/index-track-features', { track_features: [] }],
    ['cep34/index-track-feature-names', { track_features: 'a b=c' }],
    ['cep34/index-python-site-packages-path', { python_site_packages_path: '../x' }],
    ['cep34/index-python-site-packages-path', { python_site_packages_path: 'a/../../x' }],
    ['cep34/index-python-site-packages-path', { python_site_packages_path: '/x' }],
    ['cep34/index-extra-depends', { schema_version: 3, extra_depends: { 'A B': [] } }],
    ['cep34/index-flags', { schema_version: 3, flags: ['a:b:c'] }],
    ['cep34/index-other-keys', { arch: 1 }],
  ])('%s: %j', async (clause, index) => {
    expect(await clausesOfBoth({ index })).toEqual([[clause], [clause]]);
  });

  it('cep34/index-json: what is allowed leaves nothing', async () => {
    const index = {
      ...{
        schema_version: 3,
        extra_depends: { a: ['b'] },
        flags: ['a', 'a:b'],
        constrains: ['c >1', '__cuda>=12', '__cu*'],
      },
      ...{ track_features: 'a b,c', python_site_packages_path: 'lib/python3.14/site-packages', odd: [null] },
    };
    expect(await clausesOfBoth({ index })).toEqual([[], []]);
  });

  it('cep34/index-keys: a package of the first years, without a subdir, is no error', async () => {
    const built = tarBz2Package({ ...spec, index: { subdir: undefined, noarch: true } });
    const { findings } = await checkBuilt(built);
    expect(findings.map(({ clause, severity }) => [clause, severity]).sort()).toEqual([
      ['cep34/index-keys', 'info'],
      ['cep34/noarch-historic', 'warning'],
    ]);
  });

  it('cep34/noarch-subdir: noarch in another subdir', async () => {
    const built = condaPackage({ ...spec, subdir: 'linux-64', index: { noarch: 'generic' } });
    expect((await checkBuilt(built, 'linux-64')).clauses).toEqual(['cep34/noarch-subdir']);
  });

  it('cep35/limits: deep nesting and many values are not parsed', async () => {
    const deep = '['.repeat(100_000) + ']'.repeat(100_000);
    for (const name of [deep, `[${'1,'.repeat(1_000_000)}1]`])
      expect(await clausesOfBoth({ indexContent: `{"name":${name}}` })).toEqual([
        ['cep35/limits'],
        ['cep35/limits'],
      ]);
  });

  it('cep26/name: names of an index that is not of this file are judged too', async () => {
    const { clauses } = await checkBuilt(tarBz2Package({ ...spec, index: { name: 'Ferry' } }));
    expect(clauses).toEqual(['cep26/name', 'cep35/filename']);
  });

  it('cep34/index-json: is handed back as it was read', async () => {
    const built = condaPackage(spec);
    const { index, indexJson } = await checkBuilt(built);
    expect(index).toEqual(built.index);
    expect(JSON.parse(Buffer.from(indexJson ?? []).toString())).toEqual(built.index);
  });
});

describe('info/paths.json', () => {
  const listed = 'share/ferry/README';

  it.each<[string, Record<string, unknown>]>([
    ['cep34/paths-type', { path_type: 'file' }],
    ['cep34/paths-file-mode', { file_mode: 'data' }],
    ['cep34/paths-placeholder', { prefix_placeholder: 1 }],
    ['cep34/paths-no-link', { no_link: 'yes' }],
    ['cep34/paths-sha256', { sha256: 1 }],
    ['cep34/paths-entry', { sha256: undefined }],
    ['cep34/paths-entry', { size_in_bytes: undefined }],
    ['cep34/paths-sha256-agrees', { sha256: '0'.repeat(64) }],
    ['cep34/paths-size-agrees', { size_in_bytes: 1 }],
    ['cep34/paths-path', { _path: listed.replaceAll('/', '\\') }],
    ['cep34/paths-type-agrees', { path_type: 'softlink' }],
  ])('%s: %j', async (clause, change) => {
    const clauses = await clausesOfBoth(withEntry(change));
    const allowed = clause === 'cep34/paths-type' ? [clause, 'cep34/paths-type-agrees'] : [clause];
    for (const found of clauses) {
      expect(found).toContain(clause);
      expect(allowed).toEqual(expect.arrayContaining([...found]));
    }
  });

  it.each<[string, Record<string, unknown>]>([
    ['cep34/paths-path', { _path: '../x' }],
    ['cep34/paths-path', { _path: 1 }],
    ['cep34/paths-no-info', { _path: 'info/about.json' }],
    ['cep34/paths-present', { _path: 'share/none' }],
  ])('%s: %j, and so the true file is not listed', async (clause, change) => {
    const both = [clause, 'cep34/paths-complete'].sort();
    expect(await clausesOfBoth(withEntry(change))).toEqual([both, both]);
  });

  it('cep34/paths-version, cep34/paths-json: the document itself', async () => {
    const without = withContent('info/paths.json', (before) => ({ paths: (before as PathsJson).paths }));
    expect(await clausesOfBoth(without)).toEqual([['cep34/paths-version'], ['cep34/paths-version']]);
    const list = withContent('info/paths.json', () => []);
    expect(await clausesOfBoth(list)).toEqual([['cep34/paths-json'], ['cep34/paths-json']]);
    const arrange: NonNullable<Spec['arrange']> = (members) =>
      members.filter(({ path }) => path !== 'info/paths.json');
    expect(await clausesOfBoth({ arrange })).toEqual([['cep34/paths-json'], ['cep34/paths-json']]);
  });

  it('cep34/paths-directory: folders need no digest, and may have no member of their own', async () => {
    const add = withContent('info/paths.json', (before) => {
      const { paths } = before as PathsJson;
      return { paths_version: 1, paths: [...paths, { _path: 'share/ferry', path_type: 'directory' }] };
    });
    const { findings } = await checkBuilt(condaPackage({ ...spec, ...add }));
    expect(new Set(findings.map(({ clause, severity }) => `${clause} ${severity}`))).toEqual(
      new Set(['cep34/paths-directory info']),
    );
  });

  it('cep34/paths-softlink: digest and size are those of the target', async () => {
    const payloadFiles = [
      { path: 'lib/a.so.1', content: 'library' },
      { path: 'lib/a.so', type: 'symlink', target: 'a.so.1' } as const,
    ];
    expect(await clausesOfBoth({ payloadFiles })).toEqual([[], []]);
    const wrong = withContent('info/paths.json', (before) => ({
      paths_version: 1,
      paths: (before as PathsJson).paths.map((entry) =>
        entry['path_type'] === 'softlink' ? { ...entry, size_in_bytes: 6 } : entry,
      ),
    }));
    expect(await clausesOfBoth({ payloadFiles, ...wrong })).toEqual([
      ['cep34/paths-softlink'],
      ['cep34/paths-softlink'],
    ]);
  });

  it('cep34/paths-unique: twice the same path', async () => {
    const twice = withContent('info/paths.json', (before) => {
      const { paths } = before as PathsJson;
      return { paths_version: 1, paths: [...paths, ...paths] };
    });
    expect(await clausesOfBoth(twice)).toEqual([['cep34/paths-unique'], ['cep34/paths-unique']]);
  });

  it('cep34/paths-entry: long lists are judged in parts, with the right places', async () => {
    const long = withContent('info/paths.json', () => ({
      paths_version: 1,
      paths: Array.from({ length: 2500 }, (_, index) => (index === 2100 ? { _path: 'share/none' } : {})),
    }));
    const { findings } = await checkBuilt(tarBz2Package({ ...spec, ...long }));
    const entries = findings.filter(({ clause }) => clause === 'cep34/paths-entry');
    expect(entries).toHaveLength(3 * 2500 - 1);
    expect(entries.at(-1)?.where).toMatch(/info\/paths\.json#\/paths\/2499$/);
    expect(findings.find(({ clause }) => clause === 'cep34/paths-present')?.where).toMatch(/#\/paths\/2100$/);
  });
});

describe('other documents of info/', () => {
  it.each<[string, string, unknown]>([
    ['cep34/run-exports-json', 'info/run_exports.json', { weak: 'a' }],
    ['cep34/run-exports-json', 'info/run_exports.json', [1]],
    ['cep34/run-exports-json', 'info/run_exports.json', { schema_version: 0 }],
    ['cep34/run-exports-json', 'info/run_exports.json', null],
    ['cep34/link-json', 'info/link.json', { noarch: {} }],
    ['cep34/link-json', 'info/link.json', { noarch: { type: 'python', entry_points: 'a' } }],
    ['cep34/hash-input-json', 'info/hash_input.json', []],
  ])('%s: %s %j', async (clause, path, value) => {
    const infoFiles = { [path]: JSON.stringify(value) };
    expect(await clausesOfBoth({ infoFiles })).toEqual([[clause], [clause]]);
  });

  it.each<[string, unknown]>([
    ['info/run_exports.json', ['a >1']],
    ['info/run_exports.json', { strong: ['a'], schema_version: 2 }],
    [
      'info/link.json',
      { noarch: { type: 'python', entry_points: ['a = b:c'] }, package_metadata_version: 1 },
    ],
    ['info/hash_input.json', {}],
  ])('cep34: %s %j is fine', async (path, value) => {
    expect(await clausesOfBoth({ infoFiles: { [path]: JSON.stringify(value) } })).toEqual([[], []]);
  });

  it('cep34/about-json: is an object', async () => {
    expect(await clausesOfBoth(withContent('info/about.json', () => 'text'))).toEqual([
      ['cep34/about-json'],
      ['cep34/about-json'],
    ]);
  });
});

describe('checkArchive', () => {
  it('cep26/extension: reads nothing of what is no archive by its name', async () => {
    const { clauses, isWhole } = await check({
      ...{ archive: { bytes: new Uint8Array(3) }, filename: 'ferry.zip', where: 'ferry.zip' },
    });
    expect(clauses).toEqual(['cep26/extension']);
    expect(isWhole).toBe(false);
  });

  it('cep26/filename: a bad name does not keep the content from being judged', async () => {
    const { bytes } = condaPackage({ ...spec, index: { timestamp: 'now' } });
    const { clauses } = await check({ archive: { bytes }, filename: 'ferry.conda', where: 'ferry.conda' });
    expect(clauses).toEqual(['cep26/filename', 'cep34/index-timestamp']);
  });

  it('cep35: reports several faults at once', async () => {
    const built = condaPackage({
      ...spec,
      index: { noarch: 'java' },
      payloadFiles: { 'conda-meta/x': '' },
      zip: { entries: (entries) => entries.filter(({ name }) => name !== 'metadata.json') },
    });
    expect((await checkBuilt(built, 'linux-64')).clauses).toEqual(
      [...['cep34/index-subdir-place', 'cep34/no-conda-meta', 'cep34/noarch', 'cep35/metadata-json']].sort(),
    );
  });

  it('cep35: errors of the disk and an abort come through', async () => {
    const filename = 'ferry-1.0-0.conda';
    const log = new CheckLog();
    const missing = { archive: { path: join(root, 'none.conda') }, filename, where: filename };
    await expect(checkArchive(missing, log)).rejects.toMatchObject({ code: 'ENOENT' });
    const { bytes } = condaPackage(spec);
    const stop = new Error('stop');
    const target = { archive: { bytes }, filename, where: filename };
    await expect(checkArchive(target, log, { signal: AbortSignal.abort(stop) })).rejects.toBe(stop);
    const controller = new AbortController();
    const running = checkArchive(target, log, { signal: controller.signal });
    controller.abort(stop);
    await expect(running).rejects.toBe(stop);
  });

  it('cep35: no archive with a flipped byte makes it throw', async () => {
    for (const built of [condaPackage(spec), tarBz2Package(spec)]) {
      for (let at = 0; at < built.bytes.byteLength; at += 7) {
        const bytes = new Uint8Array(built.bytes);
        bytes[at] = (bytes[at] ?? 0) ^ (1 << (at % 8));
        const { findings, isWhole } = await checkBuilt({ ...built, bytes });
        if (!isWhole) expect(findings.length).toBeGreaterThan(0);
      }
    }
  });
});

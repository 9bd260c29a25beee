import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { archiveExtensionOf } from '#ferry/conda/names.js';
import { checkArchive } from '#ferry/conformance/check-archive.js';
import { CheckLog } from '#ferry/conformance/check-log.js';
import { describe, expect, it } from 'vitest';
import { condaPackage, tarBz2Package } from '../../../fixtures/build/archive.mjs';
import { zstdOfZeros } from '../../../fixtures/build/zstd.mjs';
import { check, checkBuilt, checkFile, clausesOfBoth, spec, type Spec } from './checked.js';
import { EXPECTED } from './malformed.js';

const root = join(import.meta.dirname, '../../..');
const shared = join(root, '../shared/channels');

async function archivesIn(folder: string): Promise<string[]> {
  const files = await readdir(folder, { recursive: true });
  return files
    .map((file) => file.replaceAll('\\', '/'))
    .filter((file) => archiveExtensionOf(file) !== undefined);
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

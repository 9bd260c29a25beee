import { describe, expect, it } from 'vitest';
import { condaPackage, tarBz2Package } from '../../../fixtures/build/archive.mjs';
import { checkBuilt, clausesOfBoth, spec, withContent, type Spec } from './checked.js';

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

import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { ROOT } from '../support/ferry.js';
import { tempFolder } from '../support/temp.js';

const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8');
const { version, engines, license } = JSON.parse(read('package.json')) as {
  version: string;
  engines: { node: string };
  license: string;
};

describe('the version of package.json', () => {
  test('is that of the conda recipe, which asks for the same Node', () => {
    const recipe = parse(read('recipe/recipe.yaml')) as {
      context: { version: string };
      requirements: Record<'build' | 'host' | 'run', string[]>;
      about: { license: string };
    };
    expect(recipe.context.version).toBe(version);
    expect(recipe.about.license).toBe(license);
    for (const part of ['build', 'host', 'run'] as const)
      expect(recipe.requirements[part]).toContain(`nodejs ${engines.node}`);
  });

  test('is that of all examples', () => {
    const files = ['github/mirror.yml', 'github/nightly.yml', 'github/publish.yml', 'gitlab-ci.yml'];
    const texts = [...files.map((file) => `docs/examples/${file}`), 'docs/publish-from-ci.md'].map(read);
    const named = texts.flatMap((text) => [
      ...text.matchAll(/(?:OWNER\/conda-ferry@v|conda-ferry@|CONDA_FERRY_VERSION: ')(\d[\w.-]*)/g),
    ]);
    expect(named.length).toBeGreaterThan(3);
    for (const [text, found] of named) expect(found, text).toBe(version);
  });
});

describe('CHANGELOG.md', () => {
  const changelog = read('CHANGELOG.md');
  const headings = [...changelog.matchAll(/^## (.+)$/gm)].map(([, heading = '']) => heading);

  test('has a section for what is not released yet, and for each version, newest first', () => {
    expect(headings[0]).toBe('[Unreleased]');
    const versions = headings.slice(1).map((heading) => {
      expect(heading).toMatch(/^\[\d+\.\d+\.\d+(?:-[\w.]+)?\] - (?:\d{4}-\d{2}-\d{2}|unreleased)$/);
      return heading.slice(1, heading.indexOf(']'));
    });
    expect(versions).toContain(version);
    expect(new Set(versions).size).toBe(versions.length);
  });

  test('sorts changes by the kinds of Keep a Changelog', () => {
    const kinds = [...changelog.matchAll(/^### (.+)$/gm)].map(([, kind]) => kind);
    for (const kind of kinds)
      expect(['Added', 'Changed', 'Deprecated', 'Removed', 'Fixed', 'Security']).toContain(kind);
  });
});

describe('notes of a release', () => {
  async function notes(changelog: string, of: string): Promise<{ status: number | null; stdout: string }> {
    const folder = await tempFolder();
    await mkdir(join(folder, 'scripts'));
    await cp(join(ROOT, 'scripts', 'release-notes.mjs'), join(folder, 'scripts', 'release-notes.mjs'));
    await writeFile(join(folder, 'CHANGELOG.md'), changelog);
    return spawnSync(process.execPath, [join(folder, 'scripts', 'release-notes.mjs'), of], {
      encoding: 'utf8',
    });
  }
  const changelog =
    '# C\n\n## [Unreleased]\n\n- new\n\n## [1.1.0] - 2026-02-03\n\n### Fixed\n\n- a\n\n## [1.0.0] - unreleased\n\n- b\n';

  test('are the section on that version', async () => {
    expect(await notes(changelog, '1.1.0')).toMatchObject({ status: 0, stdout: '### Fixed\n\n- a\n' });
  });

  test.each(['1.0.0', '2.0.0', '1.1', ''])('of %j are refused', async (of) => {
    expect(await notes(changelog, of)).toMatchObject({ status: 1, stdout: '' });
  });
});

test('the image is built of nothing that .dockerignore keeps out', () => {
  const kept = read('.dockerignore')
    .split('\n')
    .filter((line) => line.startsWith('!'))
    .map((line) => line.slice(1));
  const copied = [...read('Containerfile').matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(
    ([, files = '']) => files.split(' '),
  );
  expect(new Set(copied.map((file) => file.replace('./', '')))).toEqual(new Set(kept));
  const tracked = execFileSync('git', ['ls-files', ...kept], { cwd: ROOT, encoding: 'utf8' });
  for (const file of kept) expect(tracked).toContain(file);
});

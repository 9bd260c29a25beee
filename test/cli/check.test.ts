import { cp, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { layoutReader } from '../support/audit.js';
import { FIXTURE_CHANNEL, MALFORMED_CHANNEL } from '../support/channels.js';
import { startRegistry, type TestRegistry } from '../support/docker-registry.js';
import type { FerryResult } from '../support/ferry.js';
import { runFerry } from '../support/ferry-here.js';
import { tempFolder } from '../support/temp.js';

interface Document {
  readonly report_version: number;
  readonly kind: string;
  readonly schema: string | null;
  readonly conforms: boolean;
  readonly checked: Readonly<Record<string, number>>;
  readonly sample: { readonly size: number; readonly of: number; readonly seed: string } | null;
  readonly findings: readonly { readonly clause: string; readonly where: string }[];
}

let cwd: string;
let registry: TestRegistry;
beforeAll(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'ferry-test-'));
  registry = await startRegistry();
  await cp(FIXTURE_CHANNEL, join(cwd, 'channel'), { recursive: true });
  await mkdir(join(cwd, 'archives'));
  for (const name of ['ferry-data-1.0+abc-0.conda', 'ferry-tool-2.1.0-py_0.tar.bz2'])
    await cp(join(FIXTURE_CHANNEL, 'noarch', name), join(cwd, 'archives', name));
  for (const destination of ['oci-layout:./v0', 'oci-layout:./v0/label/dev']) await mirror(destination, 'v0');
  await mirror('oci-layout:./v1', 'v1');
  await mirror(`oci://${registry.host}/${registry.prefix}/main`, 'v0');
  await mirror(`oci://${registry.host}/${registry.prefix}/main`, 'v0', '--label', 'dev');
});
afterAll(async () => {
  await registry[Symbol.asyncDispose]();
  await rm(cwd, { recursive: true });
});

async function mirror(destination: string, schema: string, ...flags: string[]): Promise<void> {
  const args = ['mirror', './channel', destination, '--schema', schema, '--quiet', ...flags];
  expect(await runFerry(args, { cwd })).toMatchObject({ code: 0 });
}

async function check(...args: string[]): Promise<FerryResult> {
  return runFerry(['check', ...args], { cwd });
}

async function document(...args: string[]): Promise<Document> {
  const { stdout } = await check(...args, '--json', '--quiet');
  return JSON.parse(stdout) as Document;
}

describe('exit codes', () => {
  test('0 where it conforms; 1 with --strict, where there are warnings', async () => {
    expect(await check('oci-layout:./v1', '--schema', 'v1')).toMatchObject({ code: 0 });
    expect(await check('oci-layout:./v1', '--schema', 'v1', '--deep', '--strict')).toMatchObject({
      code: 1,
    });
  });

  test('1 where there are errors', async () => {
    const archive = join(MALFORMED_CHANNEL, 'linux-64', 'conda-no-info-1.0-0.conda');
    expect(await check(archive)).toMatchObject({ code: 1 });
  });

  test('2 for what no command line can be', async () => {
    expect(await check('./channel', '--sample', '0')).toMatchObject({ code: 2 });
    expect(await check('oci-layout:./v0', '--schema', 'v7')).toMatchObject({ code: 2 });
    expect(await check('./channel', '--subdir', 'no_subdir')).toMatchObject({ code: 2 });
  });

  test('3 where there is nothing to check, with the schema that would fit', async () => {
    const other = await check('oci-layout:./v1');
    expect(other).toMatchObject({ code: 3, stdout: '' });
    expect(other.stderr).toContain('hint: it holds a channel of schema v1: pass --schema v1');
    for (const target of ['oci-layout:./absent', './absent', './absent-1.0-0.conda'])
      expect(await check(target)).toMatchObject({ code: 3 });
    const reference = 'oci-layout:./v0/noarch/ferry-data:9.9-0';
    expect((await check(reference)).stderr).toContain('there is no artifact `noarch/ferry-data:9.9-0`');
  });

  test('3 where the registry is gone', async () => {
    const { host, prefix } = registry;
    const gone = await startRegistry();
    await gone[Symbol.asyncDispose]();
    if (gone.host === host) return;
    const result = await check(`oci://${gone.host}/${prefix}/main`);
    expect(result).toMatchObject({ code: 3, stdout: '' });
    expect(result.stderr).toContain('[NETWORK]');
  });
});

describe('what an operator reads', () => {
  test('an archive in which nothing is wrong', async () => {
    const { stdout, stderr } = await check('./archives/ferry-data-1.0+abc-0.conda');
    expect(stderr).toBe('');
    expect(stdout.replace(/\d+ clauses/, 'N clauses')).toMatchInlineSnapshot(`
      "archive ./archives/ferry-data-1.0+abc-0.conda

      conforms to the conda standards: 1 archive, N clauses checked, 0 errors, 0 warnings
      "
    `);
  });

  test('findings by clause, the verdict last', async () => {
    const { stdout } = await check('oci-layout:./v1', '--schema', 'v1', '--deep');
    expect(stdout.replace(/\d+ clauses/, 'N clauses')).toMatchInlineSnapshot(`
      "channel oci-layout:./v1

      warning cep35/member-once: members once (2 of 180 checks)
        expected: each path once
        linux-64/cferry-duplicates:1.0-0/ferry-duplicates-1.0-0.conda/info/recipe/meta.yaml
          found: a further member of that path
        linux-64/cferry-duplicates:1.0-1/ferry-duplicates-1.0-1.tar.bz2/info/index.json
          found: a further member of that path

      warning cep34/index-build-has-number: build number in the build string
        (1 of 29 checks)
        noarch/c_ferry_mutex:1.0-main/_ferry_mutex-1.0-main.conda/info/index.json#/build
          found: \`main\`, expected: a build string with 0

      note cep47/present: record \`indexed_timestamp\` (3 of 3 checks)
        expected: the time of the first indexing in each of them
        linux-64/repodata.json
          found: 22 of 22 records have no \`indexed_timestamp\`
        noarch/repodata.json
          found: 2 of 3 records have no \`indexed_timestamp\`
        osx-arm64/repodata.json
          found: 4 of 4 records have no \`indexed_timestamp\`

      conforms to schema v1: 29 archives in 39 artifacts, N clauses checked, 0 errors, 3 warnings, 3 notes
      "
    `);
  });

  test('an artifact of the other schema', async () => {
    const { stdout } = await check('oci-layout:./v1/noarch/cferry-data:1.0_Pabc-0');
    expect(stdout.replace(/\d+ clauses/, 'N clauses')).toMatchInlineSnapshot(`
      "artifact oci-layout:./v1/noarch/cferry-data:1.0_Pabc-0

      error v0/D1: repository and tag (1 of 2 checks)
        noarch/cferry-data:1.0_Pabc-0
          found: the package \`ferry-data\` in the repository \`cferry-data\`
          expected: \`ferry-data\`
          hint: it is marked as schema v1: check it as that

      error v0/D3: characters in tags (1 of 1 check)
        noarch/cferry-data:1.0_Pabc-0
          found: version \`1.0+abc\` and build string \`0\` in \`info/index.json\`
          expected: the tag \`1.0__p__abc-0\`

      does not conform to schema v0: 1 artifact, N clauses checked, 2 errors, 0 warnings, archives not read
      "
    `);
  });

  test('no line is wider than a terminal, but places and the verdict', async () => {
    const { stdout } = await check(MALFORMED_CHANNEL);
    const lines = stdout.trimEnd().split('\n').slice(0, -1);
    expect(lines.filter((line) => line.length > 80 && line.trim().includes(' '))).toEqual([]);
  });
});

describe('reports for programs', () => {
  test('--json is one document', async () => {
    const { stdout } = await check(
      'oci-layout:./v1/noarch/c_ferry_mutex:1.0-main',
      '--schema',
      'v1',
      '--json',
    );
    const { findings, ...report } = JSON.parse(stdout) as Document & { readonly clauses: unknown };
    expect(report).toMatchObject({
      report_version: 1,
      target: 'oci-layout:./v1/noarch/c_ferry_mutex:1.0-main',
      kind: 'artifact',
      schema: 'v1',
      conforms: true,
      counts: { error: 0, warning: 0, info: 0 },
      checked: { subdirs: 0, repositories: 0, artifacts: 1, archives: 0, records: 0 },
      sample: null,
      omitted: 0,
      unchecked: [],
    });
    expect(findings).toEqual([]);
    expect(report.clauses).toContainEqual({
      id: 'v1/P5',
      level: 'MUST NOT',
      severity: 'error',
      area: 'layers',
      subject: 'any other layer',
      checks: 1,
      findings: 0,
    });
  });

  test('--junit, --sarif and --html write files, with findings or without', async () => {
    const folder = await tempFolder();
    const [junit, sarif, html] = ['junit.xml', 'report.sarif', 'report.html'].map((name) =>
      join(folder, name),
    );
    const archive = join(MALFORMED_CHANNEL, 'linux-64', 'conda-no-info-1.0-0.conda');
    const flags = ['--junit', junit ?? '', '--sarif', sarif ?? '', '--html', html ?? ''];
    const { code, stdout, stderr } = await check(archive, ...flags);
    expect(code).toBe(1);
    expect(stdout).toContain('does not conform');
    expect(stderr).toBe(`wrote ${junit ?? ''}\nwrote ${sarif ?? ''}\nwrote ${html ?? ''}\n`);
    expect(await readFile(junit ?? '', 'utf8')).toMatch(/^<\?xml .*cep35\/info-member/s);
    const log = JSON.parse(await readFile(sarif ?? '', 'utf8')) as {
      runs: { results: { ruleId: string }[] }[];
    };
    expect(log.runs[0]?.results.map(({ ruleId }) => ruleId)).toContain('cep35/info-member');
    expect(await readFile(html ?? '', 'utf8')).toMatch(/^<!doctype html>.*cep35\/info-member/is);
    expect(await check('./archives', '--junit', junit ?? '', '--quiet')).toMatchObject({
      code: 0,
      stderr: '',
    });
  });
});

describe('--sample', () => {
  test('says its seed, and the same seed chooses the same', async () => {
    const { stdout } = await check('oci-layout:./v0', '--sample', '5', '--deep');
    const [, seed = ''] = /^sample: 5 of 29, seed ([0-9a-f]{8})$/m.exec(stdout) ?? [];
    expect(seed).not.toBe('');
    expect(stdout).toContain('conforms to schema v0, as far as a sample shows: ');
    const flags = ['oci-layout:./v0', '--sample', '5', '--deep', '--seed', seed];
    expect((await check(...flags)).stdout).toBe(stdout);
    expect((await document(...flags)).sample).toEqual({ size: 5, of: 29, seed });
  });

  test('chooses of the archives of a folder', async () => {
    const report = await document('./channel', '--sample', '4', '--seed', 'x');
    expect(report).toMatchObject({ sample: { size: 4, of: 32, seed: 'x' }, checked: { archives: 4 } });
  });
});

describe('targets', () => {
  const NOARCH = { conforms: true, kind: 'subdir' } as const;
  test.each([
    [
      'an archive',
      ['./archives/ferry-data-1.0+abc-0.conda'],
      { kind: 'archive', schema: null },
      { archives: 1 },
    ],
    ['a folder of archives', ['./archives'], { kind: 'archive', schema: null }, { archives: 2 }],
    ['a folder', ['./channel'], { kind: 'channel', schema: null }, { subdirs: 3, archives: 32 }],
    ['a subdir of a folder', ['./channel/noarch'], NOARCH, { subdirs: 1, archives: 4 }],
    ['a layout', ['oci-layout:./v0'], { kind: 'channel', schema: 'v0' }, { subdirs: 3, artifacts: 39 }],
    ['a subdir of a layout', ['oci-layout:./v0/noarch'], NOARCH, { subdirs: 1, artifacts: 6 }],
    ['a subdir by flag', ['oci-layout:./v0', '--subdir', 'noarch'], NOARCH, { subdirs: 1, artifacts: 6 }],
    ['a label in a path', ['oci-layout:./v0/label/dev'], { kind: 'channel' }, { subdirs: 3 }],
    ['a label', ['oci-layout:./v0', '--label', 'dev'], { kind: 'channel' }, { subdirs: 3 }],
    ['metadata', ['oci-layout:./v0/noarch/repodata.json:latest'], { kind: 'artifact' }, { records: 4 }],
    ['a package', ['oci-layout:./v0/noarch/ferry-tool:2.1.0-py_0'], { kind: 'artifact' }, { artifacts: 1 }],
    [
      'a package with its bytes',
      ['oci-layout:./v0/noarch/ferry-tool:2.1.0-py_0', '--deep'],
      { kind: 'artifact' },
      { artifacts: 1, archives: 2 },
    ],
    [
      'a package with a label',
      ['oci-layout:./v0/label/dev/noarch/ferry-tool:2.1.0-py_0'],
      { kind: 'artifact' },
      { artifacts: 1 },
    ],
  ] as const)('%s', async (_, args, report, checked) => {
    expect(await document(...args)).toMatchObject({ conforms: true, ...report, checked });
  });

  test.each([
    ['a channel', '', { kind: 'channel' }, { subdirs: 3, artifacts: 39 }],
    ['a subdir', '/osx-arm64', { kind: 'subdir' }, { subdirs: 1, artifacts: 7 }],
    ['a package', '/linux-64/ferry-lib:1__e__2.0-h0_1', { kind: 'artifact' }, { artifacts: 1 }],
    ['metadata', '/noarch/repodata.json:latest', { kind: 'artifact' }, { records: 4 }],
    ['a label in a path', '/label/dev/noarch/ferry-tool:2.1.0-py_0', { kind: 'artifact' }, { artifacts: 1 }],
  ] as const)('%s in a registry', async (_, path, report, checked) => {
    const target = `oci://${registry.host}/${registry.prefix}/main${path}`;
    expect(await document(target)).toMatchObject({ conforms: true, ...report, checked });
  });

  test('a label of a channel in a registry', async () => {
    const target = `oci://${registry.host}/${registry.prefix}/main`;
    expect(await document(target, '--label', 'dev')).toMatchObject({
      kind: 'channel',
      checked: { subdirs: 3 },
    });
    expect((await check(target, '--label', 'other')).code).toBe(3);
  });

  test('package and metadata by digest', async () => {
    const reader = layoutReader(join(cwd, 'v0'));
    const tool = await reader.manifest('noarch/ferry-tool', '2.1.0-py_0');
    expect(await document(`oci-layout:./v0/noarch/ferry-tool@${tool?.digest ?? ''}`, '--deep')).toMatchObject(
      { conforms: true, kind: 'artifact', checked: { artifacts: 1, archives: 2 } },
    );
    const repodata = await reader.manifest('noarch/repodata.json', 'latest');
    expect(await document(`oci-layout:./v0/noarch/repodata.json@${repodata?.digest ?? ''}`)).toMatchObject({
      conforms: true,
      kind: 'artifact',
      checked: { artifacts: 1, records: 4 },
    });
  });
});

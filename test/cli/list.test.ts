import { join } from 'node:path';
import { expect, test } from 'vitest';
import { FIXTURE_CHANNEL } from '../support/channels.js';
import { useRegistryDouble } from '../support/double/registry-double.js';
import { runFerry } from '../support/ferry-here.js';
import { tempFolder } from '../support/temp.js';

interface ListDocument {
  readonly channel: string;
  readonly schema?: string;
  readonly subdirs: readonly {
    readonly subdir: string;
    readonly archives: readonly Readonly<Record<string, unknown>>[];
  }[];
}

async function mirrored(location: string, cwd: string, ...flags: string[]): Promise<void> {
  const args = ['mirror', FIXTURE_CHANNEL, location, '--subdir', 'noarch', '--quiet', ...flags];
  expect(await runFerry(args, { cwd })).toMatchObject({ code: 0, stderr: '' });
}

test('list shows schema, media types, sizes and digests in 80 columns', async () => {
  const cwd = await tempFolder();
  await mirrored('oci-layout:./mirror', cwd);
  const list = await runFerry(['list', 'oci-layout:./mirror'], { cwd });
  expect(list).toMatchObject({ code: 0, stderr: '' });
  expect(list.stdout).toMatchInlineSnapshot(`
    "noarch: 4 archives, 4.3 kB, schema v0
      ferry-tool-2.1.0-py_0.tar.bz2  package.v1   885 B  sha256:0a102176e163
      _ferry_mutex-1.0-main.conda    package.v2  1.1 kB  sha256:f37ab49df6b7
      ferry-data-1.0+abc-0.conda     package.v2  1.0 kB  sha256:01974626ca49
      ferry-tool-2.1.0-py_0.conda    package.v2  1.3 kB  sha256:c42a26c224d1
    "
  `);
  for (const line of list.stdout.split('\n')) expect(line.length, line).toBeLessThanOrEqual(80);
});

test('list --wide names media types, digests and references in full, and inspect takes them', async () => {
  const cwd = await tempFolder();
  await mirrored('oci-layout:./mirror', cwd, '--schema', 'v1');
  const list = await runFerry(['list', 'oci-layout:./mirror', '--schema', 'v1', '--wide'], { cwd });
  expect(list.stdout.replaceAll(cwd, '')).toMatchInlineSnapshot(`
    "noarch: 3 archives, 3.4 kB, schema v1
      _ferry_mutex-1.0-main.conda
        application/vnd.conda.package.v2, 1.1 kB
        sha256:f37ab49df6b738a3713c8be51eae7e0f9540806f3305098143ee4fd5d0a31035
        oci-layout:/mirror/noarch/c_ferry_mutex:1.0-main
      ferry-data-1.0+abc-0.conda
        application/vnd.conda.package.v2, 1.0 kB
        sha256:01974626ca49849b10df7c6fd8b0854800187de8aac2b5b0d9895db76defc992
        oci-layout:/mirror/noarch/cferry-data:1.0_Pabc-0
      ferry-tool-2.1.0-py_0.conda
        application/vnd.conda.package.v2, 1.3 kB
        sha256:c42a26c224d138cb027c39ccbb641697c189de76032c1cc5154965f8408bef66
        oci-layout:/mirror/noarch/cferry-tool:2.1.0-py__0
    "
  `);
  const reference = /oci-layout:\S+/.exec(list.stdout)?.[0] ?? '';
  expect(await runFerry(['inspect', reference], { cwd })).toMatchObject({ code: 0, stderr: '' });
});

test('list --json of a registry and of a folder of layouts say the same, but for the place', async () => {
  const cwd = await tempFolder();
  const { host } = await useRegistryDouble();
  const channels = { [`oci://${host}/org/ch`]: 'org/ch/', [`oci-layout:${join(cwd, 'mirror')}`]: '' };
  const seen: unknown[] = [];
  for (const [location, path] of Object.entries(channels)) {
    await mirrored(location, cwd, '--schema', 'v1', '--label', 'dev');
    const flags = ['--schema', 'v1', '--label', 'dev', '--json'];
    const { stdout } = await runFerry(['list', location, ...flags], { cwd });
    const { channel, schema, subdirs } = JSON.parse(stdout) as ListDocument;
    expect([channel, schema]).toEqual([`${location}/label/dev`, 'v1']);
    const archives = subdirs[0]?.archives ?? [];
    expect(archives[0]).toEqual({
      filename: '_ferry_mutex-1.0-main.conda',
      mediaType: 'application/vnd.conda.package.v2',
      size: 1054,
      digest: 'sha256:f37ab49df6b738a3713c8be51eae7e0f9540806f3305098143ee4fd5d0a31035',
      repository: `${path}label/dev/noarch/c_ferry_mutex`,
      tag: '1.0-main',
      reference: `${location}/label/dev/noarch/c_ferry_mutex:1.0-main`,
    });
    seen.push(archives.map(({ filename, digest, tag }) => ({ filename, digest, tag })));
    for (const { reference } of archives) {
      expect(await runFerry(['inspect', String(reference)], { cwd })).toMatchObject({ code: 0 });
    }
  }
  expect(seen[0]).toEqual(seen[1]);
});

test('an ordinary channel has no schema, and no label but in its URL', async () => {
  const cwd = await tempFolder();
  const { stdout } = await runFerry(['list', FIXTURE_CHANNEL, '--subdir', 'noarch', '--json'], { cwd });
  const document = JSON.parse(stdout) as ListDocument;
  expect(document).not.toHaveProperty('schema');
  expect(document.subdirs[0]?.archives[0]).not.toHaveProperty('repository');
  const labelled = await runFerry(['list', FIXTURE_CHANNEL, '--label', 'dev'], { cwd });
  expect(labelled).toMatchObject({ code: 2, stdout: '' });
  expect(labelled.stderr).toContain('write it behind the channel: …/label/dev');
});

test('v1/B14: where nothing is found by one schema, the other is named', async () => {
  const cwd = await tempFolder();
  await mirrored('oci-layout:./mirror', cwd, '--schema', 'v1');
  const list = await runFerry(['list', 'oci-layout:./mirror'], { cwd });
  expect(list).toMatchObject({ code: 3, stdout: '' });
  expect(list.stderr).toContain('[CHANNEL_NOT_FOUND]');
  expect(list.stderr).toContain('--schema v1 looks for the other');
});

test('v1/L4: mirror, list and pull of a label; a source may have another schema and label', async () => {
  const cwd = await tempFolder();
  await mirrored('oci-layout:./v0', cwd, '--label', 'dev');
  const flags = [
    '--schema',
    'v1',
    '--source-schema',
    'v0',
    '--source-label',
    'dev',
    '--label',
    'main',
    '--quiet',
  ];
  const copied = await runFerry(['mirror', 'oci-layout:./v0', 'oci-layout:./v1', ...flags], { cwd });
  expect(copied).toMatchObject({ code: 0, stderr: '' });
  expect(copied.stdout.replaceAll(cwd, '')).toMatchInlineSnapshot(`
    "subdir  listed  there  added  failed  withheld  repodata
    noarch       4      0      3       0         1  rewritten

    withheld: noarch/ferry-tool-2.1.0-py_0.tar.bz2
      the schema holds one archive of a build, and that is \`ferry-tool-2.1.0-py_0.conda\` [TWIN_UNREPRESENTABLE, v1/P6]

    mirrored to /v1: 3 archives (3.4 kB) in 3 artifacts
    "
  `);
  const pulled = await runFerry(
    ['pull', 'oci-layout:./v1', 'ferry-tool', '--schema', 'v1', '--output', 'got', '--json'],
    { cwd },
  );
  expect(JSON.parse(pulled.stdout)).toMatchObject({ pulled: [{ filename: 'ferry-tool-2.1.0-py_0.conda' }] });
});

test('v1/P6: a plan names what it withholds, with code and clause', async () => {
  const cwd = await tempFolder();
  const args = [
    'mirror',
    FIXTURE_CHANNEL,
    'oci-layout:./m',
    '--subdir',
    'noarch',
    '--schema',
    'v1',
    '--plan',
  ];
  const plan = await runFerry(args, { cwd });
  expect(plan.stdout.replaceAll(cwd, '').replaceAll(FIXTURE_CHANNEL, '/fixtures')).toMatchInlineSnapshot(`
    "subdir  listed  there  to add    size  requests  withheld
    noarch       4      0       3  3.4 kB         0         1

    withheld: noarch/ferry-tool-2.1.0-py_0.tar.bz2
      the schema holds one archive of a build, and that is \`ferry-tool-2.1.0-py_0.conda\` [TWIN_UNREPRESENTABLE, v1/P6]

    largest packages:
      ferry-tool    1.3 kB  1 archive
      _ferry_mutex  1.1 kB  1 archive
      ferry-data    1.0 kB  1 archive

    3 archives, 3.4 kB, 0 requests
    from file:///fixtures
    to /m, schema v1; nothing was moved
    "
  `);
});

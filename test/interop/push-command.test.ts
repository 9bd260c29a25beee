import { cp, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FIXTURE_CHANNEL } from '../support/channels.js';
import { startRegistry, type TestRegistry } from '../support/docker-registry.js';
import { useRegistryDouble } from '../support/double/registry-double.js';
import { runFerry as runProcess } from '../support/ferry.js';
import { testHome, type TestHome } from '../support/home.js';
import { smallConda, smallTarBz2, type BuiltArchive } from '../support/v1-channel.js';

const HELLO = smallConda();
const OTHER = smallConda({ payload: 'other\n' });
const OLD = smallTarBz2();
const FAULTY = smallConda({ version: '99999999999' });

/** A home with archives in a folder. */
async function homeWith(...archives: readonly BuiltArchive[]): Promise<TestHome> {
  const home = await testHome();
  await writeTo(home, 'built', ...archives);
  return home;
}

async function writeTo(home: TestHome, folder: string, ...archives: readonly BuiltArchive[]): Promise<void> {
  await mkdir(home.file(folder), { recursive: true });
  for (const { filename, bytes } of archives) await writeFile(home.file(`${folder}/${filename}`), bytes);
}

const CHANNEL = 'oci-layout:./ch';

describe('what was done', () => {
  test('is said for each archive, then for the channel', async () => {
    const home = await homeWith(HELLO);
    const first = await home.run(['push', 'built', CHANNEL]);
    expect(first).toMatchObject({ code: 0, stderr: '' });
    expect(first.stdout.replace(home.path, '~')).toMatchInlineSnapshot(`
      "noarch/hello-1.0-0.conda, 969 B: published
        sha256:4a4ee9e24c38c4aba6147201e48990e844bf1d5fb606ee240ea3e6595102687b

      noarch: 1 archive listed
      1 published: ~/ch
      "
    `);
    await writeTo(home, 'built', OLD);
    const second = await home.run(['push', 'built', CHANNEL, '--dry-run']);
    expect(second.stdout.replace(home.path, '~')).toMatchInlineSnapshot(`
      "noarch/hello-1.0-0.conda, 969 B: there already
      noarch/hello-1.0-0.tar.bz2, 574 B: would be published
        sha256:1ae1e96bdac0f3d1c255c05207bfb67a40f83a7f4584dfb25858e51aff8f6f48

      1 would be published, 1 there already: ~/ch
      "
    `);
  });

  test('with --quiet nothing is said, and with --json all of it', async () => {
    const home = await homeWith(HELLO);
    expect(await home.run(['push', 'built', CHANNEL, '--quiet'])).toEqual({
      code: 0,
      stdout: '',
      stderr: '',
    });
    await writeTo(home, 'built', OTHER, FAULTY);
    const { code, stdout } = await home.run(['push', 'built', CHANNEL, '--json', '--no-index']);
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toEqual({
      channel: home.file('ch'),
      schema: 'v0',
      dryRun: false,
      published: [],
      subdirs: [],
      failed: [
        {
          path: 'built/hello-1.0-0.conda',
          filename: HELLO.filename,
          code: 'ARCHIVE_EXISTS',
          message: '`hello-1.0-0.conda` is published already, with other bytes',
          hint: expect.stringContaining('without --no-index') as string,
        },
        {
          path: `built/${FAULTY.filename}`,
          filename: FAULTY.filename,
          code: 'ARCHIVE_FAULTY',
          message: expect.stringContaining('cep33/version-number asks for') as string,
          hint: `conda-ferry check built/${FAULTY.filename} says what and where`,
          findings: [expect.objectContaining({ clause: 'cep33/version-number', severity: 'error' })],
        },
      ],
    });
    const replaced = await home.run(['push', `built/${HELLO.filename}`, CHANNEL, '--json', '--replace']);
    expect(JSON.parse(replaced.stdout)).toMatchObject({
      published: [
        {
          path: 'built/hello-1.0-0.conda',
          subdir: 'noarch',
          filename: HELLO.filename,
          status: 'replaced',
          digest: expect.stringMatching(/^sha256:/) as string,
          size: OTHER.bytes.byteLength,
          repository: 'noarch/hello',
          tag: '1.0-0',
          manifest: expect.stringMatching(/^sha256:/) as string,
        },
      ],
      subdirs: [{ subdir: 'noarch', repodata: expect.stringMatching(/^sha256:/) as string, records: 1 }],
      failed: [],
    });
  });

  test('failures are told with what to do, the others go on, and the exit status is 1', async () => {
    const home = await homeWith(HELLO, FAULTY);
    await writeFile(home.file('notes.txt'), 'x');
    const archives = [`built/${HELLO.filename}`, `built/${FAULTY.filename}`, 'notes.txt'];
    const { code, stdout, stderr } = await home.run(['push', ...archives, CHANNEL]);
    expect(code).toBe(1);
    expect(stdout).toContain('1 published, 2 failed');
    expect(stderr).toMatchInlineSnapshot(`
      "error: built/hello-99999999999-0.conda: \`hello-99999999999-0.conda\` breaks a rule for archives: cep33/version-number asks for no number beyond 2147483647, and there is \`99999999999\` [ARCHIVE_FAULTY]

      hint: conda-ferry check built/hello-99999999999-0.conda says what and where
      error: notes.txt: \`notes.txt\` is no archive name: it ends neither in \`.conda\` nor in \`.tar.bz2\`, or is too long [RECORD_INVALID]
      "
    `);
  });
});

describe('what is meant', () => {
  test('files, folders with subdirs, patterns and a list on stdin', async () => {
    const home = await testHome();
    await cp(FIXTURE_CHANNEL, home.file('output'), { recursive: true });
    const all = await home.run(['push', 'output', 'oci-layout:./all']);
    expect(all.stdout).toContain('33 published');
    const some = await home.run(['push', 'output/osx-*/*.tar.bz2', 'output/noarch', 'oci-layout:./some']);
    expect(some.stdout).toContain('6 published');
    const names = (await readdir(home.file('output/noarch'))).filter((name) => name.endsWith('.conda'));
    const input = names.map((name) => `output/noarch/${name}\r\n`).join('\n');
    const listed = await home.run(['push', '-', 'oci-layout:./listed'], { input });
    expect(listed.stdout).toContain(`${String(names.length)} published`);
  });

  test.each([
    [[], 'missing required argument', 2],
    [['built/hello-1.0-0.conda'], 'the last word is the channel', 2],
    [[CHANNEL], 'at least one archive', 2],
    [['gone.conda', CHANNEL], 'there is no archive `gone.conda`', 3],
    [['gone*', CHANNEL], 'there is no archive `gone*`', 3],
    [['empty', CHANNEL], 'there are no archives in `empty`', 3],
    [['-', CHANNEL], 'the list on stdin names no archive', 3],
    [['-', '-', CHANNEL], 'stdin, which can be read once', 2],
    [['-', 'oci://127.0.0.1:1/x', '--username', 'me', '--password-stdin'], 'both read stdin', 2],
    [['built', './ch'], 'ordinary conda channel', 2],
    [['built', 'oci://127.0.0.1:1'], 'lacks the path', 2],
    [['built', 'oci://127.0.0.1:1/x'], 'nobody listens there', 3],
    [['built', CHANNEL, '--schema', 'v2'], 'no schema `v2`', 2],
    [['built', CHANNEL, '--schema', 'v1', '--no-plain-json'], 'uncompressed', 2],
    [['built', CHANNEL, '--annotation', 'x'], 'is not KEY=VALUE', 2],
    [['built', CHANNEL, '--annotation', '=x'], 'is not KEY=VALUE', 2],
    [['built', CHANNEL, '--annotation', 'org.conda.x=1'], 'belong to the schema', 2],
    [['built', CHANNEL, '--annotation', 'a=1', '--annotation', 'a=2'], 'given twice', 2],
    [['built', CHANNEL, '--source-repo', 'me/recipes'], 'takes a URL', 2],
    [['built', CHANNEL, '--source-repo', 'https://me@github.com/x'], 'takes a URL', 2],
    [['built', CHANNEL, '--concurrency', '0'], 'a number from 1 to 1024', 2],
  ] as const)('wrong input is refused, and nothing is made: %j', async (args, said, code) => {
    const home = await homeWith(HELLO);
    await mkdir(home.file('empty'));
    const result = await home.run(['push', ...args]);
    expect(result.stderr).toContain(said);
    expect(result.code).toBe(code);
    expect(result.stdout).toBe('');
    expect(await readdir(home.path)).not.toContain('ch');
  });

  test.each(['v0', 'v1'])(
    'annotations are for the artifacts, and words behind them are archives: %s',
    async (schema) => {
      const home = await homeWith(HELLO);
      const source = 'https://github.com/me/recipes';
      const flags = ['--annotation', 'a=1=2', '--annotation', 'b='];
      const args = ['push', ...flags, 'built', CHANNEL, '--source-repo', source, '--schema', schema];
      expect(await home.run(args)).toMatchObject({ code: 0 });
      const leaf = schema === 'v0' ? 'hello' : 'chello';
      const shown = await home.run(['inspect', `${CHANNEL}/noarch/${leaf}:1.0-0`, '--json']);
      const text = shown.stdout;
      for (const said of ['"a": "1=2"', '"b": ""', `"org.opencontainers.image.source": "${source}"`])
        expect(text).toContain(said);
    },
  );

  test('a channel of the other schema is not published into', async () => {
    const home = await homeWith(HELLO);
    await home.run(['push', 'built', CHANNEL]);
    const { code, stderr } = await home.run(['push', 'built', CHANNEL, '--schema', 'v1']);
    expect(code).toBe(3);
    expect(stderr).toContain('[SCHEMA_CONFLICT]');
    expect(stderr).toContain('--schema v0');
  });

  test('a label is a channel beside the others', async () => {
    const home = await homeWith(HELLO);
    await home.run(['push', 'built', CHANNEL, '--label', 'dev']);
    expect((await home.run(['list', CHANNEL, '--label', 'dev'])).stdout).toContain(HELLO.filename);
    expect((await home.run(['list', CHANNEL])).stdout).not.toContain(HELLO.filename);
  });

  test('a mirror is refused with the two ways out', async () => {
    const home = await homeWith(HELLO);
    await cp(FIXTURE_CHANNEL, home.file('source'), { recursive: true });
    await rm(home.file('source/channeldata.json'));
    await home.run(['mirror', './source', CHANNEL, '--quiet']);
    const refused = await home.run(['push', 'built', CHANNEL]);
    expect(refused).toMatchObject({ code: 3, stdout: '' });
    expect(refused.stderr).toContain('[ROLE_MISMATCH]');
    expect(refused.stderr).toMatch(/hint: .*--force.*--merge/);
    expect(await home.run(['push', 'built', CHANNEL, '--force'])).toMatchObject({ code: 0 });
  });
});

describe('registries', () => {
  let registry: TestRegistry;
  beforeAll(async () => {
    registry = await startRegistry();
  });
  afterAll(async () => registry[Symbol.asyncDispose]());

  test('what is pushed there is found to be sound by check and verify', async () => {
    const home = await homeWith(HELLO, OLD);
    const channel = `oci://${registry.host}/${registry.prefix}/cli`;
    const pushed = await runProcess(['push', home.file('built'), channel]);
    expect(pushed).toMatchObject({ code: 0 });
    expect(pushed.stdout).toContain('2 published');
    expect(await home.run(['check', channel, '--schema', 'v0'])).toMatchObject({ code: 0 });
    expect(await home.run(['verify', channel, '--deep'])).toMatchObject({ code: 0 });
  });

  test('one that takes no uploads is one error, whatever was to be pushed', async () => {
    const double = await useRegistryDouble({ readOnly: true });
    const home = await homeWith(HELLO, OLD, smallConda({ name: 'more' }));
    const { code, stderr, stdout } = await home.run(['push', 'built', `oci://${double.host}/org/ch`]);
    expect(code).toBe(3);
    expect(stdout).toBe('');
    expect(stderr.match(/^error: /gm)).toHaveLength(1);
    expect(stderr).toContain('takes no uploads');
  });
});

test.runIf(process.getuid?.() !== 0)('a folder that cannot be written is one error', async () => {
  const home = await homeWith(HELLO);
  await mkdir(home.file('ch'), { mode: 0o555 });
  const { code, stderr } = await home.run(['push', 'built', CHANNEL]);
  expect(code).toBe(3);
  expect(stderr.match(/^error: /gm)).toHaveLength(1);
});

test('what stands in the way of a channel on disk is named', async () => {
  const home = await homeWith(HELLO);
  await writeFile(join(home.path, 'file'), '');
  const { code, stderr } = await home.run(['push', 'built', 'oci-layout:./file/ch']);
  expect(code).toBe(3);
  expect(stderr).toContain('is not a folder [LAYOUT_INVALID]');
});

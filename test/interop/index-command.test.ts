import { cp, mkdir, rm, writeFile } from 'node:fs/promises';
import { beforeEach, expect, test } from 'vitest';
import { FIXTURE_CHANNEL } from '../support/channels.js';
import { useGhcrDouble } from '../support/double/ghcr.js';
import { testHome, type TestHome } from '../support/home.js';
import { smallConda } from '../support/v1-channel.js';

/** `index` of channels in registries and image layouts. */

const A = smallConda({ name: 'a' });
const B = smallConda({ name: 'b' });
const CHANNEL = 'oci-layout:./ch';

let home: TestHome;
beforeEach(async () => {
  home = await testHome();
  await mkdir(home.file('built'));
  for (const { filename, bytes } of [A, B]) await writeFile(home.file(`built/${filename}`), bytes);
});

const shown = ({ stdout }: { readonly stdout: string }): string => stdout.replaceAll(home.path, '~');

test('what it did is said, subdir by subdir, and a second run does nothing', async () => {
  await home.run(['push', `built/${A.filename}`, CHANNEL]);
  await home.run(['push', `built/${B.filename}`, CHANNEL, '--no-index']);
  await rm(home.file('ch/noarch/a'), { recursive: true });
  const first = await home.run(['index', CHANNEL]);
  expect(first).toMatchObject({ code: 0, stderr: '' });
  expect(shown(first)).toMatchInlineSnapshot(`
    "subdir  records  new  gone  rewritten  failed  compacted
    noarch        1    1     1          0       0          0  written
    new: noarch/b-1.0-0.conda
    gone: noarch/a-1.0-0.conda

    written too: noarch/run_exports.json
    written too: noarch/current_repodata.json
    written too: channeldata.json
    indexed: ~/ch, 1 record
    "
  `);
  expect(shown(await home.run(['index', CHANNEL]))).toMatchInlineSnapshot(`
    "subdir  records  new  gone  rewritten  failed  compacted
    noarch        1    0     0          0       0          0  as it was

    indexed: ~/ch, 1 record
    "
  `);
});

test('patches are kept, and taken back by an empty file', async () => {
  await home.run(['push', 'built', CHANNEL]);
  const before = (await home.run(['list', CHANNEL])).stdout;
  await home.write('patches.json', { remove: [A.filename] });
  const patched = await home.run(['index', CHANNEL, '--patch', 'patches.json']);
  expect(patched.stdout).toContain(`removed by patches: noarch/${A.filename}`);
  expect((await home.run(['index', CHANNEL])).stdout).toContain('as it was');
  expect((await home.run(['list', CHANNEL])).stdout).not.toBe(before);
  await home.write('patches.json', {});
  expect((await home.run(['index', CHANNEL, '--patch', 'patches.json'])).stdout).toContain(
    `new: noarch/${A.filename}`,
  );
  expect((await home.run(['list', CHANNEL])).stdout).toBe(before);
});

test('as JSON', async () => {
  await home.run(['push', 'built', CHANNEL]);
  const { stdout } = await home.run(['index', CHANNEL, '--json', '--no-companions']);
  expect(JSON.parse(stdout)).toEqual({
    channel: home.file('ch'),
    schema: 'v0',
    companions: [],
    subdirs: [
      {
        subdir: 'noarch',
        role: 'published',
        records: 2,
        added: [],
        dropped: [],
        removed: [],
        rewritten: [],
        failed: [],
        generation: expect.stringMatching(/^\d{4}(?:\.\d\d){5}$/) as string,
        compacted: 0,
        isChanged: true,
      },
    ],
  });
});

test('archives that cannot be listed are named, and the exit status is 1', async () => {
  await home.run(['push', 'built', CHANNEL]);
  // What stands under the name of `c` says that it is `b`.
  await cp(home.file('ch/noarch/b'), home.file('ch/noarch/c'), { recursive: true });
  const { code, stderr, stdout } = await home.run(['index', CHANNEL]);
  expect(code).toBe(1);
  expect(stderr).toMatch(/^error: noarch\/c-1\.0-0\.conda: .*\[ARCHIVE_INDEX_MISMATCH\]/);
  expect(stdout).toContain('indexed: ');
});

test('a mirror stays as it is, and is made anew by force only', async () => {
  await home.run(['mirror', FIXTURE_CHANNEL, CHANNEL, '--quiet']);
  const { stdout } = await home.run(['index', CHANNEL]);
  expect(stdout).not.toMatch(/ written$/m);
  const refused = await home.run(['index', CHANNEL, '--from-artifacts']);
  expect(refused).toMatchObject({ code: 3, stdout: '' });
  expect(refused.stderr).toMatch(/\[ROLE_MISMATCH\][^]*hint: .*--force/);
  const forced = await home.run(['index', CHANNEL, '--from-artifacts', '--force']);
  expect(forced.code).toBe(0);
  const again = await home.run(['index', CHANNEL, '--from-artifacts', '--force']);
  expect(again.stdout).not.toMatch(/ written$/m);
});

test.each([
  [['oci-layout:./nowhere'], 'CHANNEL_NOT_FOUND', 3],
  [[CHANNEL, '--subdir', 'linux-64'], 'there is no `linux-64`', 3],
  [[CHANNEL, '--subdir', 'No'], 'is no subdir', 2],
  [[CHANNEL, '--names', 'gone'], '`gone` cannot be read', 2],
  [[CHANNEL, '--names', 'names'], '`Not a name`, which is no package name', 2],
  [[CHANNEL, '--names', '-', '--username', 'me', '--password-stdin'], 'both read stdin', 2],
  [[CHANNEL, '--patch', 'gone'], '`gone` cannot be read', 2],
  [[CHANNEL, '--patch', 'names'], 'is not JSON', 3],
  [[CHANNEL, '--generation', '2026.11.21.07.35.09', '--from-artifacts'], 'goes with none of', 2],
  [[CHANNEL, '--drop-missing'], 'belongs to --generation', 2],
  [['conda-forge'], 'ordinary conda channel', 2],
] as const)('wrong input changes nothing: %j', async (args, said, code) => {
  await home.run(['push', `built/${A.filename}`, CHANNEL, '--quiet']);
  await home.write('names', 'zlib\n\nNot a name\n');
  const result = await home.run(['index', ...args]);
  expect(result.stderr).toContain(said);
  expect(result).toMatchObject({ code, stdout: '' });
  expect((await home.run(['index', CHANNEL, '--list-generations'])).stdout).toContain('no generations');
});

test('on GHCR its API tells what is stored; where that is not to be reached, names do', async () => {
  const writer = { username: 'me', password: 'ghp_me', owners: ['org'] } as const;
  const ghcr = await useGhcrDouble({ users: [writer] });
  const channel = `oci://${ghcr.host}/org/ch`;
  const env = { CONDA_FERRY_USERNAME: writer.username, CONDA_FERRY_PASSWORD: writer.password };
  const run = async (verb: string, ...args: string[]) =>
    home.run([verb, ...args, '--profile', 'ghcr.io'], { env });
  await run('push', `built/${A.filename}`, channel);
  await run('push', `built/${B.filename}`, channel, '--no-index');
  await home.write('names', 'b\n');
  const nowhere = 'http://127.0.0.1:9/';
  const blind = await run('index', channel, '--github-api', nowhere);
  expect(blind).toMatchObject({ code: 0, stderr: expect.stringContaining('--names adds others') as string });
  expect(blind.stdout).not.toContain('new: ');
  const named = await run('index', channel, '--github-api', nowhere, '--names', 'names');
  expect(named.stdout).toContain(`new: noarch/${B.filename}`);
  const C = smallConda({ name: 'c' });
  await writeFile(home.file(`built/${C.filename}`), C.bytes);
  await run('push', `built/${C.filename}`, channel, '--no-index');
  const seeing = await run('index', channel, '--github-api', `${ghcr.apiUrl}/`);
  expect(seeing).toMatchObject({ code: 0, stderr: '' });
  expect(seeing.stdout).toContain(`new: noarch/${C.filename}`);
});

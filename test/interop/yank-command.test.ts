import { mkdir, writeFile } from 'node:fs/promises';
import { beforeEach, expect, test } from 'vitest';
import { testHome, type TestHome } from '../support/home.js';
import { smallConda } from '../support/v1-channel.js';

const OLD = smallConda({ version: '1.0' });
const NEW = smallConda({ version: '2.0' });
const CHANNEL = 'oci-layout:./ch';

let home: TestHome;
beforeEach(async () => {
  home = await testHome();
  await mkdir(home.file('built'));
  for (const { filename, bytes } of [OLD, NEW]) await writeFile(home.file(`built/${filename}`), bytes);
  await home.run(['push', 'built', CHANNEL, '--quiet']);
});

test('what is yanked is said, and what was so before', async () => {
  const dry = await home.run(['yank', CHANNEL, 'hello ==1.0', '--dry-run']);
  expect(dry.stdout.replace(home.path, '~')).toMatchInlineSnapshot(`
    "noarch/hello-1.0-0.conda: would be yanked

    1 archive would be yanked: ~/ch
    "
  `);
  const yanked = await home.run(['yank', CHANNEL, 'hello ==1.0']);
  expect(yanked).toMatchObject({ code: 0, stderr: '' });
  const again = await home.run(['yank', CHANNEL, OLD.filename]);
  expect(again.stdout.replace(home.path, '~')).toMatchInlineSnapshot(`
    "noarch/hello-1.0-0.conda: yanked before

    0 archives yanked: ~/ch
    "
  `);
  const undone = await home.run(['yank', CHANNEL, OLD.filename, '--undo']);
  expect(undone.stdout.replace(home.path, '~')).toMatchInlineSnapshot(`
    "noarch/hello-1.0-0.conda: listed again

    1 archive listed again: ~/ch
    "
  `);
  expect((await home.run(['list', CHANNEL])).stdout).toContain(OLD.filename);
});

test('as JSON', async () => {
  const { stdout } = await home.run(['yank', CHANNEL, 'hello', '--json', '--subdir', 'noarch']);
  expect(JSON.parse(stdout)).toEqual({
    channel: home.file('ch'),
    schema: 'v0',
    dryRun: false,
    undo: false,
    changed: [OLD, NEW].map(({ filename }) => ({ subdir: 'noarch', filename })),
    unchanged: [],
  });
});

test('a push of it is refused, and told how it can be published after all', async () => {
  await home.run(['yank', CHANNEL, OLD.filename]);
  const refused = await home.run(['push', `built/${OLD.filename}`, CHANNEL]);
  expect(refused.code).toBe(1);
  expect(refused.stderr).toContain('was removed from the channel [ARCHIVE_REMOVED]');
  expect(refused.stderr).toContain('--replace publishes under that name again');
});

test.each([
  [[CHANNEL], 'missing required argument', 2],
  [[CHANNEL, 'nothing', 'hello'], 'has nothing for `nothing` [NOT_FOUND]', 3],
  [[CHANNEL, 'sha256:0'], 'has nothing for', 3],
  [[CHANNEL, 'hello[version=='], 'MATCH_SPEC_INVALID', 2],
  [[CHANNEL, 'hello', '--undo'], 'is no file name', 2],
  [[CHANNEL, OLD.filename.replace('1.0', '9'), '--undo'], 'only what stands in `removed`', 3],
  [[CHANNEL, 'hello', '--subdir', 'No'], 'is no subdir', 2],
  [['oci-layout:./nowhere', 'hello'], 'CHANNEL_NOT_FOUND', 3],
  [['./built', 'hello'], 'ordinary conda channel', 2],
] as const)('wrong input changes nothing: %j', async (args, said, code) => {
  const before = (await home.run(['list', CHANNEL])).stdout;
  const result = await home.run(['yank', ...args]);
  expect(result.stderr).toContain(said);
  expect(result).toMatchObject({ code, stdout: '' });
  expect((await home.run(['list', CHANNEL])).stdout).toBe(before);
});

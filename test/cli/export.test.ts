import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { condaPackage } from '../../fixtures/build/archive.mjs';
import { writeChannel } from '../../fixtures/build/channel.mjs';
import { runFerry } from '../support/ferry-here.js';
import { tempFolder } from '../support/temp.js';

let home: string;
let channel: string;
beforeEach(async () => {
  home = await tempFolder();
  channel = join(home, 'channel');
  await writeChannel(channel, { noarch: [hello('1.0')] });
});

function hello(version: string) {
  return condaPackage({ name: 'hello', version, build: '0', subdir: 'noarch', index: { noarch: 'generic' } });
}

/** Runs the command; places and sizes are made the same everywhere. */
async function ferry(...args: string[]) {
  const { code, stdout, stderr } = await runFerry([...args, '--quiet'], { cwd: home });
  const same = (text: string): string => text.replaceAll(home, 'HOME').replace(/\d+ B\b/g, 'SIZE');
  return { code, stdout: same(stdout).trimEnd(), stderr: same(stderr).trimEnd() };
}

test('mirror into a folder plans, exports, and reports what failed with exit status 1', async () => {
  expect(await ferry('mirror', './channel', './copy', '--plan')).toMatchInlineSnapshot(`
    {
      "code": 0,
      "stderr": "",
      "stdout": "subdir  listed  there  to check  to add   size
    noarch       1      0         0       1  SIZE

    1 archive, SIZE
    from file://HOME/channel
    to the folder HOME/copy; nothing was moved",
    }
  `);
  expect(await ferry('mirror', './channel', './copy')).toMatchInlineSnapshot(`
    {
      "code": 0,
      "stderr": "",
      "stdout": "subdir  listed  there  added  failed  repodata
    noarch       1      0      1       0  the source's

    exported to HOME/copy: 1 archive (SIZE)",
    }
  `);
  expect(await readFile(join(home, 'copy', 'noarch', 'repodata.json'))).toEqual(
    await readFile(join(channel, 'noarch', 'repodata.json')),
  );
  await writeChannel(channel, { noarch: [hello('1.0'), hello('2.0')] });
  await rm(join(channel, 'noarch', 'hello-2.0-0.conda'));
  expect(await ferry('mirror', `file://${channel}`, `file://${join(home, 'copy')}`)).toMatchInlineSnapshot(`
    {
      "code": 1,
      "stderr": "",
      "stdout": "subdir  listed  there  added  failed  repodata
    noarch       2      1      0       1  rewritten

    failed: noarch/hello-2.0-0.conda
      the source does not have it (no such file) [ARCHIVE_ABSENT]

    exported to HOME/copy: nothing new; 1 failed",
    }
  `);
});

test('mirror --delta-from writes a bundle, which mirror takes to where the earlier state is', async () => {
  await ferry('mirror', './channel', 'oci-layout:./earlier');
  await ferry('mirror', 'oci-layout:./earlier', 'oci-layout:./offline');
  await writeChannel(channel, { noarch: [hello('1.0'), hello('2.0')] });
  expect(await ferry('mirror', './channel', 'oci-layout:./bundle', '--delta-from', 'oci-layout:./earlier'))
    .toMatchInlineSnapshot(`
    {
      "code": 0,
      "stderr": "",
      "stdout": "subdir  listed  there  added  failed  withheld  repodata
    noarch       2      1      1       0         0  the source's

    mirrored to HOME/bundle: 1 archive (SIZE) in 1 artifact",
    }
  `);
  expect(await ferry('mirror', 'oci-layout:./bundle', 'oci-layout:./offline')).toMatchInlineSnapshot(`
    {
      "code": 0,
      "stderr": "",
      "stdout": "subdir  listed  there  added  failed  withheld  repodata
    noarch       2      1      1       0         0  the source's

    mirrored to HOME/offline: 1 archive (SIZE) in 1 artifact",
    }
  `);
  expect(await ferry('mirror', 'oci-layout:./bundle', 'oci-layout:./empty')).toMatchInlineSnapshot(`
    {
      "code": 3,
      "stderr": "error: \`HOME/empty\` lacks the repodata of \`noarch\` that the bundle goes on from [BUNDLE_BASE_MISMATCH]

    hint: import the bundles in between first, or make one with --delta-from a copy of this destination",
      "stdout": "",
    }
  `);
  expect(await ferry('mirror', './channel', 'oci-layout:./bundle')).toMatchInlineSnapshot(`
    {
      "code": 2,
      "stderr": "error: \`HOME/bundle\` is a bundle, which holds only a part of a channel [USAGE]

    hint: choose another folder",
      "stdout": "",
    }
  `);
  expect(await ferry('mirror', './channel', './copy', '--delta-from', './earlier')).toMatchInlineSnapshot(`
    {
      "code": 2,
      "stderr": "error: \`--delta-from\` writes a bundle out of a whole channel [USAGE]

    hint: write oci-layout:./dir as the destination, and no bundle as the source",
      "stdout": "",
    }
  `);
});

test('an export takes filters, lists of known failures and other places of the source', async () => {
  await writeChannel(channel, { noarch: [hello('1.0'), hello('2.0'), hello('3.0')] });
  expect(await ferry('mirror', './channel', './copy', '--include', 'hello <3', '--latest', '1', '--plan'))
    .toMatchInlineSnapshot(`
    {
      "code": 0,
      "stderr": "",
      "stdout": "subdir  listed  there  to check  to add   size
    noarch       3      0         0       1  SIZE

    left out of noarch: 1 older than the latest, 1 not included

    1 archive, SIZE
    from file://HOME/channel
    to the folder HOME/copy; nothing was moved",
    }
  `);
  await ferry('mirror', './channel', './copy', '--include', 'hello <3', '--latest', '1');
  const read = async (): Promise<string[]> => {
    const text = await readFile(join(home, 'copy', 'noarch', 'repodata.json'), 'utf8');
    return Object.keys((JSON.parse(text) as { 'packages.conda': object })['packages.conda']);
  };
  expect(await read()).toEqual(['hello-2.0-0.conda']);

  await rm(join(channel, 'noarch', 'hello-3.0-0.conda'));
  expect(await ferry('mirror', './channel', './copy', '--quarantine', 'failed.txt')).toMatchObject({
    code: 1,
  });
  expect(await ferry('mirror', './channel', './copy', '--accept', 'failed.txt')).toMatchInlineSnapshot(`
    {
      "code": 0,
      "stderr": "",
      "stdout": "subdir  listed  there  added  failed  repodata
    noarch       3      2      0       1  as it was

    failed, as accepted: 1 archive of noarch; --verbose and --json name them all

    exported to HOME/copy: nothing new; 1 failed, as accepted",
    }
  `);
  expect(await read()).toEqual(['hello-1.0-0.conda', 'hello-2.0-0.conda']);
  const places = ['http://127.0.0.1:9/channel', './other', '--fallback', './channel'];
  expect(await ferry('mirror', ...places, '--subdir', 'noarch', '--accept', 'failed.txt')).toMatchObject({
    code: 0,
  });
});

test.each([
  ['--apply', 'plan.json'],
  ['--plan', '--plan-out', 'plan.json'],
  ['--plan', '--rate', '10'],
  ['--include-removed'],
  ['--resume'],
  ['--keep-generations', '3'],
  ['--stop-grace', '3'],
  ['--no-plain-json'],
  ['--no-client-shims'],
])('an export refuses %s %s %s, which would be passed over', async (...flags) => {
  const refused = await ferry('mirror', './channel', './copy', ...flags);
  expect(refused).toMatchObject({ code: 2, stdout: '' });
  expect(refused.stderr).toContain('means nothing where the destination is a plain folder');
});

test('a bundle takes filters: what they leave out is neither in it nor listed where it goes', async () => {
  await ferry('mirror', './channel', 'oci-layout:./earlier');
  await ferry('mirror', 'oci-layout:./earlier', 'oci-layout:./offline');
  await writeChannel(channel, { noarch: [hello('1.0'), hello('2.0'), hello('3.0')] });
  const bundle = ['oci-layout:./bundle', '--delta-from', 'oci-layout:./earlier', '--include', 'hello >=2,<3'];
  expect(await ferry('mirror', './channel', ...bundle)).toMatchObject({ code: 0 });
  expect(await ferry('mirror', 'oci-layout:./bundle', 'oci-layout:./offline')).toMatchObject({ code: 0 });
  const { stdout } = await runFerry(['list', 'oci-layout:./offline', '--json'], { cwd: home });
  expect(new Set(stdout.match(/hello-\d\.0-0\.conda/g))).toEqual(new Set(['hello-2.0-0.conda']));
});

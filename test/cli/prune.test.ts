import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { condaPackage } from '../../fixtures/build/archive.mjs';
import { writeChannel } from '../../fixtures/build/channel.mjs';
import { WorkerPool } from '#ferry/artifact/worker-pool.js';
import type { FerryResult } from '../support/ferry.js';
import { runFerry } from '../support/ferry-here.js';
import { layoutStore, mirrorFolder } from '../support/stores.js';
import { tempFolder } from '../support/temp.js';

/** A channel in image layouts that was mirrored twice; the second time `b` was gone. */
async function mirroredTwice(): Promise<{
  readonly ferry: (...args: string[]) => Promise<FerryResult>;
  readonly mirror: string;
}> {
  const cwd = await tempFolder();
  const archive = (name: string) =>
    condaPackage({ name, version: '1', build: '0', subdir: 'noarch', index: { noarch: 'generic' } });
  const ferry = async (...args: string[]): Promise<FerryResult> => {
    const result = await runFerry(args, { cwd });
    const plain = (text: string): string =>
      text
        .replaceAll(cwd, '')
        .replaceAll(/ at \d{4}-\d\d-\d\dT[0-9:.]*Z/g, ' at NOW')
        .replaceAll(/\d+(?:\.\d)? k?B\b/g, 'SIZE');
    for (const line of result.stdout.split('\n')) expect(line.length, line).toBeLessThanOrEqual(80);
    return { ...result, stdout: plain(result.stdout), stderr: plain(result.stderr) };
  };
  await using workers = new WorkerPool();
  for (const [number, archives] of [[archive('a'), archive('b')], [archive('a')]].entries()) {
    await rm(join(cwd, 'channel'), { recursive: true, force: true });
    await writeChannel(join(cwd, 'channel'), { noarch: archives });
    const now = () => new Date(Date.UTC(2026, 0, number + 1));
    await mirrorFolder(join(cwd, 'channel'), layoutStore(join(cwd, 'mirror')), { workers, now });
  }
  return { ferry, mirror: join(cwd, 'mirror') };
}

test('prune plans, and deletes only when told to: what an operator sees', async () => {
  const { ferry, mirror } = await mirroredTwice();
  const prune = async (...args: string[]) => ferry('prune', 'oci-layout:./mirror', ...args);
  const careful = await prune();
  expect(careful).toMatchObject({ code: 0, stderr: '' });
  expect(careful.stdout).toMatchInlineSnapshot(`
    "subdir  to delete  rewrite  free  stay  not there  generations  sidecars
    noarch          0        0   SIZE     1          0            0         0

    stay in noarch: 1 archive, listed by a generation that can be gone back to

    grace 30d; what the newest 3 generations list stays
    nothing was deleted in /mirror; --yes or --apply does that
    "
  `);
  const plan = await prune('--grace', '0', '--keep-generations', '1', '--plan-out', 'plan.json');
  expect(plan.stdout).toMatchInlineSnapshot(`
    "subdir  to delete  rewrite    free  stay  not there  generations  sidecars
    noarch          1        0  SIZE     0          0            1         0

    delete: noarch/b-1-0.conda
      SIZE, not listed since 2026-01-02 or longer

    grace 0; what the newest generation lists stays
    nothing was deleted in /mirror; --yes or --apply does that
    "
  `);
  const index = await readFile(join(mirror, 'noarch', 'b', 'index.json'), 'utf8');
  expect(index).toContain('1-0');
  const applied = await prune('--apply', 'plan.json');
  expect(applied).toMatchObject({ code: 0 });
  expect(applied.stdout).toMatchInlineSnapshot(`
    "subdir  deleted  rewritten    free  left  stay  generations  sidecars
    noarch        1          0  SIZE     0     0            1         0

    without any tag now: 1 repository
      noarch/b
    deleted in /mirror: 1 archive (SIZE)
    "
  `);
  expect(applied.stderr).toMatchInlineSnapshot(`
    "to delete: 1 archive
    "
  `);
  const again = await prune('--grace', '0', '--yes', '--json');
  expect(JSON.parse(again.stdout)).toMatchObject({ subdirs: [{ deleted: [], left: [] }] });
});

test.each([
  [['--apply', 'plan.json', '--grace', '3d']],
  [['--grace', 'long']],
  [['--keep-generations', '0']],
])('prune %j is a usage error', async (args) => {
  expect(await runFerry(['prune', 'oci-layout:./nowhere', ...args])).toMatchObject({ code: 2, stdout: '' });
});

test('index lists generations and goes back to one; the mirror waits for --resume', async () => {
  const { ferry } = await mirroredTwice();
  const list = await ferry('index', 'oci-layout:./mirror', '--list-generations');
  expect(list.stdout).toMatchInlineSnapshot(`
    "subdir  generation           UTC               records    size
    noarch  2026.01.02.00.00.00  2026-01-02 00:00        1   SIZE  latest
    noarch  2026.01.01.00.00.00  2026-01-01 00:00        2  SIZE
    "
  `);
  const oldest = '2026.01.01.00.00.00';
  const back = await ferry('index', 'oci-layout:./mirror', '--generation', oldest);
  expect(back).toMatchObject({ code: 0, stderr: '' });
  expect(back.stdout).toMatchInlineSnapshot(`
    "subdir  generation           records  missing  unlisted  companions
    noarch  2026.01.01.00.00.00        2        0         0           0  rolled back

    rolled back: /mirror
    mirror runs stop here from now on, until one gets --resume
    "
  `);
  const held = await ferry('mirror', './channel', 'oci-layout:./mirror');
  expect(held).toMatchObject({ code: 3, stdout: '' });
  expect(held.stderr).toMatchInlineSnapshot(`
    "error: \`noarch\` of \`/mirror\` was rolled back to \`2026.01.01.00.00.00\` at NOW [ROLLED_BACK]

    hint: pass --resume to publish the newest state of the source again
    "
  `);
  expect(await ferry('mirror', './channel', 'oci-layout:./mirror', '--resume')).toMatchObject({ code: 0 });
  await ferry('prune', 'oci-layout:./mirror', '--grace', '0', '--keep-generations', '1', '--yes');
  const gone = await ferry('index', 'oci-layout:./mirror', '--generation', oldest);
  expect(gone).toMatchObject({ code: 3, stdout: '' });
});

test.each([[['--list-generations', '--drop-missing']]])('index %j is a usage error', async (args) => {
  expect(await runFerry(['index', 'oci-layout:./nowhere', ...args])).toMatchObject({ code: 2, stdout: '' });
});

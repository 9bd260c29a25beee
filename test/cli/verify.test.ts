import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { FerryResult } from '../support/ferry.js';
import { runFerry } from '../support/ferry-here.js';
import { tempFolder } from '../support/temp.js';
import { offer, smallConda, smallTarBz2 } from '../support/v1-channel.js';

/** A mirror in image layouts, `./mirror` of `./channel`. */
async function mirrored(): Promise<{
  readonly cwd: string;
  readonly verify: (...flags: string[]) => Promise<FerryResult>;
}> {
  const cwd = await tempFolder();
  await offer(
    join(cwd, 'channel'),
    smallConda({ name: 'alone' }),
    smallConda({ name: 'twin' }),
    smallTarBz2({ name: 'twin' }),
  );
  const mirror = ['mirror', './channel', 'oci-layout:./mirror', '--quiet'];
  expect(await runFerry(mirror, { cwd })).toMatchObject({ code: 0 });
  return {
    cwd,
    verify: async (...flags) => {
      const result = await runFerry(['verify', 'oci-layout:./mirror', ...flags], { cwd });
      const plain = (text: string): string => text.replaceAll(cwd, '');
      return { ...result, stdout: plain(result.stdout), stderr: plain(result.stderr) };
    },
  };
}

test('verify, and repair from the source that the ledger names: what an operator sees', async () => {
  const { cwd, verify } = await mirrored();
  const well = await verify();
  expect(well).toMatchObject({ code: 0, stderr: '' });
  expect(well.stdout).toMatchInlineSnapshot(`
    "subdir  listed  checked  faults  repaired  dropped
    noarch       3        3       0         0        0

    verified oci-layout:/mirror:
    3 archives in 2 artifacts, by their manifests
    all is well
    "
  `);
  await rm(join(cwd, 'mirror', 'noarch', 'twin'), { recursive: true });
  const found = await verify();
  expect(found).toMatchObject({ code: 1, stderr: '' });
  expect(found.stdout).toMatchInlineSnapshot(`
    "subdir  listed  checked  faults  repaired  dropped
    noarch       3        3       2         0        0

    ARTIFACT_MISSING (2): a listed archive has no artifact: its tag names nothing
      noarch/twin-1.0-0.tar.bz2
        \`noarch/twin:1.0-0\` is not there
      noarch/twin-1.0-0.conda
        \`noarch/twin:1.0-0\` is not there

    verified oci-layout:/mirror:
    3 archives in 2 artifacts, by their manifests
    2 faults, 2 of them repairable
    to repair: the same command with --repair
    "
  `);
  for (const line of found.stdout.split('\n')) expect(line.length, line).toBeLessThanOrEqual(80);
  const mended = await verify('--repair');
  expect(mended).toMatchObject({ code: 0, stderr: 'repairing noarch: 1 artifact, out of file:///channel\n' });
  expect(mended.stdout).toMatchInlineSnapshot(`
    "subdir  listed  checked  faults  repaired  dropped
    noarch       3        3       0         2        0

    repaired: ARTIFACT_MISSING (2): a listed archive has no artifact: its tag names
    nothing
      noarch/twin-1.0-0.tar.bz2
      noarch/twin-1.0-0.conda

    verified oci-layout:/mirror:
    3 archives in 2 artifacts, every blob asked for
    all is well
    "
  `);
  expect(await verify('--deep', '--against', './channel', '--quiet')).toMatchObject({ code: 0, stderr: '' });
});

test('verify --repair says what is not to be had, and --drop-missing stops listing it', async () => {
  const { cwd, verify } = await mirrored();
  await rm(join(cwd, 'mirror', 'noarch', 'alone'), { recursive: true });
  await rm(join(cwd, 'channel', 'noarch', 'alone-1.0-0.conda'));
  const left = await verify('--repair', '--quiet');
  expect(left).toMatchObject({ code: 1, stderr: '' });
  expect(left.stdout).toMatchInlineSnapshot(`
    "subdir  listed  checked  faults  repaired  dropped
    noarch       3        3       1         0        0

    ARTIFACT_MISSING (1): a listed archive has no artifact: its tag names nothing
      noarch/alone-1.0-0.conda
        \`noarch/alone:1.0-0\` is not there

    could not be repaired (1):
      noarch/alone-1.0-0.conda
        the source does not have it (no such file) [ARCHIVE_ABSENT]

    verified oci-layout:/mirror:
    3 archives in 2 artifacts, every blob asked for
    left: 1 fault
    to no longer list what is not to be had: --repair --drop-missing
    "
  `);
  const dropped = await verify('--repair', '--drop-missing', '--quiet', '--json');
  expect(dropped.code).toBe(0);
  expect(JSON.parse(dropped.stdout)).toMatchObject({
    schema: 'v0',
    depth: 'full',
    subdirs: [{ subdir: 'noarch', findings: [], dropped: ['alone-1.0-0.conda'] }],
    findings: [],
  });
});

test('flags that do not go together, and channels that cannot be repaired, are refused with 2', async () => {
  const cwd = await tempFolder();
  await offer(join(cwd, 'channel'), smallConda());
  const cases = [
    [['./channel', '--repair'], 'an ordinary channel cannot be repaired'],
    [['./channel', '--drop-missing'], 'pass --repair too'],
    [['./channel', '--seed', 'x'], 'pass --sample N too'],
    [['./channel', '--sample', '0'], 'a number from 1 on is wanted'],
  ] as const;
  for (const [args, message] of cases) {
    const result = await runFerry(['verify', ...args], { cwd });
    expect(result).toMatchObject({ code: 2, stdout: '' });
    expect(result.stderr).toContain(message);
  }
  const sampled = await runFerry(['verify', './channel', '--sample', '1', '--seed', 'x'], { cwd });
  expect(sampled.code).toBe(0);
  expect(sampled.stdout).toContain('--sample 1 --seed x');
  expect(await runFerry(['verify', 'oci-layout:./none'], { cwd })).toMatchObject({ code: 3, stdout: '' });
});

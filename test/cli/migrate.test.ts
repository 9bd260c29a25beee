import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { condaPackage, tarBz2Package } from '../../fixtures/build/archive.mjs';
import { writeChannel } from '../../fixtures/build/channel.mjs';
import { startRegistryDouble, type RegistryDouble } from '../support/double/registry-double.js';
import type { FerryResult } from '../support/ferry.js';
import { runFerry } from '../support/ferry-here.js';
import { tempFolder } from '../support/temp.js';

let registry: RegistryDouble;
beforeAll(async () => {
  registry = await startRegistryDouble();
});
afterAll(async () => registry[Symbol.asyncDispose]());

/** A channel `old` in the registry, of two packages, one of them in both formats. */
async function oldChannel(name: string): Promise<(...args: string[]) => Promise<FerryResult>> {
  const cwd = await tempFolder();
  const spec = (name: string) =>
    ({ name, version: '1.0', build: '0', subdir: 'noarch', index: { noarch: 'generic' } }) as const;
  await writeChannel(join(cwd, 'channel'), {
    noarch: [condaPackage(spec('a')), condaPackage(spec('b')), tarBz2Package(spec('b'))],
  });
  const old = `oci://${registry.host}/${name}/old`;
  expect(await runFerry(['mirror', './channel', old, '--quiet'], { cwd })).toMatchObject({ code: 0 });
  return async (...args) => {
    const result = await runFerry(['migrate', old, `oci://${registry.host}/${name}/new`, ...args], { cwd });
    const plain = (text: string): string => text.replaceAll(registry.host, 'HOST').replaceAll(cwd, '');
    return { ...result, stdout: plain(result.stdout), stderr: plain(result.stderr) };
  };
}

test('plan, then migrate, then again: what an operator sees', async () => {
  const migrate = await oldChannel('operator');
  registry.reset();
  const plan = await migrate('--to', 'v1', '--plan');
  expect(plan).toMatchObject({ code: 0, stderr: '' });
  expect(plan.stdout).toMatchInlineSnapshot(`
    "subdir  listed  there  to write  to read  bytes  requests  withheld
    noarch       3      0         2        0    0 B        14         1

    withheld: noarch/b-1.0-0.tar.bz2
      the schema holds one archive of a build, and that is \`b-1.0-0.conda\` [TWIN_UNREPRESENTABLE, v1/P6]

    one registry: blobs are mounted, or sent where the registry does not do that
    2 artifacts, 0 B, 14 requests
    from HOST/operator/old, schema v0
    to HOST/operator/new, schema v1; nothing was written
    "
  `);
  expect(registry.lines.filter((line) => !/^(?:GET|HEAD) /.test(line))).toEqual([]);
  const first = await migrate('--to', 'v1');
  expect(first.code).toBe(0);
  expect(first.stdout).toMatchInlineSnapshot(`
    "subdir  listed  there  migrated  failed  withheld  verified  repodata
    noarch       3      0         2       0         1         2  rewritten

    withheld: noarch/b-1.0-0.tar.bz2
      the schema holds one archive of a build, and that is \`b-1.0-0.conda\` [TWIN_UNREPRESENTABLE, v1/P6]

    migrated to HOST/operator/new, schema v1:
      2 archives in 2 artifacts; no archive was moved
    HOST/operator/old is as it was; to go back, delete the new channel
    "
  `);
  expect(first.stderr).toMatchInlineSnapshot(`
    "to migrate: 2 archives
    published: noarch (rewritten)
    "
  `);
  const second = await migrate('--to', 'v1', '--quiet');
  expect(second).toMatchObject({ code: 0, stderr: '' });
  expect(second.stdout).toMatchInlineSnapshot(`
    "subdir  listed  there  migrated  failed  withheld  verified  repodata
    noarch       3      2         0       0         1         2  as it was

    withheld: noarch/b-1.0-0.tar.bz2
      the schema holds one archive of a build, and that is \`b-1.0-0.conda\` [TWIN_UNREPRESENTABLE, v1/P6]

    migrated to HOST/operator/new, schema v1:
      nothing new
    HOST/operator/old is as it was; to go back, delete the new channel
    "
  `);
});

test('without --keep-going the first failure ends the run; with it, a file lists what to try again', async () => {
  const migrate = await oldChannel('failing');
  const repository = registry.repositories.get('failing/old/noarch/a');
  const digest = repository?.tags.get('1.0-0') ?? '';
  repository?.tags.delete('1.0-0');
  const stopped = await migrate('--to', 'v1');
  expect(stopped).toMatchObject({ code: 3, stdout: '' });
  expect(stopped.stderr).toMatchInlineSnapshot(`
    "to migrate: 2 archives
    error: \`noarch/a-1.0-0.conda\` cannot be migrated [ARCHIVE_ABSENT]
      because: there is no artifact at \`failing/old/noarch/a:1.0-0\`

    hint: pass --keep-going to leave out what fails; the next run goes on from here
    "
  `);

  const folder = await tempFolder();
  const file = join(folder, 'failed.json');
  const went = await migrate('--to', 'v1', '--keep-going', '--failures', file, '--json', '--quiet');
  expect(went).toMatchObject({ code: 1, stderr: '' });
  expect(JSON.parse(went.stdout)).toMatchObject({
    from: 'v0',
    to: 'v1',
    mounts: true,
    subdirs: [{ subdir: 'noarch', verified: 1, failed: [{ filename: 'a-1.0-0.conda' }] }],
    requests: { source: 0 },
  });
  expect(JSON.parse(await readFile(file, 'utf8'))).toMatchObject({
    failures_version: 1,
    failures: [{ subdir: 'noarch', filename: 'a-1.0-0.conda', code: 'ARCHIVE_ABSENT' }],
  });
  const inVain = await migrate('--to', 'v1', '--retry-failed', file, '--failures', file, '--quiet');
  expect(inVain.code).toBe(1);
  expect(inVain.stdout).toContain(`1 failed: try again with --retry-failed ${file}\n`);
  repository?.tags.set('1.0-0', digest);
  const mended = await migrate('--to', 'v1', '--retry-failed', file, '--quiet');
  expect(mended).toMatchObject({ code: 0, stderr: '' });
  expect(mended.stdout).toContain('  1 archive in 1 artifact; no archive was moved\n');
  await rm(file);
  expect(await migrate('--to', 'v1', '--retry-failed', file)).toMatchObject({ code: 2 });
  await writeFile(file, '[]');
  expect(await migrate('--to', 'v1', '--retry-failed', file)).toMatchObject({ code: 2 });
});

test('what cannot be is refused before anything is done', async () => {
  const migrate = await oldChannel('refused');
  registry.reset();
  expect((await migrate()).stderr).toContain("required option '--to <id>'");
  expect(await migrate('--to', 'v2')).toMatchObject({ code: 2 });
  expect(await migrate('--to', 'v0', '--from', 'v0')).toMatchObject({ code: 2 });
  const ordinary = await runFerry(['migrate', 'conda-forge', `oci://${registry.host}/x`, '--to', 'v1']);
  expect(ordinary.code).toBe(2);
  expect(ordinary.stderr).toContain('only a channel in a registry or in image layouts can be migrated');
  expect(registry.lines).toEqual([]);
});

test('credentials of the environment go to both ends where they are in one registry', async () => {
  await using guarded = await startRegistryDouble({
    auth: { kind: 'basic', username: 'me', password: 'secret' },
  });
  const env = { CONDA_FERRY_USERNAME: 'me', CONDA_FERRY_PASSWORD: 'secret' };
  const folder = await tempFolder();
  await writeChannel(folder, {
    noarch: [
      condaPackage({ name: 'a', version: '1', build: '0', subdir: 'noarch', index: { noarch: 'generic' } }),
    ],
  });
  const [old, next] = [`oci://${guarded.host}/old`, `oci://${guarded.host}/new`];
  expect(await runFerry(['mirror', folder, old, '--quiet'], { env })).toMatchObject({ code: 0 });
  expect(await runFerry(['migrate', old, next, '--to', 'v1', '--quiet'], { env })).toMatchObject({ code: 0 });
});

test('--help fits a terminal', async () => {
  const { stdout } = await runFerry(['migrate', '--help']);
  expect(stdout.split('\n').filter((line) => line.length > 80)).toEqual([]);
});

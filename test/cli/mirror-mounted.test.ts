import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { condaPackage } from '../../fixtures/build/archive.mjs';
import { writeChannel } from '../../fixtures/build/channel.mjs';
import { startRegistryDouble } from '../support/double/registry-double.js';
import { runFerry } from '../support/ferry.js';
import { tempFolder } from '../support/temp.js';

test('from one channel of a registry to another blobs are mounted, with the credentials of the destination', async () => {
  const user = { username: 'me', password: 'secret' };
  const registry = await startRegistryDouble({
    auth: { kind: 'token', users: [user], expiresInSeconds: 300 },
  });
  onTestFinished(async () => registry[Symbol.asyncDispose]());
  const cwd = await tempFolder();
  const spec = { version: '1.0', build: '0', subdir: 'noarch', index: { noarch: 'generic' } } as const;
  await writeChannel(join(cwd, 'channel'), { noarch: [condaPackage({ ...spec, name: 'a' })] });
  // They are for the destination only, unless the source is on the same host.
  const environment = { CONDA_FERRY_USERNAME: 'me', CONDA_FERRY_PASSWORD: 'secret' };
  const [from, to] = [`oci://${registry.host}/org/from`, `oci://${registry.host}/org/to`];
  const ferry = async (...args: string[]) => runFerry(['mirror', ...args], { cwd, env: environment });
  expect(await ferry('./channel', from, '--quiet')).toMatchObject({ code: 0 });

  registry.reset();
  const plan = await ferry(from, to, '--plan');
  expect(plan.stdout).toContain('one registry: blobs are mounted');
  expect(registry.lines.filter((line) => !/^(?:GET|HEAD) /.test(line))).toEqual([]);

  registry.reset();
  const result = await ferry(from, to, '--json', '--temp-limit', '20MB');
  expect(result).toMatchObject({ code: 0 });
  expect(JSON.parse(result.stdout)).toMatchObject({ mounts: true, subdirs: [{ added: 1, failed: [] }] });
  const ofPackage = registry.requests.filter(({ path }) => path.includes('/noarch/a/'));
  expect(ofPackage.map(({ method, path }) => `${method} ${path.replace(/^.*\/org/, '')}`)).toEqual([
    'GET /from/noarch/a/manifests/1.0-0',
    ...Array.from({ length: 4 }, () => 'POST /to/noarch/a/blobs/uploads/'),
    'PUT /to/noarch/a/manifests/1.0-0',
  ]);
}, 60_000);

test('--temp-limit takes a size', async () => {
  const cwd = await tempFolder();
  const result = await runFerry(['mirror', './a', 'oci-layout:./b', '--temp-limit', 'much'], { cwd });
  expect(result).toMatchObject({ code: 2, stdout: '' });
  expect(result.stderr).toContain('20GB');
}, 60_000);

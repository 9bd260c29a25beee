import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { FIXTURE_CHANNEL } from '../support/channels.js';
import { testEnvironment } from '../support/ferry.js';
import { authFileOf, DOCKER_FILE, testHome, type TestHome } from '../support/home.js';
import { peer } from '../support/peers.js';
import { startPasswordRegistry, startTlsRegistry, TEST_USER } from '../support/registries/docker.js';
import type { StartedRegistry } from '../support/registries/server-process.js';

const run = promisify(execFile);
const { username, password } = TEST_USER;
const LOGIN = ['--username', username, '--password-stdin'];

/** A client of others, in the same home. */
type Client = (args: readonly string[], input?: string) => Promise<string>;

let home: TestHome;
let oras: Client;
let skopeo: Client;

beforeEach(async () => {
  home = await testHome();
  const clientOf =
    (program: string): Client =>
    async (args, input = '') => {
      const running = run(program, args, { cwd: home.path, env: testEnvironment(home.path) });
      running.child.stdin?.end(input);
      return (await running).stdout;
    };
  oras = clientOf(peer('oras'));
  skopeo = clientOf('skopeo');
});

interface Place {
  readonly name: string;
  readonly start: () => Promise<StartedRegistry>;
  readonly ours: (registry: StartedRegistry) => readonly string[];
  readonly oras: (registry: StartedRegistry) => readonly string[];
}

const PLACES: readonly Place[] = [
  {
    name: 'with a password',
    start: startPasswordRegistry,
    ours: () => [],
    oras: () => ['--plain-http'],
  },
  {
    name: 'with a password and TLS',
    start: startTlsRegistry,
    ours: ({ caFile = '' }) => ['--no-plain-http', '--ca-file', caFile],
    oras: ({ caFile = '' }) => ['--plain-http=false', '--ca-file', caFile],
  },
];

describe.each(PLACES)('oras and a registry $name', (place) => {
  let registry: StartedRegistry;
  let host: string;
  let ours: readonly string[];
  let theirs: readonly string[];

  beforeEach(async () => {
    registry = await place.start();
    onTestFinished(async () => registry[Symbol.asyncDispose]());
    ({ host } = registry);
    ours = place.ours(registry);
    theirs = place.oras(registry);
  });

  const mirror = async (...flags: readonly string[]) =>
    home.run([
      ...['mirror', FIXTURE_CHANNEL, `oci://${host}/ch`, '--subdir', 'noarch', '--quiet', ...ours, ...flags],
    ]);
  const tags = async (...flags: readonly string[]) =>
    oras(['repo', 'tags', `${host}/ch/noarch/ferry-tool`, ...theirs, ...flags]);

  test.each([
    ['the default file', []],
    ['--registry-config', ['--registry-config', 'own.json']],
  ])('a login of oras is ours, in %s, and our logout its', async (_, config) => {
    await oras(['login', host, ...LOGIN, ...theirs, ...config], password);
    expect(await mirror(...config)).toMatchObject({ code: 0, stderr: '' });
    const file = config[1] ?? home.file(DOCKER_FILE);
    const out = await home.run(['logout', host, ...config]);
    expect(out.stdout).toBe(`logged out of ${host}; removed from ${file}\n`);
    await expect(tags(...config)).rejects.toThrow(/basic credential not found|unauthorized|401/i);
  });

  test.each([
    ['the default file', []],
    ['--registry-config', ['--registry-config', 'own.json']],
  ])('a login of ours is that of oras, in %s, and its logout ours', async (_, config) => {
    const login = ['login', host, ...LOGIN, ...ours, ...config];
    expect(await home.run(login, { input: password })).toMatchObject({ code: 0, stderr: '' });
    expect(await mirror(...config)).toMatchObject({ code: 0, stderr: '' });
    expect(await tags(...config)).toBe('2.1.0-py_0\n');
    await oras(['logout', host, ...config]);
    const { code, stderr } = await home.run(['list', `oci://${host}/ch`, ...ours, ...config]);
    expect(code).toBe(3);
    expect(stderr).toContain(`no credentials for \`${host}\` were found`);
  });

  test('both write the same file', async () => {
    await home.run(['login', host, ...LOGIN, ...ours], { input: password });
    await oras(['login', host, ...LOGIN, ...theirs, '--registry-config', 'theirs.json'], password);
    expect(await home.read('theirs.json')).toEqual(await home.read(DOCKER_FILE));
    expect(await home.read('theirs.json')).toEqual(authFileOf({ [host]: [username, password] }));
  });
});

test('skopeo and a registry with TLS: what it logs in to with its own certs folder, we mirror to', async () => {
  await using registry = await startTlsRegistry();
  const { host, caFile } = registry;
  const certificates = home.file('certs');
  // Skopeo wants the folder that it was told of to be there.
  await home.write('run/.keep', '');
  await home.write('certs/ca.crt', await readFile(caFile, 'utf8'));
  await skopeo(['login', host, ...LOGIN, '--cert-dir', certificates], password);
  const args = ['mirror', FIXTURE_CHANNEL, `oci://${host}/ch`, '--subdir', 'noarch', '--quiet'];
  const tls = ['--no-plain-http', '--ca-file', caFile];
  // Into Podman's file of the session, which we look into before all others.
  expect(await home.read('run/containers/auth.json')).toEqual(authFileOf({ [host]: [username, password] }));
  expect(await home.run([...args, ...tls])).toMatchObject({ code: 0, stderr: '' });
  await home.run(['logout', host]);
  expect((await home.run(['login', host, ...LOGIN, ...tls], { input: password })).code).toBe(0);
  const reference = `docker://${host}/ch/noarch/ferry-tool`;
  const listed = await skopeo(['list-tags', '--cert-dir', certificates, reference]);
  expect(JSON.parse(listed)).toMatchObject({ Tags: ['2.1.0-py_0'] });
});

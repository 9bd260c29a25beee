import { beforeEach, describe, expect, test } from 'vitest';
import { FIXTURE_CHANNEL } from '../support/channels.js';
import { testHelpers } from '../support/credential-helper.js';
import type { DoubleAuth } from '../support/double/options.js';
import { useRegistryDouble, type RegistryDouble } from '../support/double/registry-double.js';
import { authFileOf, DOCKER_FILE, PODMAN_FILE, testHome, type TestHome } from '../support/home.js';
import { startPasswordRegistry, TEST_USER } from '../support/registries/docker.js';

const SECRET = 's3cret';
const ARTIFACT = 'noarch/ferry-tool:2.1.0-py_0';
const AUTHS: readonly (readonly [string, DoubleAuth])[] = [
  ['Basic', { kind: 'basic', username: 'me', password: SECRET }],
  ['tokens', { kind: 'token', users: [{ username: 'me', password: SECRET }] }],
];

let home: TestHome;

beforeEach(async () => {
  home = await testHome();
});

const mirrorTo = (host: string, ...more: string[]) => [
  ...['mirror', FIXTURE_CHANNEL, `oci://${host}/ch`, '--subdir', 'noarch', '--quiet'],
  ...more,
];

/** What each command does with a private registry; `input` is for those that read a password. */
async function readAll(
  host: string,
  flags: readonly string[] = [],
  options: { readonly env?: Record<string, string>; readonly input?: string } = {},
): Promise<(number | null)[]> {
  const commands = [
    ['list', `oci://${host}/ch`, '--subdir', 'noarch'],
    ['inspect', `oci://${host}/ch/${ARTIFACT}`],
    ['pull', `oci://${host}/ch`, 'ferry-data', '--subdir', 'noarch', '--output', 'got'],
  ];
  const results = await Promise.all(commands.map(async (args) => home.run([...args, ...flags], options)));
  for (const { stderr } of results) expect(stderr).not.toContain(SECRET);
  return results.map(({ code }) => code);
}

function expectAnonymous({ requests, tokenRequests }: RegistryDouble): void {
  expect(requests.length).toBeGreaterThan(0);
  expect(requests.filter(({ headers }) => /^basic/i.test(headers.authorization ?? ''))).toEqual([]);
  expect(tokenRequests.filter(({ hasAuthorization }) => hasAuthorization)).toEqual([]);
}

describe.each(AUTHS)('a private registry with %s', (_, auth) => {
  let double: RegistryDouble;
  let host: string;
  const text = () => JSON.stringify(authFileOf({ [host]: ['me', SECRET] }));

  beforeEach(async () => {
    double = await useRegistryDouble({ auth });
    ({ host } = double);
  });

  test('is written to and read with what login kept', async () => {
    const login = ['login', host, '--username', 'me', '--password-stdin'];
    expect((await home.run(login, { input: SECRET })).code).toBe(0);
    expect(await home.run(mirrorTo(host))).toMatchObject({ code: 0, stderr: '' });
    expect(await readAll(host)).toEqual([0, 0, 0]);
  });

  test('takes DOCKER_AUTH_CONFIG, and --username with --password-stdin', async () => {
    const env = { DOCKER_AUTH_CONFIG: text() };
    expect(await home.run(mirrorTo(host), { env })).toMatchObject({ code: 0, stderr: '' });
    expect(await readAll(host, [], { env })).toEqual([0, 0, 0]);
    const flags = ['--username', 'me', '--password-stdin'];
    expect(await readAll(host, flags, { input: `${SECRET}\n` })).toEqual([0, 0, 0]);
  });

  test.each([
    ['CONDA_FERRY_USERNAME', 'CONDA_FERRY_PASSWORD'],
    ['ORAS_USER', 'ORAS_PASS'],
  ])('takes %s and %s as a destination, and gets none of it as a source', async (user, pass) => {
    const env = { [user]: 'me', [pass]: SECRET };
    expect(await home.run(mirrorTo(host), { env })).toMatchObject({ code: 0, stderr: '' });
    double.reset();
    expect(await readAll(host, [], { env })).toEqual([3, 3, 3]);
    const mirror = await home.run(['mirror', `oci://${host}/ch`, 'oci-layout:./out'], { env });
    expect(mirror.code).toBe(3);
    expect(mirror.stderr).toContain('[UNAUTHORIZED]');
    expectAnonymous(double);
  });

  test('gets no GITHUB_TOKEN', async () => {
    const env = { GITHUB_TOKEN: SECRET, GITHUB_ACTOR: 'me' };
    expect((await home.run(mirrorTo(host), { env })).code).toBe(3);
    expectAnonymous(double);
  });

  test('who comes without credentials is told where they were looked for, and what to do', async () => {
    const { stderr } = await home.run(['list', `oci://${host}/ch`], { env: { DOCKER_AUTH_CONFIG: '{}' } });
    const files = ['run/containers/auth.json', PODMAN_FILE, DOCKER_FILE].map((name) => home.file(name));
    const places = ['DOCKER_AUTH_CONFIG', ...files].join(', ');
    const [first, ...rest] = stderr.split('\n');
    expect(first).toMatch(/^error: (?:GET|HEAD) http:.* answered 401 .*\[UNAUTHORIZED\]$/);
    expect(rest).toEqual([
      `  because: no credentials for \`${host}\` were found (looked in ${places})`,
      '',
      `hint: log in with conda-ferry login ${host}`,
      '',
    ]);
  });

  test('wrong credentials are told by where they come from', async () => {
    await home.write(PODMAN_FILE, authFileOf({ [host]: ['me', 'old'] }));
    const ofFile = await home.run(['list', `oci://${host}/ch`]);
    expect(ofFile.code).toBe(3);
    const reason = `\`${host}\` does not take the password of \`me\` from ${home.file(PODMAN_FILE)}`;
    expect(ofFile.stderr).toContain(`because: ${reason}\n`);
    expect(ofFile.stderr).toContain(`hint: log in again with conda-ferry login ${host}\n`);
    const env = { ORAS_USER: 'somebody', ORAS_PASS: 'wr0ng' };
    const ofVariables = await home.run(mirrorTo(host), { env });
    expect(ofVariables.stderr).toContain('the password of `somebody` from ORAS_USER and ORAS_PASS\n');
    expect(ofVariables.stderr).toContain('hint: check ORAS_USER and ORAS_PASS\n');
    expect(ofVariables.stderr).not.toContain('wr0ng');
  });
});

test('docker-registry: takes what a login, DOCKER_AUTH_CONFIG and variables say', async () => {
  await using registry = await startPasswordRegistry();
  const { host } = registry;
  const { username, password } = TEST_USER;
  const env = { CONDA_FERRY_USERNAME: username, CONDA_FERRY_PASSWORD: password };
  expect(await home.run(mirrorTo(host), { env })).toMatchObject({ code: 0, stderr: '' });
  const text = JSON.stringify(authFileOf({ [host]: [username, password] }));
  expect(await readAll(host, [], { env: { DOCKER_AUTH_CONFIG: text } })).toEqual([0, 0, 0]);
  expect(await readAll(host, ['--registry-config', await home.write('x.json', text)])).toEqual([0, 0, 0]);
  expect((await home.run(['list', `oci://${host}/ch`], { env })).code).toBe(3);
});

test('docker-registry: source and destination on one host name, each with its own login', async () => {
  await using registry = await startPasswordRegistry();
  const { username, password } = TEST_USER;
  const double = await useRegistryDouble({ auth: { kind: 'basic', username: 'me', password: SECRET } });
  const logins = { [registry.host]: [username, password], [double.host]: ['me', SECRET] } as const;
  await home.write(DOCKER_FILE, authFileOf(logins));
  expect(await home.run(mirrorTo(registry.host))).toMatchObject({ code: 0, stderr: '' });
  const mirror = ['mirror', `oci://${registry.host}/ch`, `oci://${double.host}/copy`, '--quiet'];
  expect(await home.run(mirror)).toMatchObject({ code: 0, stderr: '' });
  const basic = `Basic ${Buffer.from(`me:${SECRET}`).toString('base64')}`;
  const sent = new Set(double.requests.map(({ headers }) => headers.authorization));
  expect([...sent].filter((value) => value !== undefined)).toEqual([basic]);

  // Flags are for the destination, and what is kept is for the source.
  await home.write(DOCKER_FILE, authFileOf({ [registry.host]: [username, password] }));
  const back = ['mirror', `oci://${registry.host}/ch`, `oci://${double.host}/again`, '--quiet'];
  const flags = ['--username', 'me', '--password-stdin'];
  expect(await home.run([...back, ...flags], { input: SECRET })).toMatchObject({ code: 0, stderr: '' });
  const others = await home.run(['mirror', `oci://${double.host}/again`, 'oci-layout:./out', ...flags], {
    input: SECRET,
  });
  expect(others.code).toBe(3);
  expect(others.stderr).toContain(`no credentials for \`${double.host}\``);
});

test('who may read and not write is told so', async () => {
  const users = [{ username: 'me', password: SECRET, rights: { '': ['pull'] } }] as const;
  const { host } = await useRegistryDouble({ auth: { kind: 'token', users } });
  await home.write(DOCKER_FILE, authFileOf({ [host]: ['me', SECRET] }));
  const { code, stderr } = await home.run(mirrorTo(host));
  expect(code).not.toBe(0);
  expect(stderr).toContain(
    `because: \`${host}\` does not let \`me\` (credentials from ${home.file(DOCKER_FILE)}) push to \`ch/noarch/`,
  );
  expect(stderr).toContain('hint: have that right given to them, or log in as somebody who has it\n');
});

test('a helper that is not installed is an error, and nobody is asked without it', async () => {
  const helpers = await testHelpers();
  const { host, requests } = await useRegistryDouble({ auth: { kind: 'token', anonymousPull: true } });
  await home.write(DOCKER_FILE, { credHelpers: { [host]: 'nowhere' } });
  const { code, stderr } = await home.run(['list', `oci://${host}/ch`], { env: helpers.environment });
  expect(code).toBe(3);
  expect(stderr).toContain('`docker-credential-nowhere get` is not on the PATH [CREDENTIALS_UNREADABLE]');
  expect(stderr).toContain(
    'hint: install `docker-credential-nowhere`, or take it out of the credential file',
  );
  expect(requests.filter(({ status }) => status === 200)).toEqual([]);
});

test('a broken file is an error of its own where credentials are wanted, and none where they are not', async () => {
  await home.write(DOCKER_FILE, '{');
  const open = await useRegistryDouble();
  expect((await home.run(mirrorTo(open.host))).code).toBe(0);
  const closed = await useRegistryDouble({ auth: AUTHS[0]?.[1] ?? { kind: 'none' } });
  const { code, stderr } = await home.run(['list', `oci://${closed.host}/ch`]);
  expect(code).toBe(3);
  const mirror = await home.run(mirrorTo(closed.host));
  expect([mirror.code, mirror.stderr]).toEqual([3, stderr]);
  expect(stderr).toContain(`credential file \`${home.file(DOCKER_FILE)}\` cannot be read: it is not JSON`);
});

test.each<[Record<string, string>, string]>([
  [{ CONDA_FERRY_USERNAME: 'me' }, 'CONDA_FERRY_USERNAME and CONDA_FERRY_PASSWORD belong together'],
  [{ CONDA_FERRY_USERNAME: 'me', CONDA_FERRY_PASSWORD: '' }, 'one of them is empty or not set'],
  [{ ORAS_PASS: SECRET }, 'ORAS_USER and ORAS_PASS belong together'],
])('%j is half of what is needed', async (env, text) => {
  const { host } = await useRegistryDouble({ auth: AUTHS[0]?.[1] ?? { kind: 'none' } });
  const { code, stderr } = await home.run(mirrorTo(host), { env });
  expect(stderr).toContain(text);
  expect(stderr).not.toContain(SECRET);
  expect(code).toBe(2);
});

test('variables that are empty, as in a run that may not see secrets, are none', async () => {
  const { host } = await useRegistryDouble({ auth: AUTHS[0]?.[1] ?? { kind: 'none' } });
  await home.write(DOCKER_FILE, authFileOf({ [host]: ['me', SECRET] }));
  const env = { CONDA_FERRY_USERNAME: '', CONDA_FERRY_PASSWORD: '' };
  expect((await home.run(mirrorTo(host), { env })).code).toBe(0);
});

test('half of what a flag needs is a usage error, before anything is done', async () => {
  for (const flags of [['--username', 'me'], ['--password-stdin'], ['--key-file', 'x']]) {
    const { code, stderr } = await home.run(['list', 'oci://127.0.0.1:1/ch', ...flags], { input: SECRET });
    expect(stderr).toContain('belong together');
    expect(code).toBe(2);
  }
});

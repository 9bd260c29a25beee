import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { KEEPING_HELPER, testHelpers } from '../support/credential-helper.js';
import { ROOT, testEnvironment } from '../support/ferry.js';
import type { DoubleAuth } from '../support/double/options.js';
import { useRegistryDouble } from '../support/double/registry-double.js';
import { authFileOf, DOCKER_FILE, PODMAN_FILE, testHome, type TestHome } from '../support/home.js';
import { startPasswordRegistry, TEST_USER } from '../support/registries/docker.js';

const PASSWORD = 'p:ä s3cret';
const REFRESH_TOKEN = 'refresh-s3cret';
const BASIC: DoubleAuth = { kind: 'basic', username: 'me', password: PASSWORD };
const TOKEN = {
  kind: 'token',
  users: [{ username: 'me', password: PASSWORD, refreshToken: REFRESH_TOKEN }],
} as const;
const AUTHS = [
  ['Basic', BASIC],
  ['tokens', TOKEN],
] as const;

let home: TestHome;

beforeEach(async () => {
  home = await testHome();
});

const login = (host: string, ...more: string[]) => [
  'login',
  host,
  '--username',
  'me',
  '--password-stdin',
  ...more,
];

describe.each(AUTHS)('a registry with %s', (_, auth) => {
  test('is logged in to: kept where docker keeps it, for its owner only', async () => {
    const { host } = await useRegistryDouble({ auth });
    const result = await home.run(login(host), { input: `${PASSWORD}\n` });
    const file = home.file(DOCKER_FILE);
    expect(result).toEqual({ code: 0, stdout: `logged in to ${host}; kept in ${file}\n`, stderr: '' });
    expect(await home.read(DOCKER_FILE)).toEqual(authFileOf({ [host]: ['me', PASSWORD] }));
    expect((await stat(file)).mode & 0o777).toBe(0o600);
  });

  test('does not take a wrong password: nothing is kept, and the password not shown', async () => {
    const { host } = await useRegistryDouble({ auth });
    const { code, stdout, stderr } = await home.run(login(host), { input: 'wr0ng' });
    expect({ code, stdout }).toEqual({ code: 3, stdout: '' });
    expect(stderr).toContain('[UNAUTHORIZED]');
    expect(stderr).toContain(`because: \`${host}\` does not take the password of \`me\`; nothing was kept\n`);
    expect(stderr).toContain('hint: check both; many registries want an access token');
    expect(stderr).not.toContain('wr0ng');
    expect(await home.read(DOCKER_FILE)).toBeUndefined();
  });
});

test('docker-registry: a login is checked, kept, used, and forgotten', async () => {
  await using registry = await startPasswordRegistry();
  const { host } = registry;
  const args = ['login', host, '--username', TEST_USER.username, '--password-stdin'];
  const wrong = await home.run(args, { input: 'wr0ng' });
  expect(wrong.code).toBe(3);
  expect(wrong.stderr).toContain('does not take the password of `test-user`');
  expect(await home.read(DOCKER_FILE)).toBeUndefined();
  expect((await home.run(args, { input: TEST_USER.password })).code).toBe(0);
  const channel = `oci://${host}/ch`;
  const list = async () => home.run(['list', channel]);
  expect((await list()).stderr).toContain('[CHANNEL_NOT_FOUND]');
  expect((await home.run(['logout', host])).stdout).toContain(home.file(DOCKER_FILE));
  expect((await list()).stderr).toContain('[UNAUTHORIZED]');
});

test('an identity token is checked by fetching a token with it, and kept as such', async () => {
  const { host, tokenRequests } = await useRegistryDouble({ auth: TOKEN });
  const args = ['login', host, '--identity-token-stdin'];
  const wrong = await home.run(args, { input: 'wr0ng' });
  expect(wrong.code).toBe(3);
  expect(wrong.stderr).toContain('does not take the identity token; nothing was kept');
  expect(wrong.stderr).not.toContain('wr0ng');
  expect(await home.run(args, { input: REFRESH_TOKEN })).toMatchObject({ code: 0, stderr: '' });
  expect(await home.read(DOCKER_FILE)).toEqual({ auths: { [host]: { identitytoken: REFRESH_TOKEN } } });
  expect(tokenRequests.map(({ method }) => method)).toEqual(['POST', 'POST']);
  expect((await home.run(['list', `oci://${host}/ch`])).stderr).toContain('[CHANNEL_NOT_FOUND]');
});

test('a registry that asks nobody leaves a login unchecked, and that is said', async () => {
  const { host } = await useRegistryDouble();
  const { code, stderr } = await home.run(login(host), { input: PASSWORD });
  expect(code).toBe(0);
  expect(stderr).toBe(`warning: ${host} did not ask for credentials, so they are not checked\n`);
  expect(await home.read(DOCKER_FILE)).toEqual(authFileOf({ [host]: ['me', PASSWORD] }));
});

test('a token server that is no relation of the registry gets nothing, and then nothing is kept', async () => {
  const tokens = await useRegistryDouble({ auth: { ...TOKEN, anonymousPull: true }, address: '127.0.0.2' });
  const realm = { at: `${tokens.origin}/token` };
  const { host } = await useRegistryDouble({
    auth: { ...TOKEN, realm, foreignToken: () => 'anonymous' },
  });
  const { code, stderr } = await home.run(login(host), { input: PASSWORD });
  expect(stderr).toContain(`takes tokens from \`${tokens.host}\`, which is no relation of it`);
  expect(stderr).toContain('which it never got; nothing was kept');
  expect(code).toBe(3);
  expect(tokens.tokenRequests.map(({ hasAuthorization }) => hasAuthorization)).toEqual([false]);
  expect(await home.read(DOCKER_FILE)).toBeUndefined();
});

test.each<[string, string[], string | undefined, string]>([
  ['without a terminal', [], undefined, 'pass --username NAME --password-stdin'],
  [
    'with a name alone and no terminal',
    ['--username', 'me'],
    undefined,
    'pass --username NAME --password-stdin',
  ],
  ['with a password alone', ['--password-stdin'], 'x', '`--password-stdin` needs `--username`'],
  ['with nothing on stdin', ['--username', 'me', '--password-stdin'], '', 'no password came on stdin'],
  ['with a line end on stdin', ['--username', 'me', '--password-stdin'], '\n', 'no password came on stdin'],
  ['with no token on stdin', ['--identity-token-stdin'], '', 'no token came on stdin'],
  ['with two secrets', [...login('x').slice(2), '--identity-token-stdin'], 'x', 'exclude each other'],
  ['with a colon in the name', ['--username', 'a:b', '--password-stdin'], 'x', 'colon'],
  [
    'with half a certificate',
    [...login('x').slice(2), '--cert-file', 'x'],
    'x',
    '`--key-file` belong together',
  ],
])('a login %s is a usage error, before anything is asked', async (_, flags, input, text) => {
  const double = await useRegistryDouble({ auth: BASIC });
  const result = await home.run(['login', double.host, ...flags], { input });
  expect(result.stderr).toContain(text);
  expect(result).toMatchObject({ code: 2, stdout: '' });
  expect(double.requests).toEqual([]);
});

test.each(['not a host', 'a/b', 'me:s3cret@host'])('%j is no registry', async (host) => {
  const { code, stderr } = await home.run(login(host), { input: 'x' });
  expect(code).toBe(2);
  expect(stderr).toContain('write the host alone');
  expect(stderr).not.toContain('s3cret');
});

describe('where a login goes', () => {
  let host: string;

  beforeEach(async () => {
    ({ host } = await useRegistryDouble({ auth: BASIC }));
  });

  test('what else is in Docker’s file stays', async () => {
    const others = { psFormat: 'x', auths: { 'other.example': { auth: 'YTpi' } }, proxies: { default: {} } };
    await home.write(DOCKER_FILE, others);
    expect((await home.run(login(host), { input: PASSWORD })).code).toBe(0);
    expect(await home.read(DOCKER_FILE)).toEqual({
      ...others,
      auths: { ...others.auths, ...authFileOf({ [host]: ['me', PASSWORD] }).auths },
    });
  });

  test('a login that podman keeps is changed there', async () => {
    await home.write(PODMAN_FILE, authFileOf({ [host]: ['me', 'old'] }));
    const { stdout } = await home.run(login(host), { input: PASSWORD });
    expect(stdout).toContain(`kept in ${home.file(PODMAN_FILE)}`);
    expect(await home.read(PODMAN_FILE)).toEqual(authFileOf({ [host]: ['me', PASSWORD] }));
    expect(await home.read(DOCKER_FILE)).toBeUndefined();
  });

  test('--registry-config names another file, which then is the only one', async () => {
    await home.write(PODMAN_FILE, authFileOf({ [host]: ['me', 'old'] }));
    const config = ['--registry-config', 'mine.json'];
    expect((await home.run(login(host, ...config), { input: PASSWORD })).code).toBe(0);
    expect(await home.read('mine.json')).toEqual(authFileOf({ [host]: ['me', PASSWORD] }));
    expect(await home.read(DOCKER_FILE)).toBeUndefined();
    const list = ['list', `oci://${host}/ch`];
    expect((await home.run([...list, ...config])).stderr).toContain('[CHANNEL_NOT_FOUND]');
    expect((await home.run(list)).stderr).toContain(`the password of \`me\` from ${home.file(PODMAN_FILE)}`);
    const out = await home.run(['logout', host, ...config]);
    expect(out.stdout).toBe(`logged out of ${host}; removed from mine.json\n`);
    expect(await home.read('mine.json')).toEqual({ auths: {} });
    expect(await home.read(PODMAN_FILE)).toEqual(authFileOf({ [host]: ['me', 'old'] }));
  });

  test('a helper that the file names gets the secret, and gives it back until logout', async () => {
    const helpers = await testHelpers();
    await helpers.add('keep', KEEPING_HELPER);
    await home.write(DOCKER_FILE, { credsStore: 'keep' });
    const env = helpers.environment;
    expect((await home.run(login(host), { input: PASSWORD, env })).code).toBe(0);
    expect(await home.read(DOCKER_FILE)).toEqual({ credsStore: 'keep', auths: { [host]: {} } });
    const list = async () => (await home.run(['list', `oci://${host}/ch`], { env })).stderr;
    expect(await list()).toContain('[CHANNEL_NOT_FOUND]');
    expect((await home.run(['logout', host], { env })).code).toBe(0);
    expect(await list()).toContain('no credentials for');
  });

  test('a file that cannot be read is an error, and stays as it is', async () => {
    await home.write(DOCKER_FILE, '{"auths": s3cret');
    const { code, stderr } = await home.run(login(host), { input: PASSWORD });
    expect(code).toBe(3);
    expect(stderr).toContain('[CREDENTIALS_UNREADABLE]');
    expect(stderr).toContain(home.file(DOCKER_FILE));
    expect(stderr).not.toContain('s3cret');
  });

  test('logout removes it from every file, and says from which; again, and there is none', async () => {
    const kept = authFileOf({ 'other.example': ['a', 'b'], [host]: ['me', PASSWORD] });
    await home.write(PODMAN_FILE, kept);
    await home.write(DOCKER_FILE, kept);
    const out = await home.run(['logout', host]);
    expect(out).toEqual({
      code: 0,
      stdout: [PODMAN_FILE, DOCKER_FILE]
        .map((name) => `logged out of ${host}; removed from ${home.file(name)}\n`)
        .join(''),
      stderr: '',
    });
    const rest = authFileOf({ 'other.example': ['a', 'b'] });
    expect(await home.read(PODMAN_FILE)).toEqual(rest);
    expect(await home.read(DOCKER_FILE)).toEqual(rest);
    const again = await home.run(['logout', host]);
    expect(again).toEqual({ code: 0, stdout: `there were no credentials for ${host}\n`, stderr: '' });
  });
});

test('a login to nobody is an error of the network', async () => {
  const double = await useRegistryDouble();
  await double[Symbol.asyncDispose]();
  const { code, stderr } = await home.run(login(double.host), { input: PASSWORD });
  expect(code).toBe(3);
  expect(stderr).toContain('nobody listens there');
  expect(await home.read(DOCKER_FILE)).toBeUndefined();
});

// Of util-linux: gives a program a terminal.
const HAS_SCRIPT = spawnSync('script', ['--version'], { stdio: 'ignore' }).status === 0;

describe.skipIf(!HAS_SCRIPT)('at a terminal', () => {
  /** Types each answer once it is asked for; what the terminal shows, and how it ended. */
  async function converse(
    host: string,
    answers: readonly string[],
  ): Promise<[shown: string, code: number | null]> {
    const command = `'${process.execPath}' '${join(ROOT, 'dist', 'cli', 'main.js')}' login ${host}`;
    const child = spawn('script', ['-qefc', command, '/dev/null'], {
      env: { ...testEnvironment(home.path), SHELL: '/bin/sh' },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    let shown = '';
    let answered = 0;
    child.stdout.on('data', (chunk: Buffer) => {
      shown += chunk.toString('utf8');
      const asked = [...shown.matchAll(/(?:user name|password or token): /g)].length;
      for (; answered < asked; answered += 1) child.stdin.write(answers[answered] ?? '\u0003');
    });
    await once(child, 'close');
    return [shown, child.exitCode];
  }

  test('name and password are asked for, and the password is not shown', async () => {
    const { host } = await useRegistryDouble({ auth: BASIC });
    const [shown, code] = await converse(host, ['me\r', `${PASSWORD}\r`]);
    expect(shown).toContain(`logged in to ${host}`);
    expect(shown).not.toContain('s3cret');
    expect(code).toBe(0);
    expect(await home.read(DOCKER_FILE)).toEqual(authFileOf({ [host]: ['me', PASSWORD] }));
  });

  test.each([
    ['Ctrl+C', '\u0003', 130],
    ['Ctrl+D', '\u0004', 2],
  ])('%s ends it', async (_, key, expected) => {
    const double = await useRegistryDouble({ auth: BASIC });
    const [, code] = await converse(double.host, ['me\r', key]);
    expect(code).toBe(expected);
    expect(double.requests).toEqual([]);
  });
});

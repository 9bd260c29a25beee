import { readdir } from 'node:fs/promises';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { FIXTURE_CHANNEL } from '../support/channels.js';
import type { ChannelServer } from '../support/channel-server.js';
import { useRegistryDouble } from '../support/double/registry-double.js';
import { authFileOf, DOCKER_FILE, testHome, type TestHome } from '../support/home.js';
import {
  servePrivateChannel,
  type ChannelDemand,
  type PrivateChannelOptions,
} from '../support/private-channel.js';

const BASIC: ChannelDemand = { kind: 'basic', username: 'me', password: 's3cret/@:' };
const BEARER: ChannelDemand = { kind: 'bearer', token: 's3cret-bearer' };
const TOKEN: ChannelDemand = { kind: 'conda-token', token: 'me-s3cret-token' };
const RATTLER_FILE = '.rattler/credentials.json';

let home: TestHome;

beforeEach(async () => {
  home = await testHome();
});

async function serve(demand: ChannelDemand, options?: PrivateChannelOptions): Promise<ChannelServer> {
  const server = await servePrivateChannel(FIXTURE_CHANNEL, demand, options);
  onTestFinished(async () => server[Symbol.asyncDispose]());
  return server;
}

/** Mirrors, lists and pulls; nothing that is said may hold a secret. */
async function readAll(url: string, env: Readonly<Record<string, string>> = {}): Promise<void> {
  const results = [
    await home.run(['mirror', url, 'oci-layout:./out', '--subdir', 'noarch'], { env }),
    await home.run(['list', url, '--subdir', 'noarch', '--json'], { env }),
    await home.run(['pull', url, 'ferry-data', '--subdir', 'noarch', '--output', 'got', '--quiet'], { env }),
  ];
  for (const { code, stdout, stderr } of results) {
    expect(stdout + stderr).not.toContain('s3cret');
    expect([code, stderr.replace(/^(?:to move|published).*\n/gm, '')]).toEqual([0, '']);
  }
  expect(await readdir(home.file('got'))).toEqual(['ferry-data-1.0+abc-0.conda']);
}

describe('a private channel that hides is read', () => {
  test('with user name and password of its URL', async () => {
    const { url } = await serve(BASIC);
    await readAll(url.replace('http://', 'http://me:s3cret%2F%40%3A@'));
  });

  test('with the token in its URL', async () => {
    const { url } = await serve(TOKEN);
    await readAll(url.replace('/channel', '/t/me-s3cret-token/channel'));
  });

  test.each<[string, ChannelDemand, object]>([
    ['a password', BASIC, { BasicHTTP: { username: 'me', password: 's3cret/@:' } }],
    ['a bearer token', BEARER, { BearerToken: 's3cret-bearer' }],
    ['a token for the path', TOKEN, { CondaToken: 'me-s3cret-token' }],
  ])('with %s of rattler’s file', async (_, demand, entry) => {
    const { url } = await serve(demand);
    await home.write(RATTLER_FILE, { '127.0.0.1': entry });
    await readAll(url);
  });

  test('with another file of rattler’s, and with netrc', async () => {
    const { url } = await serve(BASIC);
    const own = await home.write('own.json', {
      '127.0.0.1': { BasicHTTP: { username: 'me', password: 's3cret/@:' } },
    });
    const list = ['list', url, '--subdir', 'noarch'];
    expect((await home.run(list, { env: { RATTLER_AUTH_FILE: own } })).code).toBe(0);
    expect((await home.run(list)).code).toBe(3);
    await home.write('.netrc', 'machine 127.0.0.1 login me password s3cret/@:\n');
    await readAll(url);
  });
});

test('credentials of registries are not for channels', async () => {
  const server = await serve(BASIC);
  const { host } = new URL(server.url);
  await home.write(DOCKER_FILE, authFileOf({ [host]: ['me', 's3cret/@:'] }));
  const env = {
    CONDA_FERRY_USERNAME: 'me',
    CONDA_FERRY_PASSWORD: 's3cret/@:',
    GITHUB_TOKEN: 's3cret',
    DOCKER_AUTH_CONFIG: JSON.stringify(authFileOf({ [host]: ['me', 's3cret/@:'] })),
  };
  const { code } = await home.run(['mirror', server.url, 'oci-layout:./out', '--subdir', 'noarch'], { env });
  expect(code).toBe(3);
  expect(server.requests.length).toBeGreaterThan(0);
  for (const { headers } of server.requests) expect(headers).not.toHaveProperty('authorization');
});

test('a private channel goes to a private registry of the same host name, each with its own', async () => {
  const server = await serve(BASIC);
  const double = await useRegistryDouble({
    auth: { kind: 'basic', username: 'pusher', password: 'p-s3cret' },
  });
  const url = server.url.replace('http://', 'http://me:s3cret%2F%40%3A@');
  const args = ['mirror', url, `oci://${double.host}/ch`, '--subdir', 'noarch', '--quiet'];
  const env = { CONDA_FERRY_USERNAME: 'pusher', CONDA_FERRY_PASSWORD: 'p-s3cret' };
  expect(await home.run(args, { env })).toMatchObject({ code: 0, stderr: '' });
  const valuesOf = (
    requests: readonly { readonly headers: { readonly authorization?: string | undefined } }[],
  ) =>
    [...new Set(requests.map(({ headers }) => headers.authorization))].filter((value) => value !== undefined);
  expect(valuesOf(server.requests)).toEqual([`Basic ${Buffer.from('me:s3cret/@:').toString('base64')}`]);
  expect(valuesOf(double.requests)).toEqual([`Basic ${Buffer.from('pusher:p-s3cret').toString('base64')}`]);
});

describe('who comes without', () => {
  const where = "write user:password@ or /t/TOKEN/ into the channel's URL, or put them into rattler's";

  test('is told that a channel which cannot be found may be private', async () => {
    const { url } = await serve(TOKEN);
    for (const args of [
      ['list', url],
      ['mirror', url, 'oci-layout:./out'],
    ]) {
      const { code, stderr } = await home.run([...args, '--subdir', 'noarch']);
      expect(code).toBe(3);
      expect(stderr).toContain('there is no repodata of `noarch` at');
      expect(stderr).toContain(`hint: if the channel is private, ${where}`);
    }
  });

  test.each([401, 403] as const)(
    'is told where was looked, and where to put them, by a %i',
    async (status) => {
      const { url } = await serve(BASIC, { status });
      const { code, stderr } = await home.run(['list', url, '--subdir', 'noarch']);
      expect(code).toBe(3);
      const places = ['its URL', home.file(RATTLER_FILE), home.file('.netrc')].join(', ');
      const { host } = new URL(url);
      expect(stderr).toContain(`because: no credentials for \`${host}\` were found (looked in ${places})\n`);
      expect(stderr).toContain(`hint: ${where}`);
      expect(stderr).not.toContain('conda-ferry login');
    },
  );

  test('or with wrong ones is told which', async () => {
    const { url } = await serve(BASIC, { status: 401 });
    const file = await home.write('.netrc', 'machine 127.0.0.1 login me password wr0ng\n');
    const { stderr } = await home.run(['list', url, '--subdir', 'noarch']);
    expect(stderr).toContain(`refuses the password of \`me\` from ${file}\n`);
    expect(stderr).not.toContain('wr0ng');
  });

  test('an unreadable file is an error, and no channel is asked without it', async () => {
    const server = await serve(TOKEN);
    await home.write(RATTLER_FILE, '{"s3cret"');
    const { code, stderr } = await home.run(['list', server.url, '--subdir', 'noarch']);
    expect(code).toBe(3);
    expect(stderr).toContain('[CREDENTIALS_UNREADABLE]');
    expect(stderr).not.toContain('s3cret');
    expect(server.requests).toEqual([]);
  });
});

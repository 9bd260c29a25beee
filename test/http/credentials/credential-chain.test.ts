import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import {
  authFilePaths,
  createCredentialLocator,
  describeLookup,
  type CredentialSources,
} from '#ferry/http/credentials/credential-chain.js';
import type { Credential, FindCredential } from '#ferry/http/credentials/credential.js';
import { KEEPING_HELPER, NOT_FOUND, testHelpers } from '../../support/credential-helper.js';
import { everythingOf } from '../../support/http.js';
import { tempFolder } from '../../support/temp.js';

const CANARY = 'canary-5ecret';
const basic = (username: string): Credential => ({ kind: 'basic', username, password: 'p' });
const config = (username: string, key = 'ghcr.io') =>
  JSON.stringify({ auths: { [key]: { auth: btoa(`${username}:p`) } } });

let folder: string;
let files: readonly string[];

beforeEach(async () => {
  folder = await tempFolder();
  files = [join(folder, 'first.json'), join(folder, 'second.json')];
});

function findWith(sources: CredentialSources): FindCredential {
  const locate = createCredentialLocator(sources);
  return async (place, signal) => (await locate(place, signal))?.credential;
}

async function ask(
  sources: Partial<CredentialSources>,
  origin = 'https://ghcr.io',
): Promise<string | undefined> {
  const find = findWith({ authFiles: files, helperEnvironment: {}, ...sources });
  const credential = await find({ origin, repository: 'org/x' });
  return credential?.kind === 'basic' ? credential.username : undefined;
}

test('each source comes before the next', async () => {
  const sources: Record<string, unknown> = {};
  expect(await ask(sources)).toBeUndefined();
  sources['ghcrToken'] = { token: 't', username: 'actor' };
  expect(await ask(sources)).toBe('actor');
  await writeFile(files[1]!, config('second'));
  expect(await ask(sources)).toBe('second');
  await writeFile(files[0]!, config('first'));
  expect(await ask(sources)).toBe('first');
  sources['authConfigText'] = config('text');
  expect(await ask(sources)).toBe('text');
  sources['explicit'] = { origin: 'https://ghcr.io', credential: basic('explicit'), from: '--username' };
  expect(await ask(sources)).toBe('explicit');
});

test('a source that knows nothing of the registry lets the next one speak', async () => {
  await writeFile(files[0]!, config('first', 'quay.io'));
  await writeFile(files[1]!, config('second'));
  const explicit = { origin: 'https://quay.io', credential: basic('explicit'), from: '--username' };
  const text = config('text', 'example.org');
  expect(await ask({ explicit, authConfigText: text })).toBe('second');
});

test.each([
  ['https://r.example', 'explicit'],
  ['https://r.example:443', 'explicit'],
  ['https://R.example/', 'explicit'],
  ['http://r.example', 'file'],
  ['https://r.example:8443', undefined],
  ['https://sub.r.example', undefined],
])('what is given for https://r.example: at %s %s counts', async (origin, expected) => {
  await writeFile(files[0]!, config('file', 'r.example'));
  const explicit = { origin: 'https://r.example', credential: basic('explicit'), from: '--username' };
  expect(await ask({ explicit }, origin)).toBe(expected);
});

test.each([
  ['https://ghcr.io', 'x-access-token'],
  ['http://ghcr.io', undefined],
  ['https://ghcr.io:8443', undefined],
  ['https://docker.pkg.github.com', undefined],
  ['https://sub.ghcr.io', undefined],
])('GITHUB_TOKEN at %s: %s', async (origin, expected) => {
  expect(await ask({ ghcrToken: { token: 't', username: '' } }, origin)).toBe(expected);
  expect(await ask({ ghcrToken: { token: '', username: 'actor' } }, origin)).toBeUndefined();
});

test('Podman’s keys tell repositories apart', async () => {
  await writeFile(files[0]!, config('org', 'ghcr.io/org'));
  const find = findWith({ authFiles: files, helperEnvironment: {} });
  expect(await find({ origin: 'https://ghcr.io', repository: 'org/x' })).toEqual(basic('org'));
  expect(await find({ origin: 'https://ghcr.io', repository: 'other/x' })).toBeUndefined();
  expect(await find({ origin: 'https://ghcr.io' })).toBeUndefined();
});

test('a login while it runs is seen', async () => {
  const find = findWith({ authFiles: files, helperEnvironment: {} });
  const user = async () =>
    ((await find({ origin: 'https://ghcr.io' })) as { username: string } | undefined)?.username;
  expect(await user()).toBeUndefined();
  await writeFile(files[1]!, config('second'));
  expect(await user()).toBe('second');
  await writeFile(files[0]!, config('first'));
  expect(await user()).toBe('first');
  await rm(files[0]!);
  expect(await user()).toBe('second');
});

test.each([
  ['text', async () => ({ authConfigText: `{"auths": "${CANARY}"}` }), '`DOCKER_AUTH_CONFIG`'],
  ['file', async () => (await writeFile(files[0]!, `{"${CANARY}`), {}), 'first.json'],
  ['folder', async () => (await mkdir(files[0]!), {}), 'first.json'],
])('a %s that cannot be read is an error, though a later source could be', async (_, prepare, name) => {
  await writeFile(files[1]!, config('second'));
  const error: unknown = await ask(await prepare()).catch((reason: unknown) => reason);
  expect(error).toMatchObject({ code: 'CREDENTIALS_UNREADABLE' });
  expect((error as Error).message).toContain(name);
  expect(everythingOf(error)).not.toContain(CANARY);
});

describe('helpers', () => {
  test('are run with the environment that was handed down', async () => {
    const programs = await testHelpers();
    await programs.add('keep', KEEPING_HELPER);
    await programs.add('none', NOT_FOUND);
    await writeFile(files[0]!, '{"credsStore": "none"}');
    await writeFile(files[1]!, config('second'));
    const find = findWith({ authFiles: files, helperEnvironment: programs.environment });
    expect(await find({ origin: 'https://ghcr.io' })).toEqual(basic('second'));
    expect(await find({ origin: 'https://ghcr.io' })).toEqual(basic('second'));
    expect(await programs.calls()).toEqual(['get ghcr.io']);
  });

  test('one that is missing is an error, though a later file has a credential', async () => {
    await writeFile(files[0]!, '{"credsStore": "absent"}');
    await writeFile(files[1]!, config('second'));
    await expect(ask({})).rejects.toMatchObject({ code: 'CREDENTIALS_UNREADABLE' });
  });

  test('an abort reaches them', async () => {
    await writeFile(files[0]!, '{"credsStore": "slow"}');
    const programs = await testHelpers();
    await programs.add('slow', 'exec sleep 30');
    const find = findWith({ authFiles: files, helperEnvironment: programs.environment });
    const stop = new AbortController();
    const promise = find({ origin: 'https://ghcr.io' }, stop.signal);
    promise.catch(() => undefined);
    while ((await programs.calls()).length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    stop.abort(new Error('enough'));
    await expect(promise).rejects.toThrow('enough');
    await expect(find({ origin: 'https://x.example' }, stop.signal)).rejects.toThrow('enough');
  });
});

test('says where a credential was found', async () => {
  await writeFile(files[1]!, config('second'));
  const explicit = { origin: 'https://a.example', credential: basic('explicit'), from: '--username' };
  const locate = createCredentialLocator({
    explicit,
    authFiles: files,
    authConfigText: config('text', 'quay.io'),
    ghcrToken: { token: 't' },
    helperEnvironment: {},
  });
  const from = async (origin: string) => (await locate({ origin }))?.from;
  expect(await from('https://a.example')).toBe('--username');
  expect(await from('https://quay.io')).toBe('DOCKER_AUTH_CONFIG');
  expect(await from('https://ghcr.io')).toBe(files[1]);
  await rm(files[1]!);
  expect(await from('https://ghcr.io')).toBe('GITHUB_TOKEN');
  expect(await from('https://b.example')).toBeUndefined();
});

test('the places that were looked at are named', () => {
  const sources = { authFiles: ['/a', '/b'], helperEnvironment: {}, authConfigText: '{}' };
  expect(describeLookup(sources, { origin: 'https://ghcr.io' })).toEqual([
    'DOCKER_AUTH_CONFIG',
    '/a',
    '/b',
    'GITHUB_TOKEN',
  ]);
  expect(describeLookup({ ...sources, authConfigText: '' }, { origin: 'https://x' })).toEqual(['/a', '/b']);
});

test('the files’ paths come from the environment and the home folder', () => {
  expect(authFilePaths({}, '/home/me')).toEqual([
    '/home/me/.config/containers/auth.json',
    '/home/me/.docker/config.json',
  ]);
  expect(authFilePaths({}, '/home/me', 0)[0]).toBe('/run/containers/0/auth.json');
  const environment = {
    REGISTRY_AUTH_FILE: '/auth.json',
    XDG_RUNTIME_DIR: '/run/user/1000',
    XDG_CONFIG_HOME: '/cfg',
    DOCKER_CONFIG: '/docker',
  };
  expect(authFilePaths(environment, '/home/me', 0)).toEqual([
    '/auth.json',
    '/run/user/1000/containers/auth.json',
    '/cfg/containers/auth.json',
    '/docker/config.json',
  ]);
  const empty = { REGISTRY_AUTH_FILE: '', XDG_RUNTIME_DIR: '', XDG_CONFIG_HOME: '', DOCKER_CONFIG: '' };
  expect(authFilePaths(empty, '/h')).toEqual(authFilePaths({}, '/h'));
  const twice = { REGISTRY_AUTH_FILE: '/h/.docker/config.json' };
  expect(authFilePaths(twice, '/h')).toEqual(['/h/.docker/config.json', '/h/.config/containers/auth.json']);
});

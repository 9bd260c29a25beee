import { execFile } from 'node:child_process';
import { chown, lstat, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execPath, getuid } from 'node:process';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { beforeEach, expect, test } from 'vitest';
import { findInAuthFile, parseAuthFile } from '#ferry/http/credentials/auth-file.js';
import { createCredentialHelpers } from '#ferry/http/credentials/credential-helper.js';
import type { Credential } from '#ferry/http/credentials/credential.js';
import { eraseCredential, saveCredential } from '#ferry/http/credentials/save-credential.js';
import { KEEPING_HELPER, testHelpers, type TestHelpers } from '../../support/credential-helper.js';
import { ROOT } from '../../support/ferry.js';
import { everythingOf } from '../../support/http.js';
import { tempFolder } from '../../support/temp.js';

const CANARY = 'canary-5ecret';
const ME = { kind: 'basic', username: 'me', password: CANARY } as const;
const AUTH = btoa(`me:${CANARY}`);

let folder: string;
let file: string;
let programs: TestHelpers;

beforeEach(async () => {
  folder = await tempFolder();
  file = join(folder, 'deep', 'docker', 'config.json');
  programs = await testHelpers();
});

const options = () => ({
  helpers: createCredentialHelpers({ environment: programs.environment, retryDelayMs: 0 }),
});
const save = async (host: string, credential: Credential = ME) =>
  saveCredential(file, host, credential, options());
const erase = async (host: string) => eraseCredential(file, host, options());
const text = async () => readFile(file, 'utf8');
const json = async (): Promise<unknown> => JSON.parse(await text());

async function start(document: unknown): Promise<void> {
  await mkdir(join(folder, 'deep', 'docker'), { recursive: true });
  await writeFile(file, typeof document === 'string' ? document : JSON.stringify(document));
}

async function find(origin: string): Promise<Credential | undefined> {
  return findInAuthFile(parseAuthFile(await text(), file), { origin }, options().helpers);
}

test('a new file is written as docker writes it, for its owner alone', async () => {
  await save('ghcr.io');
  expect(await text()).toBe(`{\n\t"auths": {\n\t\t"ghcr.io": {\n\t\t\t"auth": "${AUTH}"\n\t\t}\n\t}\n}`);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect((await stat(join(folder, 'deep', 'docker'))).mode & 0o777).toBe(0o700);
  expect((await stat(join(folder, 'deep'))).mode & 0o777).toBe(0o700);
  expect(await readdir(join(folder, 'deep', 'docker'))).toEqual(['config.json']);
  expect(await find('https://ghcr.io')).toEqual(ME);
});

test.each<[Credential, object]>([
  [{ kind: 'refresh', token: 't' }, { identitytoken: 't' }],
  [{ kind: 'bearer', token: 't' }, { registrytoken: 't' }],
])('%j is written as %j', async (credential, entry) => {
  await save('127.0.0.1:5000', credential);
  expect(await json()).toEqual({ auths: { '127.0.0.1:5000': entry } });
  expect(await find('http://127.0.0.1:5000')).toEqual(credential);
});

test('all else in the file stays, in its order, and an entry’s own extras too', async () => {
  await start({
    HttpHeaders: { x: 'y' },
    auths: {
      'ghcr.io/org': { auth: 'b3JnOng=' },
      'quay.io': { auth: 'cXVheTp4', email: 'q@x' },
      'ghcr.io': { auth: 'b2xkOng=', identitytoken: 'old', email: 'me@x' },
    },
    credsStore: '',
    psFormat: 'table',
    nested: { __proto__x: [1, null, 'ä'] },
  });
  await save('ghcr.io');
  expect(await json()).toEqual({
    HttpHeaders: { x: 'y' },
    auths: {
      'ghcr.io/org': { auth: 'b3JnOng=' },
      'quay.io': { auth: 'cXVheTp4', email: 'q@x' },
      'ghcr.io': { email: 'me@x', auth: AUTH },
    },
    credsStore: '',
    psFormat: 'table',
    nested: { __proto__x: [1, null, 'ä'] },
  });
  expect(Object.keys((await json()) as object)).toEqual([
    'HttpHeaders',
    'auths',
    'credsStore',
    'psFormat',
    'nested',
  ]);
  expect(await erase('ghcr.io')).toBe(true);
  expect(await json()).toMatchObject({ psFormat: 'table' });
  expect(await find('https://ghcr.io')).toBeUndefined();
  expect(await find('https://quay.io')).toMatchObject({ username: 'quay' });
});

test('Docker Hub is kept under its old URL, and other spellings of a registry give way', async () => {
  await start({
    auths: { 'docker.io': { auth: 'b2xkOng=' }, 'https://ghcr.io': 'broken', 'docker.io/me': {} },
  });
  await save('docker.io');
  await save('GHCR.io');
  const kept = {
    'docker.io/me': {},
    'https://index.docker.io/v1/': { auth: AUTH },
    'ghcr.io': { auth: AUTH },
  };
  expect(await json()).toEqual({ auths: kept });
  expect(await erase('index.docker.io')).toBe(true);
  expect(await json()).toEqual({ auths: { 'docker.io/me': {}, 'ghcr.io': { auth: AUTH } } });
});

test('erasing what is not there writes nothing', async () => {
  expect(await erase('ghcr.io')).toBe(false);
  await expect(stat(join(folder, 'deep'))).rejects.toMatchObject({ code: 'ENOENT' });
  await start('{"auths":{"ghcr.io/org":{}}}');
  expect(await erase('ghcr.io')).toBe(false);
  expect(await text()).toBe('{"auths":{"ghcr.io/org":{}}}');
  expect(await erase('quay.io')).toBe(false);
});

test('erasing the last leaves an empty list', async () => {
  await save('ghcr.io');
  expect(await erase('ghcr.io')).toBe(true);
  expect(await text()).toBe('{\n\t"auths": {}\n}');
});

test('links are followed, to a file that is not there yet too', async () => {
  await mkdir(join(folder, 'deep', 'docker'), { recursive: true });
  await mkdir(join(folder, 'dotfiles'));
  await symlink('../../dotfiles/link', file);
  await symlink(join(folder, 'dotfiles', 'real.json'), join(folder, 'dotfiles', 'link'));
  await save('ghcr.io');
  await save('quay.io');
  expect((await lstat(file)).isSymbolicLink()).toBe(true);
  expect((await lstat(join(folder, 'dotfiles', 'link'))).isSymbolicLink()).toBe(true);
  const real = JSON.parse(await readFile(join(folder, 'dotfiles', 'real.json'), 'utf8')) as { auths: object };
  expect(Object.keys(real.auths)).toEqual(['ghcr.io', 'quay.io']);
});

test('links in a circle are refused', async () => {
  await mkdir(join(folder, 'deep', 'docker'), { recursive: true });
  await symlink(file, file);
  await expect(save('ghcr.io')).rejects.toMatchObject({ code: 'CREDENTIALS_UNREADABLE' });
});

test.each([`{"auths": {"ghcr.io": "${CANARY}"`, `"${CANARY}"`, `{"auths": "${CANARY}"}`])(
  'the file %j is refused and left as it is',
  async (before) => {
    await start(before);
    for (const work of [save, erase]) {
      const error: unknown = await work('ghcr.io').catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: 'CREDENTIALS_UNREADABLE' });
      expect(everythingOf(error)).toContain(file);
      expect(everythingOf(error)).not.toContain(CANARY);
    }
    expect(await text()).toBe(before);
  },
);

test.each(['https://ghcr.io', 'ghcr.io/org', '', 'a b', 'ghcr.io:', 'ghcr.io:port', `me:${CANARY}@ghcr.io`])(
  'the host %j is refused',
  async (host) => {
    const error: unknown = await save(host).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'REFERENCE_INVALID' });
    expect(everythingOf(error)).not.toContain(CANARY);
    await expect(stat(file)).rejects.toMatchObject({ code: 'ENOENT' });
  },
);

test('what could not be read back is refused without showing it', async () => {
  const error: unknown = await save('ghcr.io', { ...ME, username: 'a:b' }).catch((e: unknown) => e);
  expect(error).toMatchObject({ code: 'CREDENTIALS_UNREADABLE' });
  expect(everythingOf(error)).not.toContain(CANARY);
});

test.runIf(getuid?.() === 0)('a login as root leaves the file to its owner', async () => {
  await start({ auths: {} });
  await chown(file, 12345, 12346);
  await save('ghcr.io');
  expect(await stat(file)).toMatchObject({ uid: 12345, gid: 12346, mode: 0o100600 });
});

test('a folder that cannot be is an error', async () => {
  await writeFile(join(folder, 'deep'), '');
  await expect(save('ghcr.io')).rejects.toMatchObject({
    code: 'CREDENTIALS_UNREADABLE',
    message: expect.stringMatching(/cannot be written$/) as string,
  });
});

test.each([
  ['credsStore', { credsStore: 'keep' }],
  ['credHelpers', { credsStore: 'absent', credHelpers: { 'ghcr.io': 'keep' } }],
])('with %s the secret goes to the helper, and an empty entry into the file', async (_, document) => {
  await programs.add('keep', KEEPING_HELPER);
  await start({ ...document, auths: { 'ghcr.io': { auth: 'b2xkOng=' } } });
  await save('ghcr.io');
  expect(await json()).toEqual({ ...document, auths: { 'ghcr.io': {} } });
  expect(await find('https://ghcr.io')).toEqual(ME);
  await save('ghcr.io', { kind: 'refresh', token: 't' });
  expect(await find('https://ghcr.io')).toEqual({ kind: 'refresh', token: 't' });
  expect(await erase('ghcr.io')).toBe(true);
  expect(await json()).toEqual({ ...document, auths: {} });
  expect(await find('https://ghcr.io')).toBeUndefined();
  expect(await erase('ghcr.io')).toBe(false);
});

test('what only the helper has is erased too', async () => {
  await programs.add('keep', KEEPING_HELPER);
  await start({ credsStore: 'keep' });
  await options().helpers.store('keep', 'https://index.docker.io/v1/', ME);
  expect(await erase('docker.io')).toBe(true);
  expect(await programs.calls()).toContain('erase https://index.docker.io/v1/');
  expect(await text()).toBe('{"credsStore":"keep"}');
});

test('a helper that fails leaves the file as it is: the secret goes nowhere else', async () => {
  await programs.add('bad', 'echo "$input"; exit 1');
  await start({ credsStore: 'bad' });
  const error: unknown = await save('ghcr.io').catch((reason: unknown) => reason);
  expect(error).toMatchObject({ code: 'CREDENTIALS_UNREADABLE' });
  expect(everythingOf(error)).not.toContain(CANARY);
  expect(await text()).toBe('{"credsStore":"bad"}');
});

test('an abort leaves the file as it is', async () => {
  const signal = AbortSignal.abort(new Error('stop'));
  await expect(saveCredential(file, 'ghcr.io', ME, { ...options(), signal })).rejects.toThrow('stop');
  await expect(stat(file)).rejects.toMatchObject({ code: 'ENOENT' });
});

test('processes that log in and out at the same time lose nothing of each other', async () => {
  const script = join(folder, 'writer.mjs');
  const modules = pathToFileURL(join(ROOT, 'dist', 'http', 'credentials')).href;
  await writeFile(
    script,
    `import { saveCredential, eraseCredential } from '${modules}/save-credential.js';
const [file, name] = process.argv.slice(2);
for (let i = 0; i < 10; i += 1) {
  await saveCredential(file, name + i + '.example', { kind: 'basic', username: name, password: String(i) }, {});
  if (i % 2 === 1) await eraseCredential(file, name + i + '.example', {});
}`,
  );
  const writers = ['a', 'b', 'c'];
  await Promise.all(writers.map((name) => promisify(execFile)(execPath, [script, file, name])));
  const expected = writers.flatMap((name) => [0, 2, 4, 6, 8].map((i) => `${name}${i}.example`));
  expect(Object.keys(((await json()) as { auths: object }).auths).sort()).toEqual(expected);
  expect(await readdir(join(folder, 'deep', 'docker'))).toEqual(['config.json']);
});

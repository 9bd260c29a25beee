import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isFerryError } from '#ferry/errors.js';
import { encodeAuth, findInAuthFile, helperFor, parseAuthFile } from '#ferry/http/credentials/auth-file.js';
import type { CredentialHelpers } from '#ferry/http/credentials/credential-helper.js';
import type { Credential } from '#ferry/http/credentials/credential.js';
import { everythingOf } from '../../support/http.js';

const CANARY = 'canary-5ecret';

/** For files without helpers: asking one is a failure of the test. */
const noHelpers: CredentialHelpers = {
  get: () => Promise.reject(new Error('asked a helper')),
  store: () => Promise.reject(new Error('asked a helper')),
  erase: () => Promise.reject(new Error('asked a helper')),
  list: () => Promise.reject(new Error('asked a helper')),
};

const basic = (username: string, password = 'pass'): Credential => ({ kind: 'basic', username, password });
const entry = (username: string, password = 'pass') => ({ auth: btoa(`${username}:${password}`) });

async function find(auths: unknown, origin: string, repository?: string): Promise<Credential | undefined> {
  const file = parseAuthFile(JSON.stringify({ auths }), 'the file');
  return findInAuthFile(file, { origin, repository }, noHelpers);
}

async function refusal(work: () => unknown): Promise<Error> {
  try {
    await work();
  } catch (error) {
    expect(error).toMatchObject({ code: 'CREDENTIALS_UNREADABLE' });
    expect(everythingOf(error)).not.toContain(CANARY);
    return error as Error;
  }
  throw new Error('nothing was refused');
}

describe('keys', () => {
  test.each([
    ['ghcr.io', 'https://ghcr.io'],
    ['GHCR.io', 'https://ghcr.io'],
    ['https://ghcr.io', 'https://ghcr.io'],
    ['https://ghcr.io/', 'https://ghcr.io'],
    ['http://ghcr.io/v2/whatever', 'https://ghcr.io'],
    ['ghcr.io', 'http://ghcr.io'],
    ['ghcr.io:443', 'https://ghcr.io'],
    ['ghcr.io:80', 'http://ghcr.io'],
    ['127.0.0.1:5000', 'http://127.0.0.1:5000'],
    ['[::1]:5000', 'http://[::1]:5000'],
    ...['docker.io', 'index.docker.io', 'registry-1.docker.io', 'https://index.docker.io/v1/'].flatMap(
      (key) =>
        ['https://docker.io', 'https://index.docker.io', 'https://registry-1.docker.io'].map((o) => [key, o]),
    ),
  ])('%s is for %s', async (key, origin) => {
    expect(await find({ [key]: entry('me') }, origin)).toEqual(basic('me'));
  });

  test.each([
    ['ghcr.io', 'https://ghcr.io:5000'],
    ['ghcr.io:443', 'http://ghcr.io'],
    ['ghcr.io:80', 'https://ghcr.io'],
    ['ghcr.io', 'https://evil-ghcr.io'],
    ['ghcr.io', 'https://ghcr.io.evil.example'],
    ['ghcr.io', 'https://sub.ghcr.io'],
    ['docker.io:5000', 'https://docker.io'],
    ['ghcr.io/org', 'https://ghcr.io'],
    ['me@ghcr.io', 'https://ghcr.io'],
    ['', 'https://ghcr.io'],
  ])('%s is not for %s', async (key, origin) => {
    expect(await find({ [key]: entry('me') }, origin)).toBeUndefined();
  });

  test('the longest of Podman’s keys wins, whatever their order', async () => {
    const auths = {
      'ghcr.io/org': entry('org'),
      'ghcr.io': entry('host'),
      'ghcr.io/org/conda/noarch/': entry('folder'),
      'ghcr.io/org/conda': entry('channel'),
    };
    const user = async (repository?: string) => await find(auths, 'https://ghcr.io', repository);
    expect(await user('org/conda/noarch/zlib')).toEqual(basic('folder'));
    expect(await user('org/conda/linux-64/zlib')).toEqual(basic('channel'));
    expect(await user('org/conda')).toEqual(basic('channel'));
    expect(await user('org/conda2')).toEqual(basic('org'));
    expect(await user('organisation/x')).toEqual(basic('host'));
    expect(await user()).toEqual(basic('host'));
  });

  test('Podman’s keys below Docker Hub count by any of its names', async () => {
    const auths = { 'docker.io/me': entry('me'), 'https://index.docker.io/v1/': entry('all') };
    expect(await find(auths, 'https://registry-1.docker.io', 'me/x')).toEqual(basic('me'));
    expect(await find(auths, 'https://registry-1.docker.io', 'you/x')).toEqual(basic('all'));
  });

  test('of two spellings the one that tools write today wins, and an empty entry says nothing', async () => {
    const old = { 'https://ghcr.io/v1/': entry('old') };
    expect(await find({ ...old, 'ghcr.io': entry('new') }, 'https://ghcr.io')).toEqual(basic('new'));
    expect(await find({ ...old, 'ghcr.io': {}, 'ghcr.io/a': null }, 'https://ghcr.io', 'a')).toEqual(
      basic('old'),
    );
  });
});

describe('entries', () => {
  test.each<[string, unknown, Credential | undefined]>([
    ['auth', entry('me', 'a:b:c'), basic('me', 'a:b:c')],
    ['an empty password', entry('me', ''), basic('me', '')],
    ['NULs', entry('me', '\0pass\0\0'), basic('me')],
    ['base64 in lines', { auth: 'bWU6\r\ncGFzcw==\n' }, basic('me')],
    ['base64 without padding', { auth: 'bWU6cGFzcw' }, basic('me')],
    ['no ASCII', { auth: Buffer.from('mé:пароль').toString('base64') }, basic('mé', 'пароль')],
    ['a byte order mark', { auth: Buffer.from('\ufeffme:x').toString('base64') }, basic('\ufeffme', 'x')],
    ['username and password', { username: 'me', password: 'pass' }, basic('me')],
    ['auth beside them', { ...entry('me'), username: 'you', password: 'no' }, basic('me')],
    ['identitytoken', { auth: btoa('0000:'), identitytoken: 't' }, { kind: 'refresh', token: 't' }],
    ['registrytoken', { identitytoken: 't', registrytoken: 'b' }, { kind: 'bearer', token: 'b' }],
    ['nulls', { auth: null, username: null, identitytoken: null }, undefined],
    ['nothing', {}, undefined],
    ['null', null, undefined],
    ['only an address', { email: 'me@example.org' }, undefined],
  ])('with %s', async (_, value, expected) => {
    expect(await find({ 'ghcr.io': value }, 'https://ghcr.io')).toEqual(expected);
  });

  test.each<[string, unknown]>([
    ['text', CANARY],
    ['a list', [CANARY]],
    ['a number as auth', { auth: 5, password: CANARY }],
    ['no base64', { auth: `${CANARY} !` }],
    ['base64 of an URL', { auth: 'bWU6_-8=' }],
    ['no colon', { auth: btoa(CANARY) }],
    ['no user name', { auth: btoa(`:${CANARY}`) }],
    ['no UTF-8', { auth: Buffer.from([0x61, 0x3a, 0xff]).toString('base64') }],
    ['a password of the wrong type', { username: CANARY, password: [CANARY] }],
  ])('%s is refused with file and key, for its own registry only', async (_, value) => {
    const auths = { 'ghcr.io': value, 'quay.io': entry('me') };
    const error = await refusal(() => find(auths, 'https://ghcr.io'));
    expect(error.message).toMatch(/^the file: entry `ghcr\.io` /);
    expect(await find(auths, 'https://quay.io')).toEqual(basic('me'));
  });

  test('user name and password are read back as they were', async () => {
    const username = fc.string({ unit: 'grapheme', minLength: 1 }).filter((text) => !/[:\0]/.test(text));
    const password = fc.string({ unit: 'grapheme' }).filter((text) => !text.includes('\0'));
    await fc.assert(
      fc.asyncProperty(username, password, async (u, p) => {
        const found = await find({ 'ghcr.io': { auth: encodeAuth(u, p) } }, 'https://ghcr.io');
        expect(found).toEqual(basic(u, p));
      }),
    );
  });

  test.each([
    ['', CANARY],
    ['a:b', CANARY],
    ['a', `${CANARY}\0`],
    ['a', `${CANARY}\ud800`],
  ])('%j with a password is refused where it could not be read back', async (username, password) => {
    await refusal(() => encodeAuth(username, password));
  });
});

describe('files', () => {
  test.each(['', ' \n', '{}', '{"auths": null}', '{"auths": {}, "credHelpers": null, "credsStore": null}'])(
    '%j has no credentials',
    async (text) => {
      const file = parseAuthFile(text, 'the file');
      expect(await findInAuthFile(file, { origin: 'https://ghcr.io' }, noHelpers)).toBeUndefined();
    },
  );

  test.each([
    `{"auths": {"ghcr.io": {"auth": "${CANARY}"}`,
    CANARY,
    `"${CANARY}"`,
    `["${CANARY}"]`,
    'null',
    `{"auths": "${CANARY}"}`,
    `{"auths": ["${CANARY}"]}`,
    `{"credsStore": ["${CANARY}"]}`,
    `{"credHelpers": "${CANARY}"}`,
  ])('%s is refused', async (text) => {
    expect((await refusal(() => parseAuthFile(text, 'the file'))).message).toMatch(
      /^the file cannot be read: /,
    );
  });

  test('a secret in a key does not show', async () => {
    const error = await refusal(() =>
      find(
        { [`https://me:${CANARY}@ghcr.io/`]: 5, [`ghcr.io/${'x'.repeat(1000)}\u001b[31m`]: 5 },
        'https://ghcr.io',
        `${'x'.repeat(1000)}\u001b[31m`,
      ),
    );
    expect(error.message.length).toBeLessThan(500);
    expect(error.message).not.toMatch(/[\u0000-\u001f]/);
  });

  test('keys that objects have by birth are keys like others', async () => {
    const file = parseAuthFile('{"auths": {"__proto__": {"auth": "bWU6cGFzcw=="}}}', 'the file');
    expect(await findInAuthFile(file, { origin: 'http://__proto__' }, noHelpers)).toEqual(basic('me'));
    expect(await find({}, 'http://constructor')).toBeUndefined();
  });

  test('an origin that is none is refused', async () => {
    await expect(find({}, 'ghcr.io')).rejects.toMatchObject({ code: 'REFERENCE_INVALID' });
  });

  test('no JSON and no text makes it throw anything else', async () => {
    const name = fc.constantFrom('auth', 'username', 'password', 'identitytoken', 'registrytoken', 'x');
    const value = fc.oneof(fc.dictionary(name, fc.oneof(fc.string(), fc.jsonValue())), fc.jsonValue());
    const auths = fc.dictionary(
      fc.oneof(fc.constantFrom('ghcr.io', 'https://ghcr.io/', 'ghcr.io/a'), fc.string()),
      value,
    );
    const document = fc.record(
      {
        auths: fc.oneof(auths, fc.jsonValue()),
        credHelpers: fc.oneof(fc.dictionary(fc.constantFrom('ghcr.io', 'x'), fc.jsonValue()), fc.jsonValue()),
        credsStore: fc.jsonValue(),
      },
      { requiredKeys: [] },
    );
    const text = fc.oneof(
      fc.string(),
      fc.json(),
      document.map((d) => JSON.stringify(d)),
    );
    const none = { ...noHelpers, get: () => Promise.resolve(undefined) };
    await fc.assert(
      fc.asyncProperty(text, async (source) => {
        try {
          await findInAuthFile(
            parseAuthFile(source, 'x'),
            { origin: 'https://ghcr.io', repository: 'a/b' },
            none,
          );
        } catch (error) {
          expect(isFerryError(error, 'CREDENTIALS_UNREADABLE')).toBe(true);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('helpers', () => {
  const document = {
    auths: { 'ghcr.io': entry('file'), 'plain.example': entry('file') },
    credHelpers: {
      'GHCR.io': 'own',
      'https://index.docker.io/v1/': 'hub',
      'plain.example': '',
      'bad.example': 5,
    },
    credsStore: 'all',
  };
  const asked: string[] = [];
  const helpers: CredentialHelpers = {
    ...noHelpers,
    get: (name, server) => {
      asked.push(`${name} ${server}`);
      return Promise.resolve(name === 'own' ? basic('helper') : undefined);
    },
  };
  const ask = async (origin: string) => {
    asked.length = 0;
    const file = parseAuthFile(JSON.stringify(document), 'the file');
    return [await findInAuthFile(file, { origin, repository: 'a/b' }, helpers), ...asked];
  };

  test('the registry’s own comes before the one for all, and both before the file', async () => {
    expect(await ask('https://ghcr.io')).toEqual([basic('helper'), 'own ghcr.io']);
    expect(await ask('https://quay.io:8443')).toEqual([undefined, 'all quay.io:8443']);
  });

  test('Docker Hub is asked for by its old URL', async () => {
    expect(await ask('https://registry-1.docker.io')).toEqual([undefined, 'hub https://index.docker.io/v1/']);
  });

  test('the empty name means the file itself', async () => {
    expect(await ask('https://plain.example')).toEqual([basic('file')]);
  });

  test('a name that is no text is refused', async () => {
    const error = await refusal(() => ask('https://bad.example'));
    expect(error.message).toBe('the file: helper of `bad.example` is not a name');
    expect(helperFor(parseAuthFile('{}', ''), ['x'])).toBeUndefined();
  });
});

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isFerryError } from '#ferry/errors.js';
import {
  findInRattlerAuth,
  parseRattlerAuth,
  rattlerAuthPaths,
} from '#ferry/http/credentials/rattler-auth.js';
import { everythingOf } from '../../support/http.js';

const CANARY = 'canary-5ecret';
const find = (document: unknown, host: string) =>
  findInRattlerAuth(parseRattlerAuth(JSON.stringify(document), '/x/credentials.json'), host);
const bearer = (token: string) => ({ kind: 'bearer', token });

test.each([
  [{ BearerToken: 't' }, bearer('t')],
  [{ CondaToken: 't' }, { kind: 'conda-token', token: 't' }],
  [{ BasicHTTP: { username: 'me', password: 'p' } }, { kind: 'basic', username: 'me', password: 'p' }],
  [{ S3Credentials: { access_key_id: 'a', secret_access_key: 'b', session_token: null } }, undefined],
  [{ OAuth: { access_token: 'a', refresh_token: 'b', client_id: 'c' } }, undefined],
  [{ Tomorrow: 5 }, undefined],
  ['GoogleCloud', undefined],
  [null, undefined],
])('%j is read', (entry, expected) => {
  expect(find({ 'repo.example.org': entry }, 'repo.example.org')).toEqual(expected);
});

test('the host itself comes before wildcards, of which the longest wins', () => {
  const document = {
    '*.dev': { BearerToken: 'dev' },
    '*.prefix.dev': { BearerToken: 'wild' },
    'repo.prefix.dev': { BearerToken: 'exact' },
    '*.a.prefix.dev': { OAuth: {} },
  };
  const token = (host: string) => find(document, host);
  expect(token('repo.prefix.dev')).toEqual(bearer('exact'));
  expect(token('REPO.prefix.dev')).toEqual(bearer('exact'));
  expect(token('b.repo.prefix.dev')).toEqual(bearer('wild'));
  expect(token('prefix.dev')).toEqual(bearer('wild'));
  expect(token('b.a.prefix.dev')).toEqual(bearer('wild'));
  expect(token('evilprefix.dev')).toEqual(bearer('dev'));
  expect(token('prefix.dev.example')).toBeUndefined();
});

test('addresses have no wildcards, and objects no keys of their own', () => {
  const document = {
    '*.1': { BearerToken: 'x' },
    '127.0.0.2': { BearerToken: 'two' },
    '*.[::1]': { BearerToken: 'x' },
  };
  expect(find(document, '127.0.0.1')).toBeUndefined();
  expect(find(document, '127.0.0.2')).toEqual(bearer('two'));
  expect(find(document, '[::1]')).toBeUndefined();
  expect(find({}, 'constructor')).toBeUndefined();
});

test.each([
  [CANARY, 'it is not JSON'],
  [`{"x": "${CANARY}"`, 'it is not JSON'],
  [`["${CANARY}"]`, 'it is no JSON object'],
  ['null', 'it is no JSON object'],
])('%s is refused', (text, why) => {
  expect(() => parseRattlerAuth(text, '/x')).toThrow(
    expect.objectContaining({
      code: 'CREDENTIALS_UNREADABLE',
      message: `credential file \`/x\` cannot be read: ${why}`,
    }) as Error,
  );
});

test.each([
  [{ BearerToken: [CANARY] }],
  [{ CondaToken: 5, x: CANARY }],
  [{ BasicHTTP: { username: CANARY } }],
])('%j is refused with file and host, for that host only', (entry) => {
  const document = { 'bad.example': entry, 'good.example': { BearerToken: 't' } };
  expect(find(document, 'good.example')).toEqual(bearer('t'));
  try {
    find(document, 'bad.example');
  } catch (error) {
    expect(error).toMatchObject({
      code: 'CREDENTIALS_UNREADABLE',
      message: "credential file `/x/credentials.json`: entry `bad.example` is not of its kind's form",
    });
    expect(everythingOf(error)).not.toContain(CANARY);
    return;
  }
  throw new Error('it was read');
});

test('an empty file has none', () => {
  expect(parseRattlerAuth('', '/x').entries).toEqual({});
});

test('no JSON and no text makes it throw anything else', () => {
  const kind = fc.constantFrom('BearerToken', 'CondaToken', 'BasicHTTP', 'username', 'password');
  const entry = fc.oneof(fc.dictionary(kind, fc.jsonValue()), fc.jsonValue());
  const document = fc.dictionary(fc.oneof(fc.constantFrom('h.example', '*.example'), fc.string()), entry);
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.json(),
        document.map((d) => JSON.stringify(d)),
      ),
      (text) => {
        try {
          findInRattlerAuth(parseRattlerAuth(text, '/x'), 'h.example');
        } catch (error) {
          expect(isFerryError(error, 'CREDENTIALS_UNREADABLE')).toBe(true);
        }
      },
    ),
    { numRuns: 500 },
  );
});

test('the file that the environment names comes first', () => {
  expect(rattlerAuthPaths({ RATTLER_AUTH_FILE: '/x' }, '/home/me')).toEqual([
    '/x',
    '/home/me/.rattler/credentials.json',
  ]);
  expect(rattlerAuthPaths({}, '/home/me')).toEqual(['/home/me/.rattler/credentials.json']);
});

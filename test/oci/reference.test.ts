import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ParseError } from '#ferry/errors.js';
import {
  formatReference,
  isRegistryHost,
  isRepositoryName,
  isTag,
  parseReference,
  parseRepositoryName,
  parseTag,
  type Reference,
} from '#ferry/oci/reference.js';

const SHA256 = `sha256:${'0123456789abcdef'.repeat(4)}` as const;
const SHA512 = `sha512:${'0123456789abcdef'.repeat(8)}` as const;

function failureOf(text: string): ParseError {
  try {
    parseReference(text);
  } catch (error) {
    if (error instanceof ParseError) return error;
    throw error;
  }
  throw new Error(`\`${text}\` was taken`);
}

test.each<[string, Reference]>([
  ['ghcr.io/org/x', { registry: 'ghcr.io', repository: 'org/x' }],
  ['ghcr.io/org/x:1.0-0', { registry: 'ghcr.io', repository: 'org/x', tag: '1.0-0' }],
  ['127.0.0.1:5000/x', { registry: '127.0.0.1:5000', repository: 'x' }],
  ['[::1]:5000/x:T', { registry: '[::1]:5000', repository: 'x', tag: 'T' }],
  [`localhost/a/b/c@${SHA256}`, { registry: 'localhost', repository: 'a/b/c', digest: SHA256 }],
  [`h/x:_v@${SHA512}`, { registry: 'h', repository: 'x', tag: '_v', digest: SHA512 }],
  ['[2001:db8::1]/x', { registry: '[2001:db8::1]', repository: 'x' }],
  [`ghcr.io/${'a'.repeat(247)}`, { registry: 'ghcr.io', repository: 'a'.repeat(247) }],
  ['h/a__b/c.d--e', { registry: 'h', repository: 'a__b/c.d--e' }],
])('reads %s', (text, reference) => {
  expect(parseReference(text)).toEqual(reference);
  expect(formatReference(reference)).toBe(text);
});

test.each([
  ['', 0],
  ['ghcr.io', 0],
  ['/x', 0],
  ['gh cr.io/x', 0],
  ['ghcr.io:/x', 0],
  ['ghcr.io:99999/x', 0],
  ['300.0.0.1/x', 0],
  ['http://ghcr.io/x', 0],
  ['ghcr.io/', 8],
  ['ghcr.io/X', 8],
  ['ghcr.io/a//b', 8],
  ['ghcr.io/../b', 8],
  ['ghcr.io/a/', 8],
  ['ghcr.io/a\n', 8],
  [`ghcr.io/${'a'.repeat(256)}`, 8],
  // Host and name together.
  [`ghcr.io/${'a'.repeat(248)}`, 8],
  ['ghcr.io/a:', 10],
  ['ghcr.io/a:-x', 10],
  ['ghcr.io/a:x\n', 10],
  [`ghcr.io/a:${'x'.repeat(129)}`, 10],
  ['ghcr.io/a:b:c', 10],
  ['ghcr.io/a@', 10],
  ['ghcr.io/a:1.0@', 14],
  ['ghcr.io/a:@sha256:abc', 11],
  ['user@ghcr.io/a', 0],
  ['user:secret@ghcr.io/a', 0],
  ['ghcr.io/a?n=1', 8],
  ['ghcr.io/a#b', 8],
  ['ghcr.io/a:1.0?n=1', 10],
  ['ghcr.io/a%2fb', 8],
  ['::1/a', 0],
  ['[::1/a', 0],
  ['[::1]5000/a', 0],
  ['[::1%25eth0]/a', 0],
  ['ghcr.io./a', 0],
  ['library', 0],
  ['ghcr.io/a@sha256:abc', 10],
  [`ghcr.io/a:b@${SHA256.toUpperCase()}`, 12],
  [`ghcr.io/a@${SHA256}:b`, 10],
  [`ghcr.io/a@md5:${'0'.repeat(32)}`, 10],
])('refuses %j at character %i', (text, position) => {
  expect(failureOf(text)).toMatchObject({ code: 'REFERENCE_INVALID', position });
});

test('an error shows neither a password nor a long text', () => {
  const error = failureOf('user:secret@ghcr.io/x');
  expect(`${error.message} ${JSON.stringify(error)}`).not.toContain('secret');
  expect(error.message).toContain('***@ghcr.io/x');
  expect(failureOf(`h/${'A'.repeat(1_000_000)}`).message.length).toBeLessThan(500);
});

const host = fc.oneof(
  fc.domain(),
  fc.ipV4(),
  fc.ipV6().map((address) => `[${address}]`),
  fc.constant('localhost'),
);
const port = fc.option(fc.integer({ min: 1, max: 65_535 }), { nil: undefined });
const part = fc.stringMatching(/^[a-z0-9]{1,5}(?:(?:\.|_|__|-{1,3})[a-z0-9]{1,5}){0,2}$/);
const reference: fc.Arbitrary<Reference> = fc
  .record({
    registry: fc
      .tuple(host, port)
      .map(([name, number]) => (number === undefined ? name : `${name}:${number}`)),
    repository: fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/')),
    tag: fc.option(fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}$/), { nil: undefined }),
    digest: fc.option(fc.constantFrom(SHA256, SHA512), { nil: undefined }),
  })
  .filter(({ registry, repository }) => registry.length + 1 + repository.length <= 255);

describe('parse and format', () => {
  test('a reference that is written reads the same', () => {
    fc.assert(
      fc.property(reference, (original) => {
        expect(parseReference(formatReference(original))).toEqual(original);
      }),
    );
  });

  test('a text that reads is written the same, and any other is refused by code', () => {
    const almost = fc
      .tuple(reference.map(formatReference), fc.nat(), fc.nat(3), fc.string({ maxLength: 3 }))
      .map(([text, at, drop, insert]) => {
        const index = at % (text.length + 1);
        return text.slice(0, index) + insert + text.slice(index + drop);
      });
    fc.assert(
      fc.property(fc.oneof(almost, fc.string()), (text) => {
        let parsed: Reference;
        try {
          parsed = parseReference(text);
        } catch (error) {
          expect(error).toMatchObject({ name: 'ParseError', code: 'REFERENCE_INVALID' });
          return;
        }
        expect(formatReference(parsed)).toBe(text);
        expect(isRepositoryName(parsed.repository)).toBe(true);
        // What was read is safe in a URL.
        const url = new URL(
          `https://${parsed.registry}/v2/${parsed.repository}/manifests/${parsed.tag ?? 'x'}`,
        );
        expect(url.pathname).toBe(`/v2/${parsed.repository}/manifests/${parsed.tag ?? 'x'}`);
        expect(url.username).toBe('');
      }),
      { numRuns: 1000 },
    );
  });

  test('names and tags pass as they are or not at all', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), part), (text) => {
        if (isRepositoryName(text)) expect(parseRepositoryName(text)).toBe(text);
        else expect(() => parseRepositoryName(text)).toThrow(ParseError);
        if (isTag(text)) expect(parseTag(text)).toBe(text);
        else expect(() => parseTag(text)).toThrow(ParseError);
        if (isRegistryHost(text)) expect(new URL(`http://${text}`).pathname).toBe('/');
      }),
    );
  });
});

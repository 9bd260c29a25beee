import fc from 'fast-check';
import { expect, test } from 'vitest';
import { redactUrl } from '#ferry/io/redact.js';

test.each([
  ['https://ghcr.io/v2/a/b/blobs/sha256:abc', 'https://ghcr.io/v2/a/b/blobs/sha256:abc'],
  ['https://user:password@h/c', 'https://***:***@h/c'],
  ['https://token@h/c', 'https://***@h/c'],
  ['https://h/t/token/c/noarch', 'https://h/t/***/c/noarch'],
  ['https://h/prefix/t/token/c', 'https://h/prefix/t/***/c'],
  ['https://h/t/', 'https://h/t/'],
  ['https://h/start/tt/x', 'https://h/start/tt/x'],
  ['https://h/?digest=sha256%3Aabc&n=5', 'https://h/?digest=sha256%3Aabc&n=5'],
  ['https://h/?sig=secret&n=5&sig=more', 'https://h/?sig=***&n=5'],
  ['https://h/?secret', 'https://h/?***='],
  ['https://h/?n=5&secret=', 'https://h/?n=5&***='],
  ['https://h/#secret', 'https://h/'],
  ['file:///tmp/channel', 'file:///tmp/channel'],
  ['oci://user:password@h/path', 'oci://***:***@h/path'],
  // Texts that read as URLs of odd schemes.
  ['user:password@h/path', '[url]'],
  ['localhost:5000/x', '[url]'],
  ['data:text/plain,secret', '[url]'],
  ['', '[url]'],
  ['/t/token/x', '[url]'],
  ['http://', '[url]'],
])('%j is shown as %j', (url, shown) => {
  expect(redactUrl(url)).toBe(shown);
});

test('a URL that is given is left as it is', () => {
  const url = new URL('https://user:password@h/t/token/?sig=secret');
  const { href } = url;
  redactUrl(url);
  expect(url.href).toBe(href);
});

/** Texts that are nowhere else in a URL. */
const secret = fc.stringMatching(/^SECRET[A-Za-z0-9-]{1,10}$/);

test('no secret is seen, wherever it stands', () => {
  const placed = fc.tuple(
    secret,
    fc.constantFrom<(text: string) => string>(
      (text) => `https://${text}@h/x`,
      (text) => `https://user:${text}@h:444/x`,
      (text) => `http://h/t/${text}/conda-forge/noarch/x.conda`,
      (text) => `http://h/a/t/${text}?n=1`,
      (text) => `https://h/x?X-Amz-Signature=${text}&digest=a`,
      (text) => `https://h/x?digest=a&${text}`,
      (text) => `https://h/x?a=1&_state=${text}%3D%3D&_state=${text}`,
      (text) => `https://h/x?${text}=&n=1`,
      (text) => `https://h/x#${text}`,
      (text) => `${text}:${text}@h/x`,
      (text) => `oci://${text}:${text}@h/x`,
      (text) => text,
    ),
  );
  fc.assert(
    fc.property(placed, ([text, place]) => {
      expect(redactUrl(place(text)).toUpperCase()).not.toContain(text.toUpperCase());
    }),
  );
});

test('what is redacted once is not changed by being redacted again', () => {
  fc.assert(
    fc.property(fc.webUrl({ withQueryParameters: true, withFragments: true }), (url) => {
      const once = redactUrl(url);
      expect(redactUrl(once)).toBe(once);
      expect(new URL(once).host).toBe(new URL(url).host);
    }),
  );
});

test('any text at all is taken', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      expect(typeof redactUrl(text)).toBe('string');
    }),
  );
});

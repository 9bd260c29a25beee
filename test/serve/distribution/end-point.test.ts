import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseEndPoint } from '#ferry/serve/distribution/end-point.js';

const DIGEST = `sha256:${'a'.repeat(64)}`;

describe('a path below /v2/', () => {
  test.each([
    ['/v2', { kind: 'base' }],
    ['/v2/', { kind: 'base' }],
    ['/v2/_catalog', { kind: 'catalog' }],
    ['/v2/a/tags/list', { kind: 'tags', name: 'a' }],
    ['/v2/a/b/c/manifests/1.0-0', { kind: 'manifest', name: 'a/b/c', reference: '1.0-0' }],
    [`/v2/a/manifests/${DIGEST}`, { kind: 'manifest', name: 'a', reference: DIGEST }],
    [`/v2/a/manifests/sha256%3A${'a'.repeat(64)}`, { kind: 'manifest', name: 'a', reference: DIGEST }],
    [`/v2/a/b/blobs/${DIGEST}`, { kind: 'blob', name: 'a/b', digest: DIGEST }],
    [`/v2/a/b/referrers/${DIGEST}`, { kind: 'referrers', name: 'a/b', digest: DIGEST }],
    ['/v2/a/blobs/uploads', { kind: 'upload', name: 'a' }],
    ['/v2/a/blobs/uploads/', { kind: 'upload', name: 'a' }],
    ['/v2/a/blobs/uploads/1-2-3', { kind: 'upload', name: 'a' }],
  ])('%s', (path, endPoint) => {
    expect(parseEndPoint(path)).toEqual(endPoint);
  });

  test.each([
    ['/v2/a/manifests/b/tags/list', { kind: 'tags', name: 'a/manifests/b' }],
    ['/v2/a/tags/list/manifests/list', { kind: 'manifest', name: 'a/tags/list', reference: 'list' }],
    [
      '/v2/blobs/manifests/manifests/blobs',
      { kind: 'manifest', name: 'blobs/manifests', reference: 'blobs' },
    ],
    ['/v2/manifests/tags/list', { kind: 'tags', name: 'manifests' }],
    [`/v2/uploads/blobs/${DIGEST}`, { kind: 'blob', name: 'uploads', digest: DIGEST }],
    ['/v2/token/manifests/1', { kind: 'manifest', name: 'token', reference: '1' }],
  ])('is told by its end, whatever the name is: %s', (path, endPoint) => {
    expect(parseEndPoint(path)).toEqual(endPoint);
  });

  test.each([
    ['/v2/../secret/manifests/1', 400, 'NAME_INVALID'],
    ['/v2/a/../b/manifests/1', 400, 'NAME_INVALID'],
    ['/v2/a%2Fb/manifests/1', 400, 'NAME_INVALID'],
    ['/v2/%2e%2e/a/tags/list', 400, 'NAME_INVALID'],
    ['/v2/a//b/tags/list', 400, 'NAME_INVALID'],
    ['/v2//tags/list', 400, 'NAME_INVALID'],
    ['/v2/tags/list', 400, 'NAME_INVALID'],
    ['/v2/A/tags/list', 400, 'NAME_INVALID'],
    [`/v2/${'a'.repeat(256)}/tags/list`, 400, 'NAME_INVALID'],
    ['/v2/a/manifests/sha256:baddigeststring', 400, 'DIGEST_INVALID'],
    ['/v2/a/manifests/sha384:abc', 400, 'DIGEST_INVALID'],
    ['/v2/a/blobs/sha256:abc', 400, 'DIGEST_INVALID'],
    ['/v2/a/blobs/1.0', 400, 'DIGEST_INVALID'],
    [`/v2/a/blobs/${DIGEST}%00`, 400, 'DIGEST_INVALID'],
    [`/v2/a/blobs/${DIGEST.toUpperCase()}`, 400, 'DIGEST_INVALID'],
    ['/v2/a/referrers/latest', 400, 'DIGEST_INVALID'],
    ['/v2/a/manifests/.INVALID_MANIFEST_NAME', 404, 'TAG_INVALID'],
    ['/v2/a/manifests/%zz', 404, 'TAG_INVALID'],
    ['/v2/a/manifests/..%2f..%2fetc', 404, 'TAG_INVALID'],
    [`/v2/a/manifests/${'a'.repeat(129)}`, 404, 'TAG_INVALID'],
    ['/v2/a/manifests/', 404, 'TAG_INVALID'],
    ['/v2/a', 404, 'UNSUPPORTED'],
    ['/v2/a/tags/', 404, 'UNSUPPORTED'],
    ['/v2//', 404, 'UNSUPPORTED'],
  ])('%s is refused: %i %s', (path, status, code) => {
    expect(parseEndPoint(path)).toMatchObject({ kind: 'refused', error: { status, code } });
  });

  test('of any kind gives nothing but names and references of the grammar', () => {
    const part = fc.oneof(
      fc.constantFrom(
        'a',
        '..',
        '.',
        '',
        '%2e',
        '%2F',
        'manifests',
        'blobs',
        'tags',
        'list',
        'uploads',
        DIGEST,
      ),
      fc.string({ unit: 'binary', maxLength: 10 }),
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 8 }), (parts) => {
        const endPoint = parseEndPoint(`/v2/${parts.join('/')}`);
        if ('name' in endPoint) expect(endPoint.name).toMatch(/^[a-z0-9._/-]{1,255}$/);
        if ('name' in endPoint) expect(endPoint.name).not.toMatch(/\.\.|\/\/|^\/|\/$/);
        if ('reference' in endPoint) expect(endPoint.reference).toMatch(/^[\w.:-]+$/);
      }),
    );
  });
});

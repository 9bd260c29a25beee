import { describe, expect, test } from 'vitest';
import { MAX_JSON_DEPTH, ownMediaType, parseImageIndex, parseImageManifest } from '#ferry/oci/manifest.js';
import { IMAGE_INDEX, IMAGE_MANIFEST } from '#ferry/oci/media-types.js';
import { artifactOf } from '../contracts/artifacts.js';

const text = Buffer.from(artifactOf('a layer').manifest.bytes).toString();
const parse = (json: string): unknown => parseImageManifest(Buffer.from(json));
const withField = (field: string): string => text.replace(/\}$/, `,${field}}`);
const invalid: unknown = expect.objectContaining({ code: 'MANIFEST_INVALID' });

describe('the JSON of a manifest', () => {
  test('may be nested so far and no further, in brackets that are none of a string', () => {
    const nested = (depth: number): string => withField(`"x":${'['.repeat(depth)}${']'.repeat(depth)}`);
    parse(nested(MAX_JSON_DEPTH - 1));
    expect(() => parse(nested(MAX_JSON_DEPTH))).toThrow(invalid);
    expect(() => parse(nested(1_000_000))).toThrow(invalid);
    parse(withField(`"x":"${'['.repeat(1000)}\\"${'{'.repeat(1000)}"`));
    parse(withField(`"x":[${'[],'.repeat(1000)}[]]`));
  });

  test('of a key that stands twice has the last one', () => {
    expect(parse(withField('"artifactType":"a/b","artifactType":"c/d"'))).toMatchObject({
      artifactType: 'c/d',
    });
  });

  test('changes no prototype', () => {
    parse(withField('"__proto__":{"polluted":true},"annotations":{"__proto__":"x","constructor":"y"}'));
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });

  test.each(['', '<html>', 'null', '[]', '{}', '{"schemaVersion":2}', '\u0000'])('is not %j', (json) => {
    expect(() => parse(json)).toThrow(invalid);
  });

  test('is not both manifest and index (CVE-2021-41190)', () => {
    const both = Buffer.from(withField('"manifests":[]'));
    expect(() => parseImageManifest(both)).toThrow(invalid);
    expect(() => parseImageIndex(both)).toThrow(invalid);
  });
});

describe('ownMediaType', () => {
  test.each<[string, string | undefined]>([
    [text, IMAGE_MANIFEST],
    [`{"mediaType":"${IMAGE_INDEX}"}`, IMAGE_INDEX],
    ['{}', undefined],
    ['{"mediaType":1}', undefined],
    ['<html>', undefined],
    ['', undefined],
  ])('of %s', (json, mediaType) => {
    expect(ownMediaType(Buffer.from(json))).toBe(mediaType);
  });
});

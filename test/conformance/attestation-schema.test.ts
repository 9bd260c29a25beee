import { describe, expect, test } from 'vitest';
import { breachesOf } from './spec.js';

describe('a publish attestation', () => {
  const check = breachesOf('publish-attestation');
  const subject = { name: 'foo-1.0-PY3_0.conda', digest: { sha256: 'a'.repeat(64) } };
  const statement = {
    _type: 'https://in-toto.io/Statement/v1',
    subject: [subject],
    predicateType: 'https://schemas.conda.org/attestations-publish-1.schema.json',
    predicate: { targetChannel: 'https://example.org/channel' },
  };

  test.each([
    ['with a channel', statement],
    ['with an empty predicate', { ...statement, predicate: {} }],
    ['with no predicate', { ...statement, predicate: null }],
    [
      'without a predicate',
      { _type: statement._type, subject: [subject], predicateType: statement.predicateType },
    ],
  ])('cep/F6: is accepted, %s, with upper case in the build string', (_, document) => {
    expect(check(document)).toEqual([]);
  });

  test.each([
    ['another type', { ...statement, _type: 'https://in-toto.io/Statement/v0.1' }],
    ['another predicate', { ...statement, predicateType: 'https://slsa.dev/provenance/v1' }],
    ['no subject', { ...statement, subject: [] }],
    ['two subjects', { ...statement, subject: [subject, subject] }],
    ['no file name', { ...statement, subject: [{ ...subject, name: 'foo' }] }],
    ['a path', { ...statement, subject: [{ ...subject, name: 'noarch/foo-1.0-0.conda' }] }],
    [
      'another hash beside',
      { ...statement, subject: [{ ...subject, digest: { ...subject.digest, md5: '' } }] },
    ],
    ['a hash in upper case', { ...statement, subject: [{ ...subject, digest: { sha256: 'A'.repeat(64) } }] }],
    ['a slash behind the channel', { ...statement, predicate: { targetChannel: 'https://example.org/c/' } }],
    ['a list as predicate', { ...statement, predicate: [] }],
  ])('is refused with %s', (_, document) => {
    expect(check(document)).not.toEqual([]);
  });
});

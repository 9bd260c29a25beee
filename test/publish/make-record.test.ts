import { describe, expect, test } from 'vitest';
import { makeRecord } from '#ferry/publish/make-record.js';

const SUMS = { sha256: 'a'.repeat(64), md5: 'b'.repeat(32), size: 7 };
const bytesOf = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));

describe('the record of an archive', () => {
  test('is its index.json and its sums, keys sorted, the unit of its time as it was', () => {
    const index = {
      version: '1.0',
      name: 'zlib',
      build: '0',
      timestamp: 1_700_000_000,
      x_odd: { b: 1, a: [null] },
    };
    const record = makeRecord(bytesOf(index), SUMS, 1_800_000_000_000);
    expect(record).toEqual({ ...index, ...SUMS, indexed_timestamp: 1_800_000_000_000 });
    expect(Object.keys(record)).toEqual([...Object.keys(record)].sort());
    expect(makeRecord(bytesOf(index), SUMS)).not.toHaveProperty('indexed_timestamp');
  });

  test('has nothing of what old build tools wrote for themselves', () => {
    const old = {
      arch: 'x86_64',
      platform: 'linux',
      has_prefix: true,
      mtime: 1,
      ucs: 4,
      requires_features: {},
      binstar: {},
      'target-triplet': 'x',
      machine: 'x',
      operatingsystem: 'x',
    };
    const index = { name: 'a', version: '1', build: '0', subdir: 'linux-64', noarch: null };
    expect(makeRecord(bytesOf({ ...index, ...old }), SUMS)).toEqual({ ...index, ...SUMS });
  });

  test('has its sums from the bytes, and nothing that only a server may say', () => {
    const index = { name: 'a', version: '1', build: '0' };
    const said = {
      sha256: 'c',
      md5: 'd',
      size: 1,
      indexed_timestamp: 5,
      url: 'https://x/',
      attestations_sha256: 'e',
    };
    expect(makeRecord(bytesOf({ ...index, ...said }), SUMS)).toEqual({ ...index, ...SUMS });
  });

  test.each([
    ['no object', '[]'],
    ['no version', '{"name":"a","build":"0"}'],
    ['half a character', '{"name":"a","version":"1","build":"0","license":"\\ud800"}'],
    ['a key that msgpack readers refuse', '{"name":"a","version":"1","build":"0","x":{"__proto__":1}}'],
    ['a name that they refuse', '{"name":"__proto__","version":"1","build":"0"}'],
    [
      'nesting without end',
      `{"name":"a","version":"1","build":"0","x":${'['.repeat(9999)}${']'.repeat(9999)}}`,
    ],
  ])('cannot be made where there is %s', (_what, text) => {
    expect(() => makeRecord(Buffer.from(text), SUMS)).toThrow(
      expect.objectContaining({ code: 'ARCHIVE_INDEX_INVALID' }),
    );
  });
});

import { expect, test } from 'vitest';
import { withDetails } from '#ferry/conda/record-details.js';
import { parseRepodataRecord } from '#ferry/conda/package-record.js';

const FILENAME = 'a-1-0.conda';
const record = parseRepodataRecord(FILENAME, { name: 'a', version: '1', build: '0', size: 7 }, 'noarch');
const NOTHING = {
  buildNumber: 0,
  depends: [],
  license: undefined,
  licenseFamily: undefined,
  trackFeatures: [],
  features: undefined,
  noarch: undefined,
  timestampMs: undefined,
  indexedTimestampMs: undefined,
  attestationsSha256: undefined,
  flags: [],
  extraDepends: {},
};

test('what a record tells is told, under its own fields', () => {
  const value = {
    build_number: 3,
    depends: ['b >=1', 'c'],
    license: 'MIT',
    license_family: 'BSD',
    track_features: 'x, y z',
    features: 'f',
    noarch: 'python',
    timestamp: 1_700_000_000_000,
    indexed_timestamp: 1_700_000_000_001,
    attestations_sha256: '0'.repeat(64),
    flags: ['cuda'],
    extra_depends: { web: ['flask'] },
    name: 'another',
    size: 8,
  };
  expect(withDetails(record, value)).toStrictEqual({
    ...record,
    buildNumber: 3,
    depends: ['b >=1', 'c'],
    license: 'MIT',
    licenseFamily: 'BSD',
    trackFeatures: ['x', 'y', 'z'],
    features: 'f',
    noarch: 'python',
    timestampMs: 1_700_000_000_000,
    indexedTimestampMs: 1_700_000_000_001,
    attestationsSha256: '0'.repeat(64),
    flags: ['cuda'],
    extraDepends: { web: ['flask'] },
  });
});

test.each<[string, unknown[]]>([
  ['build_number', [-1, 1.5, '3', null, 2 ** 53]],
  ['depends', ['b', null, { 0: 'b' }]],
  ['license', [1, null, ['MIT']]],
  ['license_family', [1, null]],
  ['track_features', [1, null, '', ' , ']],
  ['features', [1, null]],
  ['noarch', [true, null]],
  ['timestamp', ['1700000000000', null, Infinity]],
  ['indexed_timestamp', ['1700000000000', null]],
  ['attestations_sha256', [1, null]],
  ['flags', ['cuda', null]],
  ['extra_depends', ['x', null, ['x'], { web: ['flask'], cli: 'click' }]],
])('a `%s` of a wrong type counts as absent', (field, values) => {
  for (const value of values)
    expect(withDetails(record, { [field]: value })).toStrictEqual({ ...record, ...NOTHING });
});

test('of lists the texts are taken, and seconds become milliseconds', () => {
  const value = {
    depends: ['b', 1, null, 'c'],
    track_features: ['x', 2],
    flags: [{}],
    timestamp: 1_400_000_000,
  };
  expect(withDetails(record, value)).toMatchObject({
    depends: ['b', 'c'],
    trackFeatures: ['x'],
    flags: [],
    timestampMs: 1_400_000_000_000,
  });
});

test('names of groups may be those of prototypes', () => {
  const value = JSON.parse('{"extra_depends":{"__proto__":["b"],"constructor":["c"]}}') as Record<
    string,
    unknown
  >;
  const { extraDepends } = withDetails(record, value);
  expect(Object.entries(extraDepends)).toEqual([
    ['__proto__', ['b']],
    ['constructor', ['c']],
  ]);
});

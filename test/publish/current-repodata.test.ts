import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parseArchiveFilename } from '#ferry/conda/names.js';
import type { JsonObject } from '#ferry/conda/record-details.js';
import { selectCurrent } from '#ferry/publish/current-repodata.js';
import { sectionOf, type SubdirRecords } from '#ferry/publish/subdir-records.js';

type Fields = Readonly<Record<string, JsonObject>>;

function recordsOf(records: Fields): SubdirRecords {
  const sections = {
    packages: new Map<string, JsonObject>(),
    'packages.conda': new Map<string, JsonObject>(),
  };
  for (const [filename, fields] of Object.entries(records)) {
    const { name, version, build } = parseArchiveFilename(filename);
    sections[sectionOf(filename)].set(filename, { name, version, build, subdir: 'linux-64', ...fields });
  }
  return { ...sections, removed: ['gone-1-0.conda'] };
}

function selected(records: Fields): readonly string[] {
  const current = selectCurrent(recordsOf(records), 'linux-64');
  return [...current.packages.keys(), ...current['packages.conda'].keys()].sort();
}

const needs = (...depends: readonly string[]): JsonObject => ({ depends });

/** Made at random; what conda-index 0.13.0 with conda 26.7 selects of them. */
const VECTORS = JSON.parse(
  readFileSync(join(import.meta.dirname, 'current-repodata-vectors.json'), 'utf8'),
) as readonly { readonly records: Fields; readonly selected: readonly string[] }[];

describe('current repodata', () => {
  test('has all builds of the newest version', () => {
    expect(
      selected({ 'a-1.9-0.conda': {}, 'a-1.10-0.conda': {}, 'a-1.10-1.conda': {}, 'a-1.10rc1-9.conda': {} }),
    ).toEqual(['a-1.10-0.conda', 'a-1.10-1.conda', 'a-1.10rc1-9.conda']);
  });

  test('has the newest version that meets what a newest one needs, and not what that needs in turn', () => {
    const records = {
      'a-1-0.conda': needs('b <2', 'c', 'nobody', 'not a spec ['),
      'b-2-0.conda': {},
      'b-1.5-0.conda': needs('c <2'),
      'b-1.5-1.conda': {},
      'b-1.4-0.conda': {},
      'c-2-0.conda': {},
      'c-1-0.conda': {},
    };
    expect(selected(records)).toEqual([
      'a-1-0.conda',
      'b-1.5-0.conda',
      'b-1.5-1.conda',
      'b-2-0.conda',
      'c-2-0.conda',
    ]);
  });

  test('has a record without features beside those with', () => {
    const records = {
      'a-2-0.conda': { track_features: 'debug' },
      'a-1-1.conda': { build_number: 1 },
      'a-1-0.conda': { build_number: 0 },
      'b-1-0.conda': { features: 'mkl' },
      'c-2-0.conda': {},
      'c-1-0.conda': {},
    };
    expect(selected(records)).toEqual(['a-1-1.conda', 'a-2-0.conda', 'b-1-0.conda', 'c-2-0.conda']);
  });

  test('has the .conda of an archive in both formats, which names its twin', () => {
    const { packages, ...current } = selectCurrent(
      recordsOf({
        'a-1-0.conda': { md5: 'new', size: 1 },
        'a-1-0.tar.bz2': { md5: 'old', size: 2 },
        'a-1-1.tar.bz2': {},
        'b-1-0.conda': {},
      }),
      'linux-64',
    );
    expect([...packages.keys()]).toEqual(['a-1-1.tar.bz2']);
    expect(current['packages.conda'].get('a-1-0.conda')).toMatchObject({
      md5: 'new',
      legacy_bz2_md5: 'old',
      legacy_bz2_size: 2,
    });
    expect(current['packages.conda'].get('b-1-0.conda')).not.toHaveProperty('legacy_bz2_md5');
    expect(current.removed).toEqual(['gone-1-0.conda']);
  });

  test('passes over what has no name, version or build', () => {
    expect(
      selected({ 'a-1-0.conda': { name: 1 }, 'b-1-0.conda': { version: null }, 'c-1-0.conda': {} }),
    ).toEqual(['c-1-0.conda']);
  });

  test.each(VECTORS.map((vector, index) => [index, vector] as const))(
    'is what conda-index selects, case %i',
    (_index, vector) => {
      expect(selected(vector.records)).toEqual(vector.selected);
    },
  );
});

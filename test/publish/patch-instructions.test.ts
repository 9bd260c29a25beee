import { describe, expect, test } from 'vitest';
import type { JsonObject } from '#ferry/conda/record-details.js';
import {
  applyPatches,
  parsePatchInstructions,
  patchRunExports,
  removedBy,
} from '#ferry/publish/patch-instructions.js';
import type { SubdirRecords } from '#ferry/publish/subdir-records.js';

function recordsOf(records: Readonly<Record<string, JsonObject>>): SubdirRecords {
  const entries = Object.entries(records);
  return {
    packages: new Map(entries.filter(([name]) => name.endsWith('.tar.bz2'))),
    'packages.conda': new Map(entries.filter(([name]) => name.endsWith('.conda'))),
    removed: [],
  };
}

function patched(records: Readonly<Record<string, JsonObject>>, instructions: object) {
  const {
    packages,
    'packages.conda': conda,
    removed,
  } = applyPatches(recordsOf(records), parsePatchInstructions(instructions, 'it'));
  return { records: Object.fromEntries([...packages, ...conda]), removed };
}

const A = { name: 'a', depends: ['x'], license: 'MIT' };

describe('patch instructions', () => {
  test('replace values whole, objects key by key, and take away what is null', () => {
    const record = { ...A, extra_depends: { test: ['t'], docs: ['d'] } };
    const patch = { depends: ['y', 'z'], license: null, extra_depends: { docs: ['e'] }, new: 1, gone: null };
    expect(
      patched({ 'a-1-0.conda': record }, { 'packages.conda': { 'a-1-0.conda': patch } }).records,
    ).toEqual({
      'a-1-0.conda': { name: 'a', depends: ['y', 'z'], extra_depends: { test: ['t'], docs: ['e'] }, new: 1 },
    });
  });

  test('of a .tar.bz2 hold for the .conda too, unless that has its own', () => {
    const instructions = {
      packages: { 'a-1-0.tar.bz2': { license: 'Old', depends: [] } },
      'packages.conda': { 'a-1-0.conda': { license: 'New' } },
    };
    expect(patched({ 'a-1-0.tar.bz2': A, 'a-1-0.conda': A }, instructions).records).toEqual({
      'a-1-0.tar.bz2': { name: 'a', depends: [], license: 'Old' },
      'a-1-0.conda': { name: 'a', depends: [], license: 'New' },
    });
  });

  test('of a .conda do not hold for the .tar.bz2, and of files that are not there for nothing', () => {
    const instructions = {
      'packages.conda': { 'a-1-0.conda': { license: 'New' }, 'b-1-0.conda': { license: 'New' } },
      packages: { 'c-1-0.tar.bz2': {} },
      remove: ['d-1-0.conda'],
      revoke: ['e-1-0.tar.bz2'],
    };
    expect(patched({ 'a-1-0.tar.bz2': A }, instructions)).toEqual({
      records: { 'a-1-0.tar.bz2': A },
      removed: [],
    });
  });

  test('leave what the server says, and run exports, which are no field of repodata', () => {
    const record = { ...A, indexed_timestamp: 5, attestations_sha256: 'f' };
    const patch = {
      indexed_timestamp: 6,
      attestations_sha256: null,
      run_exports: { weak: [] },
      license: 'ISC',
    };
    expect(
      patched({ 'a-1-0.conda': record }, { 'packages.conda': { 'a-1-0.conda': patch } }).records,
    ).toEqual({
      'a-1-0.conda': { ...record, license: 'ISC' },
    });
  });

  test('revoke packages for good, twins too', () => {
    const revoked = { ...A, revoked: true, depends: ['x', 'package_has_been_revoked'] };
    const bare = { name: 'b' };
    const records = { 'a-1-0.tar.bz2': A, 'a-1-0.conda': A, 'b-1-0.conda': bare };
    const instructions = { revoke: ['a-1-0.tar.bz2', 'a-1-0.tar.bz2', 'b-1-0.conda'] };
    expect(patched(records, instructions).records).toEqual({
      'a-1-0.tar.bz2': revoked,
      'a-1-0.conda': revoked,
      'b-1-0.conda': { name: 'b', revoked: true, depends: ['package_has_been_revoked'] },
    });
  });

  test('remove packages, twins too, and list what they removed', () => {
    const records = { 'b-1-0.tar.bz2': A, 'b-1-0.conda': A, 'a-1-0.conda': A, 'a-1-0.tar.bz2': A };
    const instructions = { remove: ['b-1-0.tar.bz2', 'a-1-0.conda'] };
    expect(patched(records, instructions)).toEqual({
      records: { 'a-1-0.tar.bz2': A },
      removed: ['a-1-0.conda', 'b-1-0.conda', 'b-1-0.tar.bz2'],
    });
    expect([...removedBy(instructions)]).toEqual(['b-1-0.tar.bz2', 'b-1-0.conda', 'a-1-0.conda']);
  });

  test('change no record that was given', () => {
    const records = recordsOf({ 'a-1-0.conda': A });
    applyPatches(records, { remove: ['a-1-0.conda'] });
    applyPatches(records, { revoke: ['a-1-0.conda'] });
    expect(records.packages.size + records['packages.conda'].size).toBe(1);
    expect(A).toEqual({ name: 'a', depends: ['x'], license: 'MIT' });
  });

  test('replace run exports, by the twin of a .conda where that has none of its own', () => {
    const instructions = {
      patch_instructions_version: 2,
      packages: { 'a-1-0.tar.bz2': { run_exports: { weak: ['a'] } }, 'b-1-0.tar.bz2': { run_exports: {} } },
      'packages.conda': { 'b-1-0.conda': { run_exports: { strong: ['b'] } } },
    };
    const own = { weak: ['own'] };
    expect(patchRunExports('a-1-0.conda', own, instructions)).toEqual({ weak: ['a'] });
    expect(patchRunExports('b-1-0.conda', own, instructions)).toEqual({ strong: ['b'] });
    expect(patchRunExports('b-1-0.tar.bz2', own, instructions)).toEqual({});
    expect(patchRunExports('c-1-0.conda', own, instructions)).toEqual(own);
  });

  test.each([
    ['a newer version', { patch_instructions_version: 3 }, 'UNSUPPORTED'],
    ['no object', [], 'REPODATA_INVALID'],
    ['a list of packages', { packages: [] }, 'REPODATA_INVALID'],
    ['a patch that is no object', { packages: { 'a-1-0.tar.bz2': 1 } }, 'REPODATA_INVALID'],
    ['half a character', { packages: { 'a-1-0.tar.bz2': { license: '\ud800' } } }, 'REPODATA_INVALID'],
  ])('are refused where there is %s', (_what, value, code) => {
    expect(() => parsePatchInstructions(value, 'it')).toThrow(expect.objectContaining({ code }));
  });
});

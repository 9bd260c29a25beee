import { describe, expect, test } from 'vitest';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import { isChannelLabel, isPackageName, isVersion, versionFaults } from '#ferry/conda/grammar.js';
import { isArchiveFilename } from '#ferry/conda/names.js';
import { Repodata } from '#ferry/conda/repodata/repodata.js';
import { openerOf } from '#ferry/io/bytes.js';
import { CheckLog } from '#ferry/conformance/check-log.js';
import { checkNotices } from '#ferry/conformance/rules/notices.js';
import { checkRepodata } from '#ferry/conformance/rules/repodata.js';
import { isFerryError } from '#ferry/errors.js';
import { clausesOf } from '../support/findings.js';
import { readDefects } from './spec.js';

/*
 * Where the standards contradict each other: the counter-examples that the specification gives, and what is made of them
 * here. Those of shards and attestations are beside their rules.
 */

interface Case {
  readonly input: Readonly<Record<string, unknown>>;
  readonly actual: Readonly<Record<string, unknown>>;
  readonly expected: Readonly<Record<string, unknown>>;
}

function casesOf(id: string): readonly Case[] {
  const all = readDefects().flatMap(({ defects }) => defects);
  return all.find((defect) => defect.id === id)!.counterExample!.cases as unknown as readonly Case[];
}

function bytesOf(document: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(document));
}

/** Clauses that repodata of noarch breaks, those that only inform left out. */
function breaches(document: unknown): string[] {
  const log = new CheckLog();
  checkRepodata({ bytes: bytesOf(document), subdir: 'noarch', where: 'noarch/repodata.json' }, log);
  return log.findings.filter(({ severity }) => severity !== 'info').map(({ clause }) => clause);
}

const good = {
  name: 'foo',
  version: '1.0',
  build: '0',
  build_number: 0,
  depends: [],
  md5: 'b'.repeat(32),
  sha256: 'a'.repeat(64),
  size: 1,
};

describe('contradictions among the CEPs', () => {
  test('cep/F1: `repodata_version` is taken at the top level and in `info`', async () => {
    for (const { input } of casesOf('cep/F1')) {
      const document = input['document'] as { readonly info?: object };
      const whole = { ...document, info: { ...document.info, subdir: 'noarch' } };
      expect(breaches(whole)).toEqual([]);
      const repodata = await Repodata.read(openerOf(bytesOf(whole)), 'noarch');
      expect(repodata.neededChanges()).toEqual([]);
    }
    // In either place it counts: without `base_url` it is not 2.
    expect(breaches({ info: { subdir: 'noarch' }, repodata_version: 2 })).toEqual(['cep15/repodata-version']);
    expect(breaches({ info: { subdir: 'noarch', repodata_version: 2 } })).toEqual(['cep15/repodata-version']);
  });

  test('cep/F4: labels and names are valid where prose and grammar both say so; what is there is read', () => {
    for (const { input, expected } of casesOf('cep/F4')) {
      const { label, name } = input as { readonly label?: string; readonly name?: string };
      expect(label === undefined ? isPackageName(name!) : isChannelLabel(label)).toBe(expected['valid']);
    }
    expect(isArchiveFilename('_.a-1.0-0.conda')).toBe(true);
    expect(isArchiveFilename('Foo-1.0-0.conda')).toBe(true);
  });

  test('cep/F5: upper case in a version is taken; a dash is warned about, and has no tag', () => {
    const [upper, dash] = casesOf('cep/F5').map(({ input }) => String(input['version']));
    expect(isVersion(upper!)).toBe(true);
    expect(versionFaults(upper!)).toEqual(['case']);
    expect(schemaV1.placeOf({ name: 'a', version: upper!, build: '0' }).tag).toBe(`${upper}-0`);
    expect(versionFaults(dash!)).toEqual(['dash']);
    for (const schema of [schemaV0, schemaV1]) {
      try {
        expect(schema.placeOf({ name: 'a', version: dash!, build: '0' })).toBe('refused');
      } catch (error) {
        if (!isFerryError(error, 'NAME_UNREPRESENTABLE')) throw error;
      }
    }
  });

  test('cep/F7: keys that later CEPs add to `info` and to records are known', () => {
    const [info, record] = casesOf('cep/F7').map(({ input }) => input['info'] ?? input['record']);
    expect(breaches({ info })).toEqual([]);
    const records = { 'foo-1.0-0.conda': { ...good, ...(record as object) } };
    expect(breaches({ info: { subdir: 'noarch' }, 'packages.conda': records })).toEqual([]);
  });

  test('cep/F8: `oldest` and `newest` are of `indexed_timestamp`', () => {
    for (const { input, actual, expected } of casesOf('cep/F8')) {
      const times = input['records'] as readonly object[];
      const conda = Object.fromEntries(
        times.map((time, i) => [`foo-1.0-${String(i)}`, { ...good, ...time, build: String(i) }]),
      );
      const withTimes = (said: object): unknown => ({
        info: { subdir: 'noarch', repodata_revisions: { v3: { n_packages: times.length, ...said } } },
        v3: { conda },
      });
      expect(breaches(withTimes(expected))).toEqual([]);
      expect(breaches(withTimes(actual)).sort()).toEqual(['cep48/newest', 'cep48/oldest']);
    }
  });

  test('cep/F9: a notice ends at `expires_at`; `expired_at` does not stand in, and `interval` may be there', () => {
    for (const { input } of casesOf('cep/F9')) {
      const { expired_at, ...notice } = input['notice'] as Readonly<Record<string, unknown>>;
      const check = (one: unknown): string[] =>
        clausesOf((log) => {
          checkNotices({ value: { notices: [one] }, where: 'notices.json' }, log);
        });
      expect(check({ ...notice, expired_at })).toEqual(['cep6/expired-at']);
      expect(check({ ...notice, expires_at: expired_at })).toEqual([]);
    }
  });
});

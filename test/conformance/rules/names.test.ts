import { CheckLog } from '#ferry/conformance/check-log.js';
import { checkChannelNames, checkNames, splitFilename } from '#ferry/conformance/rules/names.js';
import { describe, expect, test } from 'vitest';

const good = { name: 'ferry', version: '1.0', build: '0', where: 'here' };

function clauses(check: (log: CheckLog) => void): string[] {
  const log = new CheckLog();
  check(log);
  return log.findings.map(({ clause }) => clause).sort();
}

describe('checkNames', () => {
  test.each([
    ['cep26/name', { name: 'Ferry' }],
    ['cep26/name', { name: 'g'.repeat(65) }],
    ['cep26/version', { version: '1~0' }],
    ['cep26/version', { version: '1'.repeat(65) }],
    ['cep26/version-case', { version: '1.0RC' }],
    ['cep33/version', { version: '1!2!3' }],
    ['cep33/version-number', { version: '20231114221320' }],
    ['cep33/version-segment', { version: '1..0' }],
    ['cep33/version-dash', { version: '1-0' }],
    ['cep26/build', { build: 'a-b' }],
    ['cep26/subdir', { subdir: 'linux' }],
    ['cep26/subdir', { subdir: 'a-b-c' }],
    ['cep26/extension', { filename: 'ferry-1.0-0.zip' }],
    ['cep26/filename', { filename: 'ferry-1.0.conda' }],
    ['cep26/filename', { filename: `${'f'.repeat(210)}-1.0-0.conda` }],
  ] as const)('%s: %j', (clause, names) => {
    expect(
      clauses((log) => {
        checkNames({ ...good, ...names }, log);
      }),
    ).toEqual([clause]);
  });

  test('cep26: good names leave no finding, and every clause was looked at', () => {
    const log = new CheckLog();
    checkNames({ ...good, subdir: 'noarch', filename: 'ferry-1.0-0.conda' }, log);
    expect(log.findings).toEqual([]);
    expect(log.results.map(({ clause }) => clause.id).sort()).toEqual([
      ...['cep26/build', 'cep26/extension', 'cep26/filename', 'cep26/name', 'cep26/subdir', 'cep26/version'],
      ...['cep26/version-case', 'cep33/version', 'cep33/version-dash', 'cep33/version-number'],
      'cep33/version-segment',
    ]);
  });

  test('cep26/version: of several faults each clause is told once', () => {
    expect(
      clauses((log) => {
        checkNames({ ...good, version: '0!A..1+' }, log);
      }),
    ).toEqual(['cep26/version-case', 'cep33/version', 'cep33/version-segment']);
  });

  test('cep26/filename: is taken apart at its last two dashes', () => {
    expect(splitFilename('r-base-4.0-h1_0.tar.bz2')).toEqual({
      ...{ name: 'r-base', version: '4.0', build: 'h1_0', stem: 'r-base-4.0-h1_0' },
    });
    expect(['a-1.conda', '-1-0.conda', 'a--0.conda', 'a-1-0.zip', '.conda'].map(splitFilename)).toEqual(
      Array(5).fill(undefined),
    );
  });
});

describe('checkChannelNames', () => {
  test.each([
    ['cep26/channel', { path: 'a/.b' }],
    ['cep26/channel', { path: 'Conda' }],
    ['cep26/channel-ends', { path: 'conda_' }],
    ['cep26/channel-subdir', { path: 'conda/linux-64/' }],
    ['cep26/channel-length', { path: 'a', url: `https://x.example/${'a'.repeat(256)}` }],
    ['cep26/label', { path: 'a/label/1' }],
    ['cep26/label', { path: 'label/1' }],
    ['cep26/label-subdir', { path: 'a/label/x/noarch' }],
    ['cep26/label-nolabel', { path: 'a/label/nolabel' }],
  ])('%s: %j', (clause, names) => {
    expect(
      clauses((log) => {
        checkChannelNames({ ...names, where: 'here' }, log);
      }),
    ).toEqual([clause]);
  });

  test('cep26/channel: a good channel leaves no finding', () => {
    const channel = { path: 'org/ferry/label/dev', url: 'https://x.example/org/ferry', where: 'here' };
    expect(
      clauses((log) => {
        checkChannelNames(channel, log);
      }),
    ).toEqual([]);
  });
});

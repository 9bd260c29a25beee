import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { CheckLog } from '#ferry/conformance/check-log.js';
import { checkDocument } from '#ferry/conformance/documents.js';
import { RepodataText } from '#ferry/conformance/rules/repodata-text.js';
import { tempFolder } from '../support/temp.js';
import { checkFolder } from './checked-channel.js';

/** Bytes of a list of so many empty objects. */
function manyObjects(count: number): string {
  return `[${'{},'.repeat(count - 1)}{}]`;
}

test('cep36/repodata-object: a record with too many values is not decoded', () => {
  const text = `{"packages":{"x-1-0.conda":{"depends":${manyObjects(5_000_000)}}}}`;
  expect(() => new RepodataText(Buffer.from(text))).toThrow(/x-1-0\.conda` has more than 5000000 values/);
});

test('cep12/specs: of a list with a million breaches the first is told', () => {
  const log = new CheckLog();
  const weak = new Array<number>(1_000_000).fill(1);
  const packages = { 'a-1-0.conda': { run_exports: { weak } } };
  checkDocument('run-exports', { info: {}, 'packages.conda': packages }, 'run_exports.json', log);
  expect(log.findings.map(({ clause, where }) => [clause, where])).toEqual([
    ['cep12/specs', 'run_exports.json#/packages.conda/a-1-0.conda/run_exports/weak/0'],
  ]);
});

test('cep12/specs: a large document is validated part by part, and every breach told once', () => {
  const log = new CheckLog();
  const packages = Object.fromEntries(
    Array.from({ length: 30_000 }, (_, i) => [
      `a${String(i)}-1-0.conda`,
      { run_exports: { weak: i % 10_000 === 0 ? [1] : [] } },
    ]),
  );
  checkDocument('run-exports', { info: { subdir: 5 }, 'packages.conda': packages }, 'run_exports.json', log);
  expect(log.findings.map(({ where }) => where)).toEqual([
    'run_exports.json#/info/subdir',
    ...[0, 10_000, 20_000].map(
      (i) => `run_exports.json#/packages.conda/a${String(i)}-1-0.conda/run_exports/weak/0`,
    ),
  ]);
});

test('text of a finding is cut', () => {
  const log = new CheckLog();
  const long = 'x'.repeat(1_000_000);
  log.report('cep36/unique-keys', { where: long, found: long, expected: long, hint: long });
  const [finding] = log.findings;
  for (const text of [finding?.where, finding?.found, finding?.expected, finding?.hint])
    expect(text).toHaveLength(4_000);
});

test('a document with too many values could not be checked', async () => {
  const channel = await tempFolder();
  await mkdir(join(channel, 'noarch'));
  await writeFile(join(channel, 'noarch/repodata.json'), '{}');
  await writeFile(join(channel, 'channeldata.json'), manyObjects(11_000_000));
  const { unchecked } = await checkFolder(channel);
  expect(unchecked).toMatchObject([{ where: 'channeldata.json', code: 'SIZE_EXCEEDED' }]);
});

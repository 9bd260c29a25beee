import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readReportFolder, writeReportFolder } from '#ferry/mirror/reports/report-folder.js';
import { parseRunRecord } from '#ferry/mirror/reports/run-record.js';
import { tempFolder } from '../../support/temp.js';
import { sampleRecord } from './sample-run.js';

const read = async (folder: string, name: string) => readFile(join(folder, name), 'utf8');

describe('a folder of reports', () => {
  test('is made, and gets a record for each run, the latest one, a badge and a page', async () => {
    const folder = join(await tempFolder(), 'not', 'there');
    await writeReportFolder(folder, sampleRecord(0));
    await writeReportFolder(folder, sampleRecord(1), { toolVersion: '1.2.3' });
    expect((await readdir(folder)).sort()).toEqual([
      '20260501T020000.000Z.json',
      '20260502T020000.000Z.json',
      'badge.json',
      'index.html',
      'latest.json',
    ]);
    expect(parseRunRecord(await read(folder, 'latest.json'), 'x')).toEqual(sampleRecord(1));
    expect(await read(folder, '20260502T020000.000Z.json')).toBe(await read(folder, 'latest.json'));
    expect(JSON.parse(await read(folder, 'badge.json'))).toMatchObject({ message: '2026-05-02 02:01 UTC' });
    expect(await read(folder, 'index.html')).toContain('2 runs');
  });

  test('keeps both records of two runs of one moment', async () => {
    const folder = await tempFolder();
    const runs = [1, 2, 3].map((source) => sampleRecord(0, {}, { requests: { source, destination: 0 } }));
    for (const record of runs) await writeReportFolder(folder, record);
    const { records } = await readReportFolder(folder);
    expect(records.map(({ requests }) => requests?.source)).toEqual([3, 2, 1]);
  });

  test('shows the newest so many, and leaves the others where they are', async () => {
    const folder = await tempFolder();
    for (let day = 0; day < 5; day += 1) await writeReportFolder(folder, sampleRecord(day), { runs: 3 });
    const page = await read(folder, 'index.html');
    expect(page).toContain('2 older records in this folder are not shown.');
    expect(page).not.toContain('2026-05-02');
    expect((await readdir(folder)).filter((name) => name.startsWith('2026'))).toHaveLength(5);
  });

  test('passes over what is no record, with a warning, and takes older ones instead', async () => {
    const folder = await tempFolder();
    for (let day = 0; day < 3; day += 1) await writeReportFolder(folder, sampleRecord(day));
    await writeFile(join(folder, '20260502T020000.000Z.json'), '{"report_version": 1');
    await mkdir(join(folder, '20260504T020000.000Z.json'));
    await writeFile(join(folder, 'notes.json'), 'mine');
    const warnings: string[] = [];
    const { records, others } = await readReportFolder(folder, {
      runs: 2,
      onWarning: (text) => warnings.push(text),
    });
    expect(records.map(({ endedAt }) => endedAt.slice(0, 10))).toEqual(['2026-05-03', '2026-05-01']);
    expect(others).toBe(0);
    expect(warnings).toEqual([
      expect.stringContaining('EISDIR'),
      expect.stringMatching(/20260502T020000\.000Z\.json` is no record of a run; left out of the page$/),
    ]);
  });

  test('shows runs of one mirror, and warns of others', async () => {
    const folder = await tempFolder();
    await writeReportFolder(folder, { ...sampleRecord(0), destination: 'other.example/ch' });
    const warnings: string[] = [];
    await writeReportFolder(folder, sampleRecord(1), { onWarning: (text) => warnings.push(text) });
    expect(await read(folder, 'index.html')).toContain('1 run<');
    expect(warnings).toEqual([expect.stringContaining('give each a folder of its own')]);
  });

  test('that is none is an error', async () => {
    const file = join(await tempFolder(), 'file');
    await writeFile(file, '');
    await expect(writeReportFolder(file, sampleRecord())).rejects.toMatchObject({
      code: 'REPORT_UNWRITABLE',
    });
  });
});

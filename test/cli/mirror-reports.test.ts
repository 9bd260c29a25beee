import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { beforeEach, describe, expect, test } from 'vitest';
import type { CommandContext } from '#ferry/cli/context.js';
import { withReports, type ReportedRun, type RunNotes } from '#ferry/cli/mirror-reports.js';
import { FerryError } from '#ferry/errors.js';
import { parseRunRecord, type RunRecord } from '#ferry/mirror/reports/run-record.js';
import { condaPackage } from '../../fixtures/build/archive.mjs';
import { writeChannel } from '../../fixtures/build/channel.mjs';
import { sampleReport, sampleSubdir } from '../mirror/reports/sample-run.js';
import { readMetrics } from '../mirror/reports/exposition-format.js';
import { runFerry } from '../support/ferry.js';
import { tempFolder } from '../support/temp.js';

let folder: string;
beforeEach(async () => {
  folder = await tempFolder();
});

const at = (...names: string[]) => join(folder, ...names);
const record = async (...names: string[]): Promise<RunRecord> =>
  parseRunRecord(await readFile(at(...names), 'utf8'), 'x');

interface Outcome {
  readonly code: number;
  readonly thrown: unknown;
  readonly stderr: string;
}

/** Runs something in place of a mirror, and says how the process would end. */
async function run(
  flags: ReportedRun['flags'],
  mirror: (notes: RunNotes) => Promise<void>,
  more: {
    readonly environment?: NodeJS.ProcessEnv;
    readonly signal?: AbortSignal;
    readonly to?: string;
  } = {},
): Promise<Outcome> {
  let code = 0;
  let stderr = '';
  const sink = new Writable({
    write: (chunk: Buffer, _, done) => {
      stderr += chunk.toString();
      done();
    },
  });
  const context: CommandContext = {
    output: { stdout: sink, stderr: sink },
    environment: more.environment ?? {},
    stdin: process.stdin,
    signal: more.signal ?? new AbortController().signal,
    hints: new Map([['DENIED', 'log in']]),
    setExitCode: (value) => (code = value),
  };
  const { to = 'oci://registry.example.org/ch' } = more;
  const ends = { source: 'https://user:secret@conda.example.org/t/secret/ch/', destination: to };
  const thrown = await withReports({ ...ends, flags, context }, mirror).then(
    () => undefined,
    (error: unknown) => error,
  );
  return { code, thrown, stderr };
}

const succeed = async (notes: RunNotes): Promise<void> => {
  notes.report = sampleReport();
};
const fail = (error: unknown) => async (): Promise<void> => {
  throw error;
};

describe('a run that breaks off', () => {
  test('is recorded with its error, and ends as it would have', async () => {
    const error = new FerryError('DENIED', 'no uploads');
    const ended = await run({ report: at('run.json'), reportDir: at('runs') }, fail(error));
    expect(ended).toEqual({ code: 0, thrown: error, stderr: '' });
    const written = await record('run.json');
    expect(written).toMatchObject({
      outcome: 'failed',
      source: 'https://***:***@conda.example.org/t/***/ch',
      destination: 'registry.example.org/ch',
      error: { code: 'DENIED', message: 'no uploads', hint: 'log in' },
    });
    expect(await record('runs', 'latest.json')).toEqual(written);
    expect(await readFile(at('runs', 'index.html'), 'utf8')).toContain('failed');
  });

  test('also before its locations were read, and what they are called does not change by that', async () => {
    const names = async (destination: string, flags: Partial<ReportedRun['flags']> = {}) => {
      await run({ report: at('run.json'), ...flags }, fail(new Error('x')), { to: destination });
      return (await record('run.json')).destination;
    };
    expect(await names('ghcr.io/me/ch', { label: 'dev' })).toBe('ghcr.io/me/ch/label/dev');
    expect(await names(`oci-layout:${folder}`)).toBe(folder);
    expect(await names('me:secret@ghcr.io/ch')).toBe('***@ghcr.io/ch');
    expect(await names('ghcr.io/me/ch', { schema: 'v9' })).toBe('ghcr.io/me/ch');
  });

  test('keeps what it had asked and done', async () => {
    const requests = { source: 0, destination: 0 };
    await run({ report: at('run.json') }, async (notes) => {
      notes.requests = requests;
      requests.source = 7;
      throw new Error('x');
    });
    expect(await record('run.json')).toMatchObject({ requests: { source: 7, destination: 0 } });
  });

  test('by a signal is an interruption', async () => {
    const signal = AbortSignal.abort(new Error('interrupted by SIGTERM'));
    await run({ report: at('run.json') }, fail(signal.reason), { signal });
    expect(await record('run.json')).toMatchObject({ outcome: 'interrupted' });
  });

  test('keeps the last success in the metrics', async () => {
    const flags = { prometheus: at('mirror.prom') };
    await run(flags, succeed);
    await run(flags, fail(new Error('x')));
    const { series } = readMetrics(await readFile(at('mirror.prom'), 'utf8'));
    const value = (name: string) => series.find((one) => one.name === `conda_ferry_mirror_${name}`)?.value;
    expect(value('last_success_timestamp_seconds')).toBe(Date.parse('2026-05-01T02:01:00Z') / 1000);
    expect(value('last_run_timestamp_seconds')).toBeGreaterThan(value('last_success_timestamp_seconds') ?? 0);
  });
});

describe('a report that cannot be written', () => {
  const flags = () => ({ report: at('file', 'run.json'), prometheus: at('mirror.prom') });
  beforeEach(async () => {
    await writeFile(at('file'), '');
  });

  test('makes a good run end as failed, says why, and hinders no other report', async () => {
    const { code, thrown, stderr } = await run(flags(), succeed);
    expect({ code, thrown }).toEqual({ code: 3, thrown: undefined });
    expect(stderr).toMatch(
      /^error: the run is done, but not its report: .*run\.json` cannot be written \[REPORT_UNWRITABLE\]/,
    );
    expect(await readdir(folder)).toContain('mirror.prom');
  });

  test('hides no other end', async () => {
    const error = new FerryError('DENIED', 'no uploads');
    expect(await run(flags(), fail(error))).toMatchObject({ code: 0, thrown: error });
    const withFailures = async (notes: RunNotes) => {
      const failed = [{ filename: 'a-1-0.conda', code: 'ARCHIVE_ABSENT', message: 'x' } as const];
      notes.report = sampleReport({ subdirs: [sampleSubdir({ failed })] });
    };
    expect(await run(flags(), withFailures)).toMatchObject({ code: 0, thrown: undefined });
  });
});

describe("a job's summary", () => {
  test('is added to what is there', async () => {
    await writeFile(at('summary.md'), 'before\n');
    const environment = { GITHUB_STEP_SUMMARY: at('summary.md') };
    await run({}, succeed, { environment });
    await run({}, succeed, { environment });
    const text = await readFile(at('summary.md'), 'utf8');
    expect(text.startsWith('before\n### Mirrored')).toBe(true);
    expect(text.match(/^### /gm)).toHaveLength(2);
  });

  test('is left out where there is no room, or no file can be made, with a warning', async () => {
    await writeFile(at('summary.md'), 'x'.repeat(1024 * 1024 - 10));
    const full = await run({}, succeed, { environment: { GITHUB_STEP_SUMMARY: at('summary.md') } });
    expect(full).toMatchObject({ code: 0, stderr: 'warning: no summary of the job: it is full\n' });
    await mkdir(at('folder'));
    const none = await run({}, succeed, { environment: { GITHUB_STEP_SUMMARY: at('folder') } });
    expect(none).toMatchObject({ code: 0, stderr: expect.stringContaining('EISDIR') as string });
  });
});

test('a plan writes no reports', async () => {
  await run({ plan: true, report: at('run.json') }, async () => undefined, {
    environment: { GITHUB_STEP_SUMMARY: at('summary.md') },
  });
  expect(await readdir(folder)).toEqual([]);
});

test('the command writes them all, after a good night and a bad one', async () => {
  const jq = condaPackage({
    name: 'jq',
    version: '1.7',
    build: '0',
    subdir: 'noarch',
    index: { noarch: 'generic' },
    payloadFiles: { 'share/text': 'x' },
  });
  await writeChannel(at('channel'), { noarch: [jq] });
  const reports = ['--report', 'run.json', '--report-dir', 'runs', '--prometheus', 'mirror.prom'];
  const options = { cwd: folder, env: { GITHUB_STEP_SUMMARY: at('summary.md') } };
  const good = await runFerry(['mirror', './channel', 'oci-layout:./mirror', ...reports], options);
  expect(good).toMatchObject({ code: 0, stdout: expect.stringContaining('1 archive (') as string });
  expect(await record('run.json')).toMatchObject({
    outcome: 'ok',
    destination: at('mirror'),
    totals: { added: 1 },
  });
  const bad = await runFerry(
    ['mirror', './none', 'oci-layout:./mirror', '--accept', 'no', ...reports],
    options,
  );
  expect(bad).toMatchObject({ code: 2, stderr: expect.stringContaining('[USAGE]') as string });
  expect(await record('run.json')).toMatchObject({ outcome: 'failed', error: { code: 'USAGE' } });
  expect((await readdir(at('runs'))).filter((name) => name.startsWith('2'))).toHaveLength(2);
  expect(await readFile(at('runs', 'index.html'), 'utf8')).toMatch(/The run of .* failed.*Last complete/s);
  expect(readMetrics(await readFile(at('mirror.prom'), 'utf8')).series.map(({ name }) => name)).toEqual(
    expect.arrayContaining(['conda_ferry_mirror_last_success_timestamp_seconds']),
  );
  expect((await readFile(at('summary.md'), 'utf8')).match(/^### /gm)).toHaveLength(2);
});

test('a quarantine that cannot be written takes nothing away of what the run says', async () => {
  await writeChannel(at('channel'), {
    noarch: [condaPackage({ name: 'x', version: '1', build: '0', subdir: 'noarch' })],
  });
  await writeFile(at('file'), '');
  const { code, stdout, stderr } = await runFerry(
    ['mirror', './channel', 'oci-layout:./mirror', '--quarantine', 'file/q.txt', '--quiet'],
    { cwd: folder },
  );
  expect(code).toBe(3);
  expect(stdout).toContain('1 archive');
  expect(stderr).toMatch(/^error: `file\/q\.txt` cannot be written \[REPORT_UNWRITABLE\]\n/);
});

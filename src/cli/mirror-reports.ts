/** The reports of a mirror's runs, however these end: flags, files, and the summary of a job on GitHub. */
import { appendFile, readFile, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { InvalidArgumentError, type Command } from 'commander';
import { channelPath } from '../artifact/channel-path.js';
import { FerryError, isFerryError, isSystemError, type FerryErrorCode } from '../errors.js';
import { redactText } from '../io/redact.js';
import type { FailureList } from '../mirror/failure-list.js';
import type { MirrorReport } from '../mirror/report.js';
import { formatJobSummary } from '../mirror/reports/job-summary.js';
import { makeRunRecord, type RunFacts } from '../mirror/reports/make-run-record.js';
import { formatPrometheus } from '../mirror/reports/prometheus.js';
import { DEFAULT_RUNS_SHOWN, writeReport, writeReportFolder } from '../mirror/reports/report-folder.js';
import { formatRunRecord, type RunRecord } from '../mirror/reports/run-record.js';
import type { CommandContext } from './context.js';
import { parseLocation, shownLocation } from './locations.js';
import { printError, say } from './output.js';
import { schemaOf } from './session.js';
import { VERSION } from './version.js';

const EXIT_FAILED = 3;
/** What GitHub keeps of a step; more is an error of the whole job. */
const MAX_SUMMARY_BYTES = 1024 * 1024;
/** A file of metrics that is larger is not ours. */
const MAX_METRICS_BYTES = 16 * 1024 * 1024;

/** Flags on what is written of a run. */
export interface ReportFlags {
  readonly report?: string | undefined;
  readonly reportDir?: string | undefined;
  readonly reportRuns?: number | undefined;
  readonly prometheus?: string | undefined;
}

/** A run as the command line asks for it. */
export interface ReportedRun {
  readonly source: string;
  readonly destination: string;
  readonly flags: ReportFlags & {
    readonly plan?: boolean | undefined;
    readonly schema?: string | undefined;
    readonly label?: string | undefined;
  };
  readonly context: CommandContext;
}

/** What a run notes of itself while it goes on, so that it is known when it breaks off. */
export interface RunNotes {
  accepted?: FailureList;
  /** Counts on. */
  requests?: RunFacts['requests'];
  report?: MirrorReport;
}

/** Adds the flags on what is written of a run. */
export function addReportOptions(command: Command): Command {
  return command
    .optionsGroup('Reports:')
    .option('--report <file>', 'write what the run did, as JSON')
    .option('--report-dir <dir>', 'add that to a folder, with a page of the last runs')
    .option('--report-runs <n>', 'runs that the page shows', parseRuns, DEFAULT_RUNS_SHOWN)
    .option('--prometheus <file>', 'write metrics for a textfile collector');
}

/**
 * Runs a mirror and writes its reports, also where it throws: nothing is as silent as a mirror that died. Its own end stays
 * what it is; only where it is 0 does a report that cannot be written make it 3.
 * @throws whatever `mirror` throws
 */
export async function withReports(
  run: ReportedRun,
  mirror: (notes: RunNotes) => Promise<void>,
): Promise<void> {
  const notes: RunNotes = {};
  // Nothing is run, so there is nothing to report.
  if (run.flags.plan === true) return mirror(notes);
  const { flags, context } = run;
  const startedAt = new Date();
  let failure: { readonly error: unknown } | undefined;
  try {
    await mirror(notes);
  } catch (error) {
    failure = { error };
  }
  const record = makeRunRecord({
    ...namesOf(run),
    ...notes,
    startedAt,
    endedAt: new Date(),
    isStopped: context.signal.aborted,
    toolVersion: VERSION,
    hintOf: (code) => context.hints.get(code as FerryErrorCode),
    ...(failure === undefined ? {} : { error: failure.error }),
  });
  const isWritten = await writeReports(flags, record, context);
  if (failure !== undefined) throw failure.error;
  if (!isWritten && record.outcome === 'ok') context.setExitCode(EXIT_FAILED);
}

/** Writes all reports that are asked for. @returns whether that went well; if not, it was said */
async function writeReports(
  flags: ReportFlags,
  record: RunRecord,
  { output, environment }: Pick<CommandContext, 'output' | 'environment'>,
): Promise<boolean> {
  let isWritten = true;
  const write = async (path: string | undefined, to: (path: string) => Promise<void>): Promise<void> => {
    if (path === undefined) return;
    try {
      await to(resolve(path));
    } catch (error) {
      isWritten = false;
      printError(output, error, { about: 'the run is done, but not its report' });
    }
  };
  const warn = (message: string): void => {
    say(output, `warning: ${message}`);
  };
  await write(flags.report, (path) => writeReport(path, formatRunRecord(record)));
  await write(flags.prometheus, async (path) => {
    await writeReport(path, formatPrometheus(record, await readMetrics(path)));
  });
  await write(flags.reportDir, (path) =>
    writeReportFolder(path, record, { runs: flags.reportRuns, toolVersion: VERSION, onWarning: warn }),
  );
  const summary = environment['GITHUB_STEP_SUMMARY'];
  // Nobody asked for it, so it does not decide how the run ends.
  if (summary !== undefined && summary !== '')
    await addJobSummary(summary, record).catch((error: unknown) => {
      warn(`no summary of the job: ${error instanceof Error ? error.message : String(error)}`);
    });
  return isWritten;
}

/** Adds to what other commands of the same step wrote, as far as there is room. */
async function addJobSummary(file: string, record: RunRecord): Promise<void> {
  const size = await stat(file).then(
    (found) => found.size,
    () => 0,
  );
  const text = formatJobSummary(record);
  if (size + Buffer.byteLength(text) >= MAX_SUMMARY_BYTES)
    throw new FerryError('REPORT_UNWRITABLE', 'it is full');
  await appendFile(file, text);
}

/** The file of metrics as the run before left it. */
async function readMetrics(path: string): Promise<string> {
  try {
    const { size } = await stat(path);
    return size > MAX_METRICS_BYTES ? '' : await readFile(path, 'utf8');
  } catch (cause) {
    if (isSystemError(cause, 'ENOENT')) return '';
    throw new FerryError('REPORT_UNWRITABLE', `\`${path}\` cannot be read`, { cause });
  }
}

/** What source and destination are called in reports, also where they were never opened. */
function namesOf({
  source,
  destination,
  flags,
}: ReportedRun): Pick<RunFacts, 'source' | 'destination' | 'schema'> {
  const schema = flags.schema ?? 'v0';
  return {
    source: nameOf(source, () => {
      const location = parseLocation(source);
      if (location.kind === 'web') return location.url.href.replace(/\/+$/, '');
      if (location.kind === 'folder') return pathToFileURL(location.path).href;
      return location.kind === 'registry'
        ? `oci://${location.host}/${location.path}`
        : `oci-layout:${location.path}`;
    }),
    destination: nameOf(destination, () => {
      const location = parseLocation(destination);
      const { id } = schemaOf(schema);
      if (location.kind === 'layout') {
        const path = channelPath('', flags.label, id);
        return path === '' ? location.path : join(location.path, path);
      }
      if (location.kind !== 'registry') return destination;
      return `${location.host}/${channelPath(location.path, flags.label, id)}`;
    }),
    schema,
  };
}

function nameOf(text: string, name: () => string): string {
  try {
    return redactText(name());
  } catch (error) {
    if (!isFerryError(error)) throw error;
    return shownLocation(text);
  }
}

function parseRuns(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 1000)
    throw new InvalidArgumentError('a number from 1 to 1000 is wanted.');
  return value;
}

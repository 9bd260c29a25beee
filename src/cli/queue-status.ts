import { parsePace } from '../http/shared-pace.js';
import { formatMoment, formatNumber, formatSeconds } from '../io/figures.js';
import type { Budget } from '../queue/budgets.js';
import type { QueueStatus } from '../queue/control.js';
import { isOver, type RunRecord } from '../queue/run-record.js';
import { count, formatBytes, formatTable, printLine, type Output } from './output.js';
import { runWords } from './queue-words.js';

/** A registry's patience with one user, as far as it is known. */
interface ShownBudget {
  readonly origin: string;
  readonly user: string | undefined;
  readonly requestsPerMinute: number | undefined;
  /** ISO 8601, in UTC; `undefined` where requests may go. */
  readonly pausedUntil: string | undefined;
}

/** The document of `queue status --json`. */
export interface StatusDocument extends Omit<QueueStatus, 'budgets'> {
  readonly budgets: readonly ShownBudget[];
  /** On average since the run began; absent where nothing can be told. */
  readonly archivesPerMinute?: number;
  /** At that pace. */
  readonly secondsLeft?: number;
}

/** Makes the document of a queue's state. */
export function makeStatusDocument({ budgets, ...status }: QueueStatus, now: Date): StatusDocument {
  return { ...status, budgets: budgets.map(showBudget), ...paceOf(status.run, now) };
}

/** Prints how a queue is, for people. */
export function printStatus(output: Output, status: StatusDocument, now: Date): void {
  const { name, url, isPaused, run, jobs } = status;
  const pause = isPaused ? '; PAUSED: conda-ferry queue resume lets it go on' : '';
  printLine(output, `queue ${name} at ${url}${pause}`);
  if (run !== undefined) printRun(output, status, run, now);
  printLine(output);
  const counts = [jobs.waiting, jobs.active, jobs.delayed, jobs.failed].map(formatNumber);
  printTable(output, ['jobs', 'waiting', 'active', 'delayed', 'failed'], [['', ...counts]], [1, 2, 3, 4]);
  printWorkers(output, status, now);
  printBudgets(output, status, now);
  printRedis(output, status);
  printFailures(output, status);
}

function printRun(output: Output, status: StatusDocument, run: RunRecord, now: Date): void {
  const { id, ends, startedAt } = run.run;
  const { progress, state, error, request } = run;
  const asked = request === 'cancel' && !isOver(state) ? ', asked to end' : '';
  const rows: string[][] = [
    ['run', `${id}, begun ${formatMoment(startedAt)} (${agoOf(startedAt, now)} ago)`],
    ['mirrors', runWords(ends)],
    ['state', `${state}${stepOf(run)}${asked}`],
  ];
  if (error !== undefined) rows.push(['error', error]);
  if (!isOver(state)) rows.push(['coordinator', describeCoordinator(status, now)]);
  else if (state === 'interrupted') rows.push(['', 'run the same mirror command anywhere to go on']);
  if (progress !== undefined) {
    const { archives, archivesDone, archivesFailed, bytesDone, requests } = progress;
    const failed = archivesFailed === 0 ? '' : `, ${formatNumber(archivesFailed)} failed`;
    const done = `${formatNumber(archivesDone)} of ${formatNumber(archives)} archives, ${formatBytes(bytesDone)}`;
    rows.push(['done', `${done}${failed}`]);
    const { source, destination } = requests;
    rows.push([
      'requests',
      `${formatNumber(source)} to the source, ${formatNumber(destination)} to the destination`,
    ]);
  }
  const { archivesPerMinute, secondsLeft } = status;
  if (archivesPerMinute !== undefined) {
    const left = secondsLeft === undefined ? '' : `; ${formatSeconds(secondsLeft)} left at that`;
    rows.push(['pace', `${formatNumber(Math.round(archivesPerMinute))} archives a minute so far${left}`]);
  }
  for (const line of formatTable(rows)) printLine(output, line);
}

function stepOf({ progress, state }: RunRecord): string {
  if (progress === undefined || isOver(state)) return '';
  const { pass, subdir } = progress;
  return `${subdir === undefined ? '' : ` ${subdir}`}${pass > 1 ? `, pass ${String(pass)}` : ''}`;
}

function describeCoordinator({ coordinator }: StatusDocument, now: Date): string {
  if (coordinator === undefined) return 'none: run the same mirror command anywhere to go on';
  const { host, pid, startedAt } = coordinator;
  return `${host}, process ${String(pid)}, for ${agoOf(startedAt, now)}`;
}

function printWorkers(output: Output, { workers, run }: StatusDocument, now: Date): void {
  printLine(output);
  if (workers.length === 0) {
    const isNeeded = run !== undefined && !isOver(run.state);
    printLine(output, isNeeded ? 'no workers: start conda-ferry worker on any machine' : 'no workers');
    return;
  }
  const rows = workers.map((worker) => [
    `${worker.host}:${String(worker.pid)}`,
    worker.version,
    agoOf(worker.startedAt, now),
    `${String(worker.busy)}/${String(worker.concurrency)}`,
    formatNumber(worker.archives),
    formatNumber(worker.failed),
    formatBytes(worker.bytes),
    formatNumber(worker.requests.source + worker.requests.destination),
  ]);
  const header = ['worker', 'version', 'since', 'busy', 'archives', 'failed', 'bytes', 'requests'];
  printTable(output, header, rows, [2, 3, 4, 5, 6, 7]);
}

function printBudgets(output: Output, { budgets }: StatusDocument, now: Date): void {
  if (budgets.length === 0) return;
  printLine(output);
  const rows = budgets.map(({ origin, user, requestsPerMinute, pausedUntil }) => [
    origin,
    user ?? 'anonymous',
    requestsPerMinute === undefined ? 'no limit met' : formatNumber(Math.round(requestsPerMinute)),
    pausedUntil === undefined
      ? ''
      : `paused for ${formatSeconds((Date.parse(pausedUntil) - now.getTime()) / 1000)}`,
  ]);
  printTable(output, ['registry', 'user', 'requests a minute', ''], rows, [2]);
}

function printRedis(output: Output, { redis }: StatusDocument): void {
  const { version, usedBytes, maxBytes, policy, appendOnly } = redis;
  const limit = maxBytes === undefined ? 'no limit' : `at most ${formatBytes(maxBytes)}`;
  const file = appendOnly ? 'append-only file on' : 'append-only file OFF: a restart loses the jobs';
  printLine(output);
  printLine(output, `redis ${version}: ${formatBytes(usedBytes)} used, ${limit}, ${policy}, ${file}`);
}

function printFailures(output: Output, { failures, jobs }: StatusDocument): void {
  if (failures.length === 0) return;
  printLine(output);
  const first = jobs.failed > failures.length ? `, the first ${String(failures.length)}` : '';
  printLine(output, `${count(jobs.failed, 'failed job')}${first}:`);
  for (const { subdir, filename, code, message } of failures) {
    printLine(output, `  ${subdir}/${filename}`);
    printLine(output, `    ${message}${code === undefined ? '' : ` [${code}]`}`);
  }
}

function printTable(
  output: Output,
  header: readonly string[],
  rows: readonly (readonly string[])[],
  right: readonly number[],
): void {
  for (const line of formatTable([header, ...rows], right)) printLine(output, line);
}

/** Nothing is told of a run that is over, or has not moved anything yet. */
function paceOf(
  record: RunRecord | undefined,
  now: Date,
): Pick<StatusDocument, 'archivesPerMinute' | 'secondsLeft'> {
  if (record?.progress === undefined || isOver(record.state)) return {};
  const { archives, archivesDone, archivesFailed } = record.progress;
  const minutes = (now.getTime() - Date.parse(record.run.startedAt)) / 60_000;
  if (archivesDone === 0 || !(minutes > 0)) return {};
  const archivesPerMinute = archivesDone / minutes;
  const left = Math.max(0, archives - archivesDone - archivesFailed);
  return { archivesPerMinute, secondsLeft: (left / archivesPerMinute) * 60 };
}

function showBudget({ origin, identity, text, nowMs }: Budget): ShownBudget {
  const { requestsPerMinute, pausedUntil } = parsePace(text, nowMs);
  return {
    origin,
    user: identity,
    requestsPerMinute,
    pausedUntil: pausedUntil > nowMs ? new Date(pausedUntil).toISOString() : undefined,
  };
}

function agoOf(iso: string, now: Date): string {
  const seconds = (now.getTime() - Date.parse(iso)) / 1000;
  return Number.isNaN(seconds) ? 'unknown' : formatSeconds(Math.max(0, seconds));
}

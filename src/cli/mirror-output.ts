import { formatSeconds } from '../io/figures.js';
import type { FailureList } from '../mirror/failure-list.js';
import type { PlanDocument } from '../mirror/plan-document.js';
import type { MirrorPlan, MirrorReport, PlannedSubdir, SubdirReport } from '../mirror/report.js';
import { describeLeftOut, PUBLISHED_WORDS } from '../mirror/reports/words.js';
import { count, formatBytes, formatTable, printLine, type Output, type OutputFlags } from './output.js';
import { countFailed, printFailed, printRefused, printWithheld } from './refused.js';

/** Packages named for their size, where nobody asked for more. */
const LARGEST_SHOWN = 20;
/** Records that are gone or changed at the source, named one by one. */
const NAMES_SHOWN = 5;

/** Prints what a run would do. */
export function printPlan(
  output: Output,
  plan: MirrorPlan,
  document: PlanDocument,
  flags: OutputFlags & { readonly rate?: number | undefined },
): void {
  const header = ['subdir', 'listed', 'there', 'to add', 'size', 'requests', 'withheld', ''];
  const rows = plan.subdirs.map((planned) => [planned.subdir, ...planCells(planned)]);
  for (const line of formatTable([header, ...rows], [1, 2, 3, 4, 5, 6])) printLine(output, line);
  for (const planned of plan.subdirs) {
    if (planned.status !== 'planned') continue;
    printRefused(output, 'unusable', planned.subdir, planned.plan.invalid);
    printWithheld(output, planned.subdir, planned.plan.withheld, flags);
    printLeftOut(output, planned.subdir, planned.leftOut);
    printNames(output, 'gone at the source', planned.subdir, planned.gone);
  }
  printLargest(output, document);
  const { archives, bytes, requests, seconds } = document.totals;
  printLine(output);
  printNothingTaken(
    output,
    plan.subdirs.flatMap((planned) =>
      planned.status === 'planned' ? [{ listed: planned.plan.listed, leftOut: planned.leftOut }] : [],
    ),
  );
  const { archives: shared, metadata } = plan.requests;
  // They are of no subdir, so the column above does not come to the sum.
  const ofChannel =
    shared + metadata === 0 ? '' : ` (${String(shared + metadata)} of them for the whole channel)`;
  printLine(
    output,
    `${count(archives, 'archive')}, ${formatBytes(bytes)}, ${count(requests, 'request')}${ofChannel}`,
  );
  if (seconds !== undefined)
    printLine(output, `at ${String(flags.rate)} requests a minute: ${formatSeconds(seconds)}`);
  if (plan.mounts === true)
    printLine(output, 'one registry: blobs are mounted, or sent where the registry does not do that');
  printLine(output, `from ${plan.source}`);
  printLine(output, `to ${plan.destination}, schema ${plan.schema}; nothing was moved`);
}

/** Prints what a run did; `known` are the archives that are known to fail. */
export function printReport(
  output: Output,
  report: MirrorReport,
  known: FailureList,
  flags: OutputFlags,
): void {
  const { subdirs } = report;
  const header = ['subdir', 'listed', 'there', 'added', 'failed', 'withheld', 'repodata'];
  const rows = subdirs.map((subdir) => [subdir.subdir, ...reportCells(subdir)]);
  for (const line of formatTable([header, ...rows], [1, 2, 3, 4, 5])) printLine(output, line);

  for (const { subdir, failed, withheld, leftOut, replaced, displaced } of subdirs) {
    printFailed(output, { subdir, failed }, known, flags);
    printNames(output, 'replaced by the source', subdir, replaced);
    printNames(output, 'made room for its twin', subdir, displaced);
    printWithheld(output, subdir, withheld, flags);
    printLeftOut(output, subdir, leftOut);
  }
  const total = (field: 'added' | 'addedBytes' | 'artifacts' | 'untried'): number =>
    subdirs.reduce((sum, subdir) => sum + subdir[field], 0);
  const moved =
    total('added') === 0
      ? 'nothing new'
      : `${count(total('added'), 'archive')} (${formatBytes(total('addedBytes'))}) in ${count(total('artifacts'), 'artifact')}`;
  printLine(output);
  printNothingTaken(output, subdirs);
  printLine(output, `mirrored to ${report.destination}: ${moved}${countFailed(subdirs, known)}`);
  if (!report.isInterrupted) return;
  const untried = total('untried');
  // Subdirs that it did not come to are not counted.
  const left = untried === 0 ? '' : `; at least ${count(untried, 'artifact')} left`;
  printLine(output, `interrupted${left}; the next run goes on from here`);
}

function planCells(planned: PlannedSubdir): string[] {
  if (planned.status === 'planned') {
    const { plan, requests } = planned;
    return [
      String(plan.listed),
      String(plan.there),
      String(plan.toAdd),
      formatBytes(plan.bytes),
      String(requests.archives + requests.metadata),
      String(plan.withheld.length),
      plan.replaced === 0 ? '' : `${String(plan.replaced)} replaced`,
    ];
  }
  const note = {
    current: 'nothing to do',
    absent: 'not at the source',
    retry:
      planned.status === 'retry' ? `${String(planned.quarantined.length)} failed before, tried again` : '',
  };
  const { archives, metadata } = planned.requests;
  return ['', '', '0', '', String(archives + metadata), '', note[planned.status]];
}

function reportCells(subdir: SubdirReport): string[] {
  const isKnown = subdir.listed !== undefined;
  return [
    isKnown ? String(subdir.listed) : '',
    isKnown ? String(subdir.there) : '',
    String(subdir.added),
    String(subdir.failed.length),
    isKnown ? String(subdir.withheld.length) : '',
    PUBLISHED_WORDS[subdir.publishedAs],
  ];
}

/** Prints how many records filters left out, and why. */
export function printLeftOut(
  output: Output,
  subdir: string,
  leftOut: Readonly<Record<string, number>>,
): void {
  const parts = Object.entries(leftOut)
    .filter(([, number]) => number > 0)
    .map(([reason, number]) => `${String(number)} ${describeLeftOut(reason)}`);
  if (parts.length === 0) return;
  printLine(output);
  printLine(output, `left out of ${subdir}: ${parts.join(', ')}`);
}

/** Says that filters took nothing at all: a misspelt name looks no other way, and empties the channel. */
export function printNothingTaken(
  output: Output,
  subdirs: readonly Pick<SubdirReport, 'listed' | 'leftOut'>[],
): void {
  const listed = subdirs.reduce((sum, subdir) => sum + (subdir.listed ?? 0), 0);
  const leftOut = subdirs.flatMap((subdir) => Object.values(subdir.leftOut)).reduce((sum, n) => sum + n, 0);
  if (listed > 0 && leftOut === listed)
    printLine(output, `filters leave out all of ${count(listed, 'record')}`);
}

/** The first of what changed at the source, by name. */
function printNames(output: Output, what: string, subdir: string, names: readonly string[]): void {
  if (names.length === 0) return;
  printLine(output);
  printLine(output, `${what}: ${count(names.length, 'record')} of ${subdir}`);
  for (const filename of names.slice(0, NAMES_SHOWN)) printLine(output, `  ${filename}`);
  if (names.length > NAMES_SHOWN) printLine(output, `  and ${String(names.length - NAMES_SHOWN)} more`);
}

function printLargest(output: Output, { largest_packages: largest }: PlanDocument): void {
  if (largest.length < 2) return;
  printLine(output);
  printLine(output, 'largest packages:');
  const rows = largest
    .slice(0, LARGEST_SHOWN)
    .map(({ name, archives, bytes }) => [`  ${name}`, formatBytes(bytes), count(archives, 'archive')]);
  for (const line of formatTable(rows, [1])) printLine(output, line);
}

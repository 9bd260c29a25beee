/** `mirror SOURCE ./folder`: any channel to an ordinary one in a folder. */
import type { ChannelSource } from '../conda/channel-source.js';
import { FerryError } from '../errors.js';
import { exportChannel, planExport, type ExportOptions, type ExportPlan } from '../mirror/export/export.js';
import type { FailureList } from '../mirror/failure-list.js';
import type { Filters } from '../mirror/filters/filters.js';
import type { MirrorReport } from '../mirror/report.js';
import { PUBLISHED_WORDS } from '../mirror/reports/words.js';
import type { CommandContext } from './context.js';
import { printLeftOut, printNothingTaken } from './mirror-output.js';
import {
  count,
  formatBytes,
  formatTable,
  printJson,
  printLine,
  type Output,
  type OutputFlags,
} from './output.js';
import { createProgress } from './progress.js';
import { countFailed, printFailed, printRefused } from './refused.js';
import type { Session } from './session.js';

/** The flags of `mirror` that concern a folder. */
export interface ExportFlags extends OutputFlags {
  readonly subdir?: readonly string[];
  readonly plan?: boolean;
  readonly deep?: boolean;
  readonly concurrency: number;
  readonly allowOlder?: boolean;
  readonly merge?: boolean;
  readonly tempDir?: string;
}

/** Flags of `mirror` that mean nothing in a folder, with what they are when they are not given. */
const STORE_FLAGS: Readonly<Record<string, { readonly name: string; readonly unset: unknown }>> = {
  apply: { name: '--apply', unset: undefined },
  planOut: { name: '--plan-out', unset: undefined },
  rate: { name: '--rate', unset: undefined },
  includeRemoved: { name: '--include-removed', unset: undefined },
  resume: { name: '--resume', unset: undefined },
  keepGenerations: { name: '--keep-generations', unset: undefined },
  githubApi: { name: '--github-api', unset: undefined },
  stopGrace: { name: '--stop-grace', unset: undefined },
  plainJson: { name: '--no-plain-json', unset: true },
  clientShims: { name: '--no-client-shims', unset: true },
};

/** Refuses what an export would pass over in silence. @throws FerryError `USAGE` */
export function checkExportFlags(flags: object): void {
  const values = new Map(Object.entries(flags));
  for (const [key, { name, unset }] of Object.entries(STORE_FLAGS)) {
    if ((values.get(key) ?? unset) === unset) continue;
    throw new FerryError('USAGE', `\`${name}\` means nothing where the destination is a plain folder`, {
      hint: 'leave it out, or write oci-layout:./dir for a folder of image layouts',
    });
  }
}

/** What an export takes, and where it goes. */
export interface ExportEnds {
  readonly source: ChannelSource;
  readonly folder: string;
  readonly filters: Filters;
}

/**
 * Exports a channel, or says what that would do, and prints the report.
 * @returns the report; `undefined` for a plan
 */
export async function exportToFolder(
  ends: ExportEnds,
  flags: ExportFlags,
  {
    session,
    context,
    known,
  }: { readonly session: Session; readonly context: CommandContext; readonly known: FailureList },
): Promise<MirrorReport | undefined> {
  const { output } = context;
  const options: ExportOptions = {
    ...ends,
    subdirs: flags.subdir,
    concurrency: flags.concurrency,
    deep: flags.deep,
    allowOlder: flags.allowOlder,
    merge: flags.merge,
    tempDir: flags.tempDir,
    signal: context.signal,
  };
  if (flags.plan === true) {
    const plan = await planExport(options);
    if (flags.json === true) printJson(output, plan);
    else printPlan(output, plan);
    return undefined;
  }
  const progress = createProgress(output, flags);
  let report: MirrorReport;
  try {
    report = await exportChannel({ ...options, reporter: progress });
  } finally {
    progress.finish();
  }
  if (flags.json === true) printJson(output, { ...report, requests: session.requests });
  else printReport(output, report, known, flags);
  return report;
}

function printPlan(output: Output, plan: ExportPlan): void {
  const header = ['subdir', 'listed', 'there', 'to check', 'to add', 'size'];
  const rows = plan.subdirs.map(({ subdir, listed, there, toCheck, toAdd, bytes }) => [
    subdir,
    ...[listed, there, toCheck, toAdd].map(String),
    formatBytes(bytes),
  ]);
  for (const line of formatTable([header, ...rows], [1, 2, 3, 4, 5])) printLine(output, line);
  for (const { subdir, invalid, leftOut } of plan.subdirs) {
    printRefused(output, 'unusable', subdir, invalid);
    printLeftOut(output, subdir, leftOut);
  }
  const total = (field: 'toAdd' | 'bytes'): number =>
    plan.subdirs.reduce((sum, subdir) => sum + subdir[field], 0);
  printLine(output);
  printNothingTaken(output, plan.subdirs);
  printLine(output, `${count(total('toAdd'), 'archive')}, ${formatBytes(total('bytes'))}`);
  printLine(output, `from ${plan.source}`);
  printLine(output, `to the folder ${plan.destination}; nothing was moved`);
}

function printReport(
  output: Output,
  { subdirs, destination }: MirrorReport,
  known: FailureList,
  flags: OutputFlags,
): void {
  const header = ['subdir', 'listed', 'there', 'added', 'failed', 'repodata'];
  const rows = subdirs.map(({ subdir, listed, there, added, failed, publishedAs }) => [
    subdir,
    ...[listed ?? 0, there, added, failed.length].map(String),
    PUBLISHED_WORDS[publishedAs],
  ]);
  for (const line of formatTable([header, ...rows], [1, 2, 3, 4])) printLine(output, line);
  for (const { subdir, failed, leftOut } of subdirs) {
    printFailed(output, { subdir, failed }, known, flags);
    printLeftOut(output, subdir, leftOut);
  }
  const total = (pick: (subdir: MirrorReport['subdirs'][number]) => number): number =>
    subdirs.reduce((sum, subdir) => sum + pick(subdir), 0);
  const added = total((subdir) => subdir.added);
  const moved =
    added === 0 ? 'nothing new' : `${count(added, 'archive')} (${formatBytes(total((s) => s.addedBytes))})`;
  printLine(output);
  printNothingTaken(output, subdirs);
  printLine(output, `exported to ${destination}: ${moved}${countFailed(subdirs, known)}`);
}

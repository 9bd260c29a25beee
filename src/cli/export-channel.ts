/** `mirror SOURCE ./folder`: any channel to an ordinary one in a folder. */
import { exportChannel, planExport, type ExportOptions, type ExportPlan } from '../mirror/export/export.js';
import type { MirrorReport } from '../mirror/report.js';
import type { CommandContext } from './context.js';
import type { Location } from './locations.js';
import {
  count,
  formatBytes,
  formatTable,
  printJson,
  printLine,
  type Output,
  type OutputFlags,
} from './output.js';
import { createProgress, PUBLISHED_WORDS } from './progress.js';
import { printRefused } from './refused.js';
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

/** Exports a channel, or says what that would do, and prints the report. */
export async function exportToFolder(
  source: Location,
  folder: string,
  flags: ExportFlags,
  { session, context }: { readonly session: Session; readonly context: CommandContext },
): Promise<void> {
  const { output } = context;
  const options: ExportOptions = {
    source: session.openChannel(source),
    folder,
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
    return;
  }
  const progress = createProgress(output, flags);
  let report: MirrorReport;
  try {
    report = await exportChannel({ ...options, reporter: progress });
  } finally {
    progress.finish();
  }
  if (flags.json === true) printJson(output, { ...report, requests: session.requests });
  else printReport(output, report);
  if (report.subdirs.some(({ failed }) => failed.length > 0)) context.setExitCode(1);
}

function printPlan(output: Output, plan: ExportPlan): void {
  const header = ['subdir', 'listed', 'there', 'to check', 'to add', 'size'];
  const rows = plan.subdirs.map(({ subdir, listed, there, toCheck, toAdd, bytes }) => [
    subdir,
    ...[listed, there, toCheck, toAdd].map(String),
    formatBytes(bytes),
  ]);
  for (const line of formatTable([header, ...rows], [1, 2, 3, 4, 5])) printLine(output, line);
  for (const { subdir, invalid } of plan.subdirs) printRefused(output, 'unusable', subdir, invalid);
  printLine(output);
  printLine(output, `nothing was moved; from ${plan.source} to the folder ${plan.destination}`);
}

function printReport(output: Output, { subdirs, destination }: MirrorReport): void {
  const header = ['subdir', 'listed', 'there', 'added', 'failed', 'repodata'];
  const rows = subdirs.map(({ subdir, listed, there, added, failed, publishedAs }) => [
    subdir,
    ...[listed ?? 0, there, added, failed.length].map(String),
    PUBLISHED_WORDS[publishedAs],
  ]);
  for (const line of formatTable([header, ...rows], [1, 2, 3, 4])) printLine(output, line);
  for (const { subdir, failed } of subdirs) printRefused(output, 'failed', subdir, failed);
  const total = (pick: (subdir: MirrorReport['subdirs'][number]) => number): number =>
    subdirs.reduce((sum, subdir) => sum + pick(subdir), 0);
  const added = total((subdir) => subdir.added);
  const failed = total((subdir) => subdir.failed.length);
  const moved =
    added === 0 ? 'nothing new' : `${count(added, 'archive')} (${formatBytes(total((s) => s.addedBytes))})`;
  printLine(output);
  printLine(
    output,
    `exported to ${destination}: ${moved}${failed === 0 ? '' : `; ${String(failed)} failed`}`,
  );
}

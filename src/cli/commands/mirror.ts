import type { Command } from 'commander';
import { mirrorChannel, planMirror, DEFAULT_CONCURRENCY, type MirrorOptions } from '../../mirror/mirror.js';
import type { MirrorPlan, MirrorReport, PlannedSubdir, SubdirReport } from '../../mirror/report.js';
import type { CommandContext } from '../context.js';
import { parseLocation } from '../locations.js';
import {
  count,
  formatBytes,
  formatTable,
  printJson,
  printLine,
  type Output,
  type OutputFlags,
} from '../output.js';
import { createProgress, PUBLISHED_WORDS } from '../progress.js';
import { addConnectionOptions, parseConcurrency, type LocationFlags } from '../options.js';
import { printRefused, printWithheld } from '../refused.js';
import { Session } from '../session.js';

interface MirrorFlags extends LocationFlags, OutputFlags {
  readonly subdir?: readonly string[];
  readonly plan?: boolean;
  readonly deep?: boolean;
  readonly concurrency: number;
  readonly allowOlder?: boolean;
  readonly merge?: boolean;
  readonly resume?: boolean;
  readonly tempDir?: string;
}

/** Adds `mirror`. */
export function addMirrorCommand(program: Command, context: CommandContext): void {
  const command = program
    .command('mirror')
    .summary('carry a whole channel into a registry or a folder of image layouts')
    .description(
      'Carries a channel into an OCI registry or a folder of OCI image layouts, and only what is not there yet.',
    )
    .argument(
      '<source>',
      'channel to mirror: URL, ./folder, channel name, oci://host/path or oci-layout:./dir',
    )
    .argument('<destination>', 'where it goes: oci://host[:port]/path or oci-layout:./dir')
    .option('--subdir <name...>', 'only these subdirs, such as noarch linux-64')
    .option('--plan', 'say what would be done, and move nothing')
    .option('--deep', 'ask the registry about every archive instead of trusting the ledger')
    .option('--concurrency <n>', 'archives under way at once', parseConcurrency, DEFAULT_CONCURRENCY)
    .option('--merge', 'keep records that others published in the destination')
    .option('--resume', 'go on although a rollback holds the destination')
    .option('--allow-older', 'take repodata that is older than what was mirrored last')
    .option('--schema <id>', 'layout of the channel in the registry: v0 or v1', 'v0')
    .option('--label <label>', 'label of the channel in the registry, such as dev')
    .option('--source-schema <id>', 'layout of a source in a registry, if it is another')
    .option('--source-label <label>', 'label of a source in a registry, if it is another')
    .option('--temp-dir <dir>', 'where large archives lie while they pass through')
    .option('--json', 'print the report, or the plan, as JSON')
    .option('--quiet', 'say nothing on stderr but errors')
    .option('--verbose', 'say what happens to each archive')
    .addHelpText(
      'after',
      `
Exit status: 0 all is there, 1 some archives failed, 2 usage, 3 the run failed,
130 interrupted.

Examples:
  conda-ferry mirror ./channel oci-layout:./mirror
  conda-ferry mirror https://conda.example.org/ch oci://127.0.0.1:5000/ch --plan`,
    )
    .action(async (source: string, destination: string, flags: MirrorFlags) => {
      await using session = new Session(context, flags);
      const options: MirrorOptions = {
        source: session.openChannel(parseLocation(source)),
        destination: session.openStore(parseLocation(destination)),
        subdirs: flags.subdir,
        concurrency: flags.concurrency,
        deep: flags.deep,
        allowOlder: flags.allowOlder,
        merge: flags.merge,
        resume: flags.resume,
        tempDir: flags.tempDir,
        signal: context.signal,
      };
      if (flags.plan === true) {
        const plan = await planMirror(options);
        if (flags.json === true)
          printJson(context.output, { ...plan, subdirs: plan.subdirs.map(planDocument) });
        else printPlan(context.output, plan, flags);
        return;
      }
      const progress = createProgress(context.output, flags);
      let report: MirrorReport;
      try {
        report = await mirrorChannel({ ...options, reporter: progress });
      } finally {
        progress.finish();
      }
      if (flags.json === true) printJson(context.output, { ...report, requests: session.requests });
      else printReport(context.output, report, flags);
      if (report.subdirs.some(({ failed }) => failed.length > 0)) context.setExitCode(1);
    });
  addConnectionOptions(command);
}

function printPlan(output: Output, plan: MirrorPlan, flags: OutputFlags): void {
  const rows = plan.subdirs.map((planned) => [planned.subdir, ...planCells(planned)]);
  const header = ['subdir', 'listed', 'there', 'to add', 'size', 'requests', 'withheld', ''];
  for (const line of formatTable([header, ...rows], [1, 2, 3, 4, 5, 6])) printLine(output, line);
  for (const planned of plan.subdirs) {
    if (planned.status !== 'planned') continue;
    printRefused(output, 'unusable', planned.subdir, planned.plan.invalid);
    printWithheld(output, planned.subdir, planned.plan.withheld, flags);
  }
  printLine(output);
  printLine(output, `nothing was moved; from ${plan.source} to ${plan.destination}, schema ${plan.schema}`);
}

/** A plan for machines: what is to be done in full, what is there as counts. */
function planDocument(planned: PlannedSubdir): object {
  if (planned.status !== 'planned') return planned;
  const { before: _, there, kept, ...plan } = planned.plan;
  return { ...planned, plan: { ...plan, there: there.size, kept: kept.size } };
}

function planCells(planned: PlannedSubdir): string[] {
  if (planned.status === 'planned') {
    const { plan } = planned;
    const toAdd = plan.items.reduce((total, item) => total + item.add.length, 0);
    const replaced = plan.items.filter(({ replaces }) => replaces).length;
    return [
      String(plan.listed),
      String(plan.there.size),
      String(toAdd),
      formatBytes(plan.bytes),
      String(plan.requests),
      String(plan.withheld.length),
      replaced === 0 ? '' : `${String(replaced)} replaced`,
    ];
  }
  const note = {
    current: 'nothing to do',
    absent: 'not at the source',
    retry:
      planned.status === 'retry' ? `${String(planned.quarantined.length)} failed before, tried again` : '',
  };
  return ['', '', '0', '', '0', '', note[planned.status]];
}

function printReport(output: Output, report: MirrorReport, flags: OutputFlags): void {
  const { subdirs } = report;
  const header = ['subdir', 'listed', 'there', 'added', 'failed', 'withheld', 'repodata'];
  const rows = subdirs.map((subdir) => [subdir.subdir, ...reportCells(subdir)]);
  for (const line of formatTable([header, ...rows], [1, 2, 3, 4, 5])) printLine(output, line);

  for (const { subdir, failed, withheld } of subdirs) {
    printRefused(output, 'failed', subdir, failed);
    printWithheld(output, subdir, withheld, flags);
  }
  const total = (field: 'added' | 'addedBytes' | 'artifacts'): number =>
    subdirs.reduce((sum, subdir) => sum + subdir[field], 0);
  const failed = subdirs.reduce((sum, subdir) => sum + subdir.failed.length, 0);
  const moved =
    total('added') === 0
      ? 'nothing new'
      : `${count(total('added'), 'archive')} (${formatBytes(total('addedBytes'))}) in ${count(total('artifacts'), 'artifact')}`;
  printLine(output);
  printLine(
    output,
    `mirrored to ${report.destination}: ${moved}${failed === 0 ? '' : `; ${String(failed)} failed`}`,
  );
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

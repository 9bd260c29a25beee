import type { Command } from 'commander';
import {
  failuresOf,
  formatFailures,
  parseFailures,
  type MigrationFailures,
} from '../../mirror/migrate/failures-file.js';
import { migrateChannel, planMigration, type MigrateOptions } from '../../mirror/migrate/migrate.js';
import type { MigrationPlan, MigrationReport } from '../../mirror/migrate/report.js';
import { DEFAULT_CONCURRENCY } from '../../mirror/mirror.js';
import { PUBLISHED_WORDS } from '../../mirror/reports/words.js';
import { writeReport } from '../../mirror/reports/report-folder.js';
import { lockFolder } from '../cache-folder.js';
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
import { createProgress } from '../progress.js';
import { addConnectionOptions, parseConcurrency, type LocationFlags } from '../options.js';
import { printRefused, printWithheld } from '../refused.js';
import { schemaOf, Session } from '../session.js';
import { readTextFile } from '../text-file.js';

const DEFAULT_FAILURES_FILE = 'migrate-failures.json';

interface MigrateFlags extends Omit<LocationFlags, 'schema'>, OutputFlags {
  readonly to: string;
  readonly from?: string;
  readonly subdir?: readonly string[];
  readonly plan?: boolean;
  readonly keepGoing?: boolean;
  readonly failures: string;
  readonly retryFailed?: string;
  readonly concurrency: number;
  readonly tempDir?: string;
}

/** Adds `migrate`. */
export function addMigrateCommand(program: Command, context: CommandContext): void {
  const command = program
    .command('migrate')
    .summary('lay a channel in a registry out by the other schema')
    .description(
      'Writes a channel anew by the other schema, at another path: new manifests over the same blobs, which a registry mounts instead of having them sent. The old channel stays as it is.',
    )
    .argument('<source>', 'channel to migrate: oci://host/path or oci-layout:./dir')
    .argument('<destination>', 'where it goes, best in the same registry: oci://host/other-path')
    .requiredOption('--to <id>', 'schema of the destination: v0 or v1')
    .option('--from <id>', 'schema of the source; the other one if left out')
    .option('--label <label>', 'label of the channel, at both ends')
    .option('--subdir <name...>', 'only these subdirs, such as noarch linux-64')
    .option('--plan', 'say what would be done, and write nothing')
    .option('--keep-going', 'leave out packages that fail, instead of stopping at one')
    .option('--failures <file>', 'where to list what failed', DEFAULT_FAILURES_FILE)
    .option('--retry-failed <file>', 'try only what such a file lists, and keep going')
    .option('--concurrency <n>', 'artifacts under way at once', parseConcurrency, DEFAULT_CONCURRENCY)
    .option('--temp-dir <dir>', 'where large archives lie if they have to be read')
    .option('--json', 'print the report, or the plan, as JSON')
    .option('--quiet', 'say nothing on stderr but errors')
    .option('--verbose', 'say what happens to each archive')
    .addHelpText(
      'after',
      `
Exit status: 0 all is there, 1 some packages failed, 2 usage, 3 the run failed,
130 interrupted. A run that ended early goes on the next time.

Examples:
  conda-ferry migrate oci://ghcr.io/me/ch oci://ghcr.io/me/new --to v1 --plan
  conda-ferry migrate oci-layout:./old oci-layout:./new --to v1 --keep-going
  conda-ferry migrate oci-layout:./old oci-layout:./new --to v1 \\
    --retry-failed migrate-failures.json`,
    )
    .action(async (source: string, destination: string, flags: MigrateFlags) => {
      const to = schemaOf(flags.to);
      const from = schemaOf(flags.from ?? (to.id === 'v1' ? 'v0' : 'v1'));
      const retryFailed = flags.retryFailed === undefined ? undefined : await readFailures(flags.retryFailed);
      await using session = new Session(context, flags);
      const stores = session.openStores(
        { location: parseLocation(source), schema: from },
        { location: parseLocation(destination), schema: to },
      );
      const options: MigrateOptions = {
        ...stores,
        subdirs: flags.subdir,
        concurrency: flags.concurrency,
        keepGoing: flags.keepGoing,
        retryFailed,
        tempDir: flags.tempDir,
        signal: context.signal,
      };
      if (flags.plan === true) {
        const plan = await planMigration(options);
        if (flags.json === true) printJson(context.output, plan);
        else printPlan(context.output, plan, flags);
        return;
      }
      const progress = createProgress(context.output, flags, 'migrate');
      let report: MigrationReport;
      try {
        report = await migrateChannel({
          ...options,
          lockFolder: lockFolder(context.environment),
          reporter: progress,
        });
      } finally {
        progress.finish();
      }
      const failures = failuresOf(report);
      const hasFailed = failures.failures.length > 0;
      if (flags.json === true) printJson(context.output, { ...report, requests: session.requests });
      else printReport(context.output, report, flags);
      if (hasFailed) {
        context.setExitCode(1);
        await writeReport(flags.failures, formatFailures(failures));
      }
    });
  addConnectionOptions(command);
}

async function readFailures(path: string): Promise<MigrationFailures> {
  return parseFailures(await readTextFile(path), `\`${path}\``);
}

function printPlan(output: Output, plan: MigrationPlan, flags: MigrateFlags): void {
  const header = ['subdir', 'listed', 'there', 'to write', 'to read', 'bytes', 'requests', 'withheld'];
  const rows = plan.subdirs.map((subdir) => [
    subdir.subdir,
    String(subdir.listed),
    String(subdir.artifacts.there),
    String(subdir.artifacts.toWrite),
    String(subdir.toRead.length),
    formatBytes(subdir.bytes),
    String(subdir.requests),
    String(subdir.withheld.length),
  ]);
  for (const line of formatTable([header, ...rows], [1, 2, 3, 4, 5, 6, 7])) printLine(output, line);
  for (const { subdir, toRead, withheld, failing } of plan.subdirs) {
    for (const { filename, size, lacks } of toRead) {
      const what = lacks === 'info' ? 'its artifact lacks info or index' : 'nobody tells its md5';
      printLine(output);
      printLine(output, `to read: ${subdir}/${filename}`);
      printLine(output, `  ${what} (${formatBytes(size)})`);
    }
    printRefused(output, 'will fail', subdir, failing);
    printWithheld(output, subdir, withheld, flags);
  }
  printLine(output);
  printUnlisted(output, plan.subdirs);
  printLine(
    output,
    plan.mounts
      ? 'one registry: blobs are mounted, or sent where the registry does not do that'
      : 'two registries, or two folders: blobs are read from the one and sent to the other',
  );
  const total = (pick: (subdir: MigrationPlan['subdirs'][number]) => number): number =>
    plan.subdirs.reduce((sum, subdir) => sum + pick(subdir), 0);
  const artifacts = count(
    total((subdir) => subdir.artifacts.toWrite),
    'artifact',
  );
  const requests = count(
    total((subdir) => subdir.requests),
    'request',
  );
  printLine(output, `${artifacts}, ${formatBytes(total((subdir) => subdir.bytes))}, ${requests}`);
  printLine(output, `from ${plan.source}, schema ${plan.from}`);
  printLine(output, `to ${plan.destination}, schema ${plan.to}; nothing was written`);
}

function printReport(output: Output, report: MigrationReport, flags: MigrateFlags): void {
  const { subdirs } = report;
  const header = ['subdir', 'listed', 'there', 'migrated', 'failed', 'withheld', 'verified', 'repodata'];
  const rows = subdirs.map((subdir) => [
    subdir.subdir,
    String(subdir.listed),
    String(subdir.there),
    String(subdir.migrated),
    String(subdir.failed.length),
    String(subdir.withheld.length),
    String(subdir.verified),
    PUBLISHED_WORDS[subdir.publishedAs],
  ]);
  for (const line of formatTable([header, ...rows], [1, 2, 3, 4, 5, 6])) printLine(output, line);
  for (const { subdir, failed, withheld } of subdirs) {
    printRefused(output, 'failed', subdir, failed);
    printWithheld(output, subdir, withheld, flags);
  }
  const sum = (of: (subdir: (typeof subdirs)[number]) => number): number =>
    subdirs.reduce((total, subdir) => total + of(subdir), 0);
  const archives = sum(({ migrated }) => migrated);
  const failed = sum((subdir) => subdir.failed.length);
  const movedArchives = sum(({ moved }) => moved.archives);
  printLine(output);
  printUnlisted(output, subdirs);
  printLine(output, `migrated to ${report.destination}, schema ${report.to}:`);
  printLine(
    output,
    archives === 0
      ? '  nothing new'
      : `  ${count(archives, 'archive')} in ${count(
          sum(({ artifacts }) => artifacts),
          'artifact',
        )}; ` +
          (movedArchives === 0
            ? 'no archive was moved'
            : `${count(movedArchives, 'archive')} moved (${formatBytes(sum(({ moved }) => moved.bytes))})`),
  );
  printLine(output, `${report.source} is as it was; to go back, delete the new channel`);
  if (failed > 0) {
    printLine(output, `${String(failed)} failed: try again with --retry-failed ${flags.failures}`);
  } else if (flags.retryFailed !== undefined) {
    printLine(output, `nothing failed: ${flags.retryFailed} has served its purpose`);
  }
}

function printUnlisted(output: Output, subdirs: readonly { readonly unlisted: number }[]): void {
  const unlisted = subdirs.reduce((total, subdir) => total + subdir.unlisted, 0);
  if (unlisted === 0) return;
  printLine(output, `${count(unlisted, 'archive')} that the source keeps but does not list: not migrated`);
}

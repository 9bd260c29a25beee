import { randomBytes } from 'node:crypto';
import { resolve } from 'node:path';
import { InvalidArgumentError, type Command } from 'commander';
import { check } from '../../conformance/check.js';
import type { CheckReport } from '../../conformance/report.js';
import { formatHtmlReport } from '../../conformance/reports/html-report.js';
import { reportDocument } from '../../conformance/reports/json-report.js';
import { formatJunitReport } from '../../conformance/reports/junit-report.js';
import { sarifDocument } from '../../conformance/reports/sarif-report.js';
import { formatTextReport } from '../../conformance/reports/text-report.js';
import { writeFileAtomic } from '../../io/atomic-file.js';
import { createCheckProgress } from '../check-progress.js';
import { parseCheckTarget } from '../check-target.js';
import type { CommandContext } from '../context.js';
import { addConnectionOptions, parseConcurrency, type LocationFlags } from '../options.js';
import { printJson, printLine, say, type OutputFlags } from '../output.js';
import { Session } from '../session.js';
import { VERSION } from '../version.js';

const EXIT_FINDINGS = 1;
const EXIT_UNCHECKED = 3;

interface CheckFlags extends LocationFlags, OutputFlags {
  readonly subdir?: readonly string[];
  readonly index?: boolean;
  readonly deep?: boolean;
  readonly sample?: number;
  readonly seed?: string;
  readonly strict?: boolean;
  readonly concurrency?: number;
  readonly tempDir?: string;
  readonly junit?: string;
  readonly sarif?: string;
  readonly html?: string;
}

/** Adds `check`. */
export function addCheckCommand(program: Command, context: CommandContext): void {
  const command = program
    .command('check')
    .summary('tell whether something conforms to the specification')
    .description(
      'Checks an archive, an artifact, a subdir, a channel in a registry or an image\n' +
        'layout, or an ordinary channel against every clause that applies, and reports\n' +
        'every breach with the id of the clause.',
    )
    .argument('<target>', 'archive, reference, subdir or channel; see the examples')
    .option('--schema <id>', 'layout of the channel in the registry: v0 or v1', 'v0')
    .option('--label <label>', 'label of the channel in the registry, such as dev')
    .option('--subdir <name...>', 'only these subdirs')
    .option('--index', "read each package's index layer too, at twice the cost")
    .option('--deep', 'read archives, all layers and shards too (always in folders)')
    .option('--sample <n>', 'look at so many artifacts only, chosen at random', parseCount)
    .option('--seed <text>', 'choose the same sample again')
    .option('--strict', 'let warnings break conformance too')
    .option('--concurrency <n>', 'artifacts under way at once (default: 16)', parseConcurrency)
    .option('--temp-dir <dir>', 'where large archives lie while they are read')
    .option('--json', 'print the report as JSON')
    .option('--junit <file>', 'write the report as JUnit XML too')
    .option('--sarif <file>', 'write the report as SARIF 2.1.0 too')
    .option('--html <file>', 'write the report as one HTML page too')
    .option('--quiet', 'say nothing on stderr but errors')
    .addHelpText(
      'after',
      `
Exit status: 0 conforms (with warnings too, unless --strict), 1 does not,
2 usage, 3 could not check all of it, 130 interrupted.

Examples:
  conda-ferry check ./dist/foo-1.0-0.conda
  conda-ferry check ./channel
  conda-ferry check oci-layout:./mirror --schema v1
  conda-ferry check oci://127.0.0.1:5000/my-channel/noarch --html report.html
  conda-ferry check oci://127.0.0.1:5000/my-channel/noarch/foo:1.0-0 --deep`,
    )
    .action(async (text: string, flags: CheckFlags) => {
      await using session = new Session(context, flags);
      const { target, name, subdirs, isLocal } = await parseCheckTarget(text, session);
      const seed = flags.seed ?? randomBytes(4).toString('hex');
      const progress = createCheckProgress(context.output, flags);
      let report: CheckReport;
      try {
        report = await check(target, {
          name,
          subdirs: flags.subdir ?? subdirs,
          index: flags.index,
          deep: flags.deep ?? isLocal,
          sample: flags.sample === undefined ? undefined : { size: flags.sample, seed },
          strict: flags.strict,
          concurrency: flags.concurrency,
          tempDir: flags.tempDir,
          reporter: progress,
          signal: context.signal,
        });
      } finally {
        progress.finish();
      }
      await writeReports(report, flags, context);
      if (report.unread !== undefined && flags.quiet !== true) {
        const more =
          report.unread === 'layers' ? '--index reads index layers, --deep everything' : '--deep reads them';
        say(context.output, `${report.unread} were not read; ${more}`);
      }
      if (flags.json === true) printJson(context.output, reportDocument(report));
      else for (const line of formatTextReport(report)) printLine(context.output, line);
      if (!report.conforms) context.setExitCode(EXIT_FINDINGS);
      else if (report.unchecked.length > 0) context.setExitCode(EXIT_UNCHECKED);
    });
  addConnectionOptions(command);
}

async function writeReports(report: CheckReport, flags: CheckFlags, context: CommandContext): Promise<void> {
  const { junit, sarif, html, strict } = flags;
  const write = async (file: string | undefined, make: () => string): Promise<void> => {
    if (file === undefined) return;
    await writeFileAtomic(resolve(file), Buffer.from(make()));
    if (flags.quiet !== true) say(context.output, `wrote ${file}`);
  };
  await write(junit, () => formatJunitReport(report, { strict }));
  await write(sarif, () => `${JSON.stringify(sarifDocument(report, { toolVersion: VERSION }))}\n`);
  await write(html, () => formatHtmlReport(report, { toolVersion: VERSION, madeAt: new Date() }));
}

function parseCount(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('a number from 1 on is wanted.');
  return value;
}

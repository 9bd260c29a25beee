/** What `check` does, apart from its flags: loaded when it is run, since it brings all rules and the schemas along. */
import { randomBytes } from 'node:crypto';
import { resolve } from 'node:path';
import { check } from '../conformance/check.js';
import type { CheckReport } from '../conformance/report.js';
import { formatHtmlReport } from '../conformance/reports/html-report.js';
import { reportDocument } from '../conformance/reports/json-report.js';
import { formatJunitReport } from '../conformance/reports/junit-report.js';
import { sarifDocument } from '../conformance/reports/sarif-report.js';
import { formatTextReport } from '../conformance/reports/text-report.js';
import { writeReport } from '../mirror/reports/report-folder.js';
import { createCheckProgress } from './check-progress.js';
import { parseCheckTarget } from './check-target.js';
import type { CommandContext } from './context.js';
import type { LocationFlags } from './options.js';
import { printJson, printLine, say, type OutputFlags } from './output.js';
import { Session } from './session.js';
import { VERSION } from './version.js';

const EXIT_FINDINGS = 1;
const EXIT_UNCHECKED = 3;

/** Flags of `check`. */
export interface CheckFlags extends LocationFlags, OutputFlags {
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

/** Checks what a location names, and writes the reports. */
export async function runCheck(text: string, flags: CheckFlags, context: CommandContext): Promise<void> {
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
  if (report.unread !== undefined && flags.quiet !== true) {
    const more =
      report.unread === 'layers' ? '--index reads index layers, --deep everything' : '--deep reads them';
    say(context.output, `${report.unread} were not read; ${more}`);
  }
  if (flags.json === true) printJson(context.output, reportDocument(report));
  else for (const line of formatTextReport(report)) printLine(context.output, line);
  if (!report.conforms) context.setExitCode(EXIT_FINDINGS);
  else if (report.unchecked.length > 0) context.setExitCode(EXIT_UNCHECKED);
  // Last, so that a file that cannot be written takes nothing of what was found away.
  await writeReports(report, flags, context);
}

async function writeReports(report: CheckReport, flags: CheckFlags, context: CommandContext): Promise<void> {
  const { junit, sarif, html, strict } = flags;
  const write = async (file: string | undefined, make: () => string): Promise<void> => {
    if (file === undefined) return;
    await writeReport(resolve(file), make());
    if (flags.quiet !== true) say(context.output, `wrote ${file}`);
  };
  await write(junit, () => formatJunitReport(report, { strict }));
  await write(sarif, () => `${JSON.stringify(sarifDocument(report, { toolVersion: VERSION }))}\n`);
  await write(html, () => formatHtmlReport(report, { toolVersion: VERSION, madeAt: new Date() }));
}

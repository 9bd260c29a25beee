import { InvalidArgumentError, type Command } from 'commander';
import { FerryError } from '../../errors.js';
import {
  formatFailureList,
  parseFailureList,
  unknownFailures,
  type FailureList,
} from '../../mirror/failure-list.js';
import { DEFAULT_CONCURRENCY, type MirrorOptions } from '../../mirror/mirror.js';
import { makePlanDocument, parsePlanDocument } from '../../mirror/plan-document.js';
import type { MirrorReport } from '../../mirror/report.js';
import { writeReport } from '../../mirror/reports/report-folder.js';
import { lockFolder } from '../cache-folder.js';
import type { CommandContext } from '../context.js';
import { addFilterOptions, readFilters, type FilterFlags } from '../filter-options.js';
import { chooseMirror } from '../bundle.js';
import { checkExportFlags, exportToFolder } from '../export-channel.js';
import { withFallbacks } from '../fallbacks.js';
import { parseLocation } from '../locations.js';
import { printPlan, printReport } from '../mirror-output.js';
import { addReportOptions, withReports, type ReportFlags, type RunNotes } from '../mirror-reports.js';
import { printJson, say, type OutputFlags } from '../output.js';
import { createProgress } from '../progress.js';
import {
  addConnectionOptions,
  parseConcurrency,
  parseCount,
  parseGithubApi,
  parseSeconds,
  parseTempLimit,
  type LocationFlags,
} from '../options.js';
import { checkMirrorQueue, openMirrorQueue, sumRequests, type MirrorQueueFlags } from '../queue-mirror.js';
import { addQueueOptions } from '../queue-options.js';
import { Session } from '../session.js';
import { readTextFile } from '../text-file.js';

const EXIT_INTERRUPTED = 130;
const STOPPING = 'stopping: what is under way is finished and published; a second signal ends it at once';

interface MirrorFlags extends LocationFlags, OutputFlags, FilterFlags, ReportFlags, MirrorQueueFlags {
  readonly quiet?: boolean;
  readonly fallback?: readonly string[];
  readonly subdir?: readonly string[];
  readonly plan?: boolean;
  readonly planOut?: string;
  readonly apply?: string;
  readonly rate?: number;
  readonly deep?: boolean;
  readonly concurrency: number;
  readonly allowOlder?: boolean;
  readonly merge?: boolean;
  readonly accept?: readonly string[];
  readonly quarantine?: string;
  readonly stopGrace?: number;
  readonly plainJson: boolean;
  readonly includeRemoved?: boolean;
  readonly clientShims: boolean;
  readonly resume?: boolean;
  readonly tempDir?: string;
  /** In bytes. */
  readonly tempLimit?: number;
  readonly deltaFrom?: string;
  readonly keepGenerations?: number;
}

/** Adds `mirror`. */
export function addMirrorCommand(program: Command, context: CommandContext): void {
  const command = program
    .command('mirror')
    .summary('carry a whole channel into a registry, a folder of image layouts or a plain folder')
    .description(
      'Carries a channel into an OCI registry, a folder of OCI image layouts or an ordinary channel in a folder, and only what is not there yet.',
    )
    .argument(
      '<source>',
      'channel to mirror: URL, ./folder, channel name, oci://host/path or oci-layout:./dir',
    )
    .argument('<destination>', 'where it goes: oci://host[:port]/path, oci-layout:./dir or ./folder')
    .option(
      '--fallback <channel>',
      'the same channel elsewhere, for when the source does not answer',
      collect,
    )
    .option('--subdir <name...>', 'only these subdirs, such as noarch linux-64')
    .option('--deep', 'ask the registry about every archive instead of trusting the ledger')
    .option('--concurrency <n>', 'archives under way at once', parseConcurrency, DEFAULT_CONCURRENCY)
    .option('--merge', 'keep records that others published in the destination')
    .option('--resume', 'go on although a rollback holds the destination')
    .option('--allow-older', 'take repodata that is older than what was mirrored last')
    .option('--include-removed', 'also archives that the source has and lists no more; they stay unlisted')
    .option('--no-plain-json', 'publish repodata compressed only (schema v0)')
    .option('--no-client-shims', 'leave out repositories that clients ask for in vain (schema v0)')
    .option('--schema <id>', 'layout of the channel in the registry: v0 or v1', 'v0')
    .option('--label <label>', 'label of the channel in the registry, such as dev')
    .option('--source-schema <id>', 'layout of a source in a registry, if it is another')
    .option('--source-label <label>', 'label of a source in a registry, if it is another')
    .option('--delta-from <location>', 'write a bundle: only what this earlier state of the channel lacks')
    .option('--keep-generations <n>', 'delete older repodata once all is published', parseCount)
    .option('--github-api <url>', "base URL of GitHub's API, for ghcr.io and its like", parseGithubApi)
    .option('--temp-dir <dir>', 'where large archives lie while they pass through')
    .option(
      '--temp-limit <size>',
      'room for archives there at once, such as 20GB; without it, half of what is free',
      parseTempLimit,
    )
    .option('--json', 'print the report, or the plan, as JSON')
    .option('--quiet', 'say nothing on stderr but errors')
    .option('--verbose', 'say what happens to each archive')
    .optionsGroup('Planning:')
    .option('--plan', 'say what would be done, and move nothing')
    .option('--plan-out <file>', 'with --plan, write the plan to a file')
    .option('--rate <n>', 'with --plan, tell the time at so many requests a minute', parseRate)
    .option('--apply <file>', 'do what this plan says, and nothing else')
    .optionsGroup('Failures:')
    .option('--accept <file...>', 'lists of archives that are known to fail')
    .option('--quarantine <file>', 'write a list of the archives that failed')
    .option('--stop-grace <seconds>', 'what is under way may take so long after SIGINT (30)', parseSeconds)
    .addHelpText(
      'after',
      `
Exit status: 0 all is there, 1 archives failed that no --accept list names,
2 usage, 3 the run failed, 130 interrupted. After SIGINT or SIGTERM what is
under way is finished and published; a second signal ends it at once.

Examples:
  conda-ferry mirror ./channel oci-layout:./mirror
  conda-ferry mirror oci://127.0.0.1:5000/ch ./channel --include 'numpy >=2'
  conda-ferry mirror https://conda.example.org/ch ghcr.io/me/ch \\
    --fallback https://mirror.example.org/ch --accept known.txt \\
    --quarantine failed.txt --keep-generations 14
  conda-ferry mirror oci://127.0.0.1:5000/ch oci-layout:./bundle \\
    --delta-from oci-layout:./earlier
  conda-ferry mirror https://conda.example.org/ch oci://127.0.0.1:5000/ch --plan
  conda-ferry mirror conda-forge ghcr.io/me/cf --queue redis://10.0.0.5:6379

With --queue, what conda-ferry worker runs on any machine carries the archives;
each worker has credentials of its own. The password of Redis is better put
into CONDA_FERRY_QUEUE_PASSWORD than into the URL.`,
    )
    .action((source: string, destination: string, flags: MirrorFlags) =>
      withReports({ source, destination, flags, context }, (notes) =>
        mirror(source, destination, flags, context, notes),
      ),
    );
  addFilterOptions(command);
  addReportOptions(command);
  addQueueOptions(command.optionsGroup('More than one machine:')).option(
    '--attempts <n>',
    'with --queue, how often workers try an archive that fails (3)',
    parseCount,
  );
  addConnectionOptions(command);
}

async function mirror(
  source: string,
  destination: string,
  flags: MirrorFlags,
  context: CommandContext,
  notes: RunNotes,
): Promise<void> {
  const { output } = context;
  if (flags.planOut !== undefined && flags.plan !== true)
    throw new FerryError('USAGE', '--plan-out goes with --plan');
  if (flags.plan === true && flags.apply !== undefined)
    throw new FerryError('USAGE', '--plan and --apply cannot go together');
  const known = new Set<string>();
  for (const file of flags.accept ?? [])
    for (const name of parseFailureList(await readTextFile(file), file)) known.add(name);
  notes.accepted = known;
  const [from, to] = [parseLocation(source), parseLocation(destination)];
  const fallbacks = (flags.fallback ?? []).map(parseLocation);
  await checkMirrorQueue(flags, from, to);
  const told = { source: from, destination: to, fallbacks, flags };
  await using queue = await openMirrorQueue(flags, told, context);
  await using session = new Session(context, flags, { sharedBudget: queue?.sharedBudget });
  const requests = sumRequests(session.requests, queue);
  notes.requests = requests;
  const elsewhere = {
    session,
    warn: (message: string) => {
      say(output, `warning: ${message}`);
    },
  };
  if (to.kind === 'folder' && flags.deltaFrom === undefined) {
    checkExportFlags(flags);
    const filters = await readFilters(flags, readTextFile);
    const first = session.openChannel(from);
    const ends = { source: withFallbacks(first, fallbacks, elsewhere), folder: to.path, filters };
    const exported = await exportToFolder(ends, flags, { session, context, known });
    if (exported !== undefined) await conclude(exported, known, flags, { context, notes });
    return;
  }
  const { plan: planIt, run: runIt } = await chooseMirror(from, to, flags, session);
  const ends = session.openMirror(from, to);
  const options: MirrorOptions = {
    source: withFallbacks(ends.source, fallbacks, elsewhere),
    destination: ends.destination,
    subdirs: flags.subdir,
    filters: await readFilters(flags, readTextFile),
    concurrency: flags.concurrency,
    deep: flags.deep,
    allowOlder: flags.allowOlder,
    merge: flags.merge,
    plainJson: flags.plainJson,
    includeRemoved: flags.includeRemoved,
    stopGraceMs: flags.stopGrace === undefined ? undefined : flags.stopGrace * 1000,
    resume: flags.resume,
    keepGenerations: flags.keepGenerations,
    clientShims: flags.clientShims,
    apply:
      flags.apply === undefined ? undefined : parsePlanDocument(await readTextFile(flags.apply), flags.apply),
    tempDir: flags.tempDir,
    tempLimitBytes: flags.tempLimit,
    lockFolder: lockFolder(context.environment),
  };
  if (flags.plan === true) {
    const plan = await planIt({ ...options, signal: context.signal });
    const document = makePlanDocument(plan, { now: new Date(), requestsPerMinute: flags.rate });
    if (flags.planOut !== undefined)
      await writeReport(flags.planOut, `${JSON.stringify(document, undefined, 1)}\n`);
    if (flags.json === true) printJson(output, document);
    else printPlan(output, plan, document, flags);
    return;
  }
  const progress = createProgress(output, flags);
  // Without a word it would look as if nobody had heard, and the second signal cuts off what is under way.
  const onStop = (): void => {
    if (flags.quiet !== true) say(output, STOPPING);
  };
  context.signal.addEventListener('abort', onStop, { once: true });
  let report: MirrorReport;
  try {
    const running = { ...options, stop: context.signal, reporter: progress };
    report = queue === undefined ? await runIt(running) : await queue.run(running);
  } finally {
    context.signal.removeEventListener('abort', onStop);
    progress.finish();
  }
  if (flags.json === true) printJson(output, { ...report, requests });
  else printReport(output, report, known, flags);
  await conclude(report, known, flags, { context, notes });
}

/** Notes what a run came to, and sets the exit status. */
async function conclude(
  report: MirrorReport,
  known: FailureList,
  { quarantine }: MirrorFlags,
  { context, notes }: { readonly context: CommandContext; readonly notes: RunNotes },
): Promise<void> {
  notes.report = report;
  if (quarantine !== undefined) await writeReport(quarantine, formatFailureList(report));
  if (report.isInterrupted) context.setExitCode(EXIT_INTERRUPTED);
  else if (unknownFailures(report.subdirs, known) > 0) context.setExitCode(1);
}

function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

function parseRate(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError('a number above 0 is wanted.');
  return value;
}

import { type Command } from 'commander';
import { isArchiveFilename } from '../../conda/names.js';
import { FerryError } from '../../errors.js';
import { parseNamedSpec, readSpecLines } from '../../mirror/filters/spec-list.js';
import { applyPrune, type PruneReport } from '../../mirror/prune/apply-prune.js';
import { formatPrunePlan, parsePrunePlan, type PrunePlan } from '../../mirror/prune/plan-document.js';
import {
  DEFAULT_GRACE_MS,
  DEFAULT_KEPT_GENERATIONS,
  planPrune,
  type Pin,
} from '../../mirror/prune/plan-prune.js';
import { writeReport } from '../../mirror/reports/report-folder.js';
import { lockFolder } from '../cache-folder.js';
import type { CommandContext } from '../context.js';
import { formatDuration, parseDuration } from '../duration.js';
import { parseLocation } from '../locations.js';
import {
  addConnectionOptions,
  parseConcurrency,
  parseCount,
  parseGithubApi,
  type LocationFlags,
} from '../options.js';
import { count, printJson, say, type OutputFlags } from '../output.js';
import { printPrunePlan, printPruneReport } from '../prune-output.js';
import { Session } from '../session.js';
import { readTextFile } from '../text-file.js';

const DEFAULT_CONCURRENCY = 8;

interface PruneFlags extends LocationFlags, OutputFlags {
  readonly subdir?: readonly string[];
  readonly grace?: number;
  readonly keepGenerations?: number;
  readonly pin?: readonly string[];
  readonly pins?: string;
  readonly removed?: boolean;
  readonly scan?: boolean;
  readonly plan?: boolean;
  readonly planOut?: string;
  readonly apply?: string;
  readonly yes?: boolean;
  readonly concurrency: number;
  readonly tempDir?: string;
}

/** Adds `prune`. */
export function addPruneCommand(program: Command, context: CommandContext): void {
  const command = program
    .command('prune')
    .summary('delete what a channel stores and no longer lists')
    .description(
      'Says which archives a channel still stores although nothing lists them any more, and deletes them only with --yes or --apply.',
    )
    .argument('<channel>', 'a channel in a store: oci://host/path or oci-layout:./dir')
    .option('--subdir <name...>', 'only these subdirs, such as noarch linux-64')
    .option(
      '--grace <time>',
      `how long an archive stays unlisted first (default: ${formatDuration(DEFAULT_GRACE_MS)})`,
      parseDuration,
    )
    .option(
      '--keep-generations <n>',
      `delete older repodata; without it the newest ${String(DEFAULT_KEPT_GENERATIONS)} protect what they list`,
      parseCount,
    )
    .option('--pin <spec...>', 'archives that stay, such as zlib or "zlib=1.2"')
    .option('--pins <file>', 'a file of such specs, one a line')
    .option('--removed', 'also what the repodata names as removed')
    .option('--scan', 'look through the registry for what the ledger does not know')
    .option('--plan', 'say what would be deleted, and delete nothing (the default)')
    .option('--plan-out <file>', 'write the plan to a file as well')
    .option('--apply <file>', 'carry out the plan of a file')
    .option('--yes', 'make a plan and carry it out')
    .option('--concurrency <n>', 'manifests read at once', parseConcurrency, DEFAULT_CONCURRENCY)
    .option('--schema <id>', 'layout of the channel in the registry: v0 or v1', 'v0')
    .option('--label <label>', 'label of the channel in the registry, such as dev')
    .option('--temp-dir <dir>', 'where archives lie that have to be read')
    .option('--github-api <url>', "base URL of GitHub's API, for ghcr.io and its like", parseGithubApi)
    .option('--json', 'print the plan, or the report, as JSON')
    .option('--quiet', 'say nothing on stderr but errors')
    .option('--verbose', 'name each archive')
    .addHelpText(
      'after',
      `
Exit status: 0 done, 1 something could not be deleted, 2 usage, 3 failed,
130 interrupted.

Examples:
  conda-ferry prune oci://127.0.0.1:5000/ch
  conda-ferry prune oci://127.0.0.1:5000/ch --grace 90d --plan-out plan.json
  conda-ferry prune oci://127.0.0.1:5000/ch --apply plan.json
  conda-ferry prune oci-layout:./mirror --grace 0 --pin zlib --yes`,
    )
    .action(async (text: string, flags: PruneFlags) => {
      checkFlags(flags);
      const pins = await readPins(flags);
      await using session = new Session(context, flags);
      const store = session.openStoredChannel(parseLocation(text), 'destination');
      const { output, signal } = context;
      const shared = { store, workers: session.workers, signal };
      const plan =
        flags.apply === undefined
          ? await planPrune({
              ...shared,
              subdirs: flags.subdir,
              graceMs: flags.grace,
              keepGenerations: flags.keepGenerations,
              deleteGenerations: flags.keepGenerations !== undefined,
              removed: flags.removed,
              pins,
              scan: flags.scan,
              concurrency: flags.concurrency,
            })
          : await readPlan(flags.apply);
      if (flags.planOut !== undefined) await writeReport(flags.planOut, formatPrunePlan(plan));
      if (flags.apply === undefined && flags.yes !== true) {
        if (flags.json === true) printJson(output, plan);
        else printPrunePlan(output, plan, flags);
        return;
      }
      if (flags.quiet !== true) {
        const going = plan.subdirs.flatMap(({ artifacts }) => artifacts.flatMap(({ archives }) => archives));
        if (going.length > 0) say(output, `to delete: ${count(going.length, 'archive')}`);
      }
      const report: PruneReport = await applyPrune(plan, {
        ...shared,
        tempDir: flags.tempDir,
        lockFolder: lockFolder(context.environment),
        reporter: {
          deleted: ({ subdir, filename }) => {
            if (flags.verbose === true) say(output, `deleted: ${subdir}/${filename}`);
          },
        },
      });
      if (flags.json === true) printJson(output, { ...report, requests: session.requests });
      else printPruneReport(output, report, plan);
      if (report.subdirs.some(({ left }) => left.length > 0)) context.setExitCode(1);
    });
  addConnectionOptions(command);
}

/** @throws FerryError `USAGE` */
function checkFlags(flags: PruneFlags): void {
  const actions = [
    flags.plan === true ? '--plan' : undefined,
    flags.apply === undefined ? undefined : '--apply',
    flags.yes === true ? '--yes' : undefined,
  ].filter((flag) => flag !== undefined);
  if (actions.length > 1) throw new FerryError('USAGE', `${actions.join(' and ')} cannot go together`);
  if (flags.apply === undefined) return;
  const policy: readonly (keyof PruneFlags)[] = [
    'grace',
    'keepGenerations',
    'pin',
    'pins',
    'removed',
    'scan',
    'subdir',
    'planOut',
  ];
  const given = policy.find((flag) => flags[flag] !== undefined);
  if (given === undefined) return;
  const name = given.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  throw new FerryError('USAGE', `\`--${name}\` belongs to making a plan, and --apply takes one as it is`);
}

/** @throws FerryError `MATCH_SPEC_INVALID`, `USAGE` */
async function readPins(flags: Pick<PruneFlags, 'pin' | 'pins'>): Promise<readonly Pin[]> {
  const ofFile = flags.pins === undefined ? [] : readSpecLines(await readTextFile(flags.pins));
  return [...(flags.pin ?? []), ...ofFile.map(({ text }) => text)].map((text) => ({
    text,
    // As a match spec a file name would be a name that nothing has.
    spec: parseNamedSpec(isArchiveFilename(text) ? `*[fn="${text}"]` : text),
  }));
}

async function readPlan(path: string): Promise<PrunePlan> {
  return parsePrunePlan(await readTextFile(path), `\`${path}\``);
}

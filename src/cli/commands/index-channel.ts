import type { Command } from 'commander';
import { FerryError } from '../../errors.js';
import {
  describeGenerations,
  type SubdirGenerations,
} from '../../mirror/generations/describe-generations.js';
import { rollBack, type RollBackOutcome, type RollBackReport } from '../../mirror/generations/roll-back.js';
import { lockFolder } from '../cache-folder.js';
import type { CommandContext } from '../context.js';
import { parseLocation } from '../locations.js';
import { addConnectionOptions, parseConcurrency, parseCount, parseGithubApi } from '../options.js';
import { formatBytes, formatTable, printJson, printLine, type Output } from '../output.js';
import { Session } from '../session.js';
import { indexFolderCommand, type IndexFolderFlags } from './index-folder.js';
import { indexStoreCommand, type IndexStoreFlags } from './index-store.js';

const DEFAULT_LIMIT = 20;
const DEFAULT_CONCURRENCY = 16;
/** Missing archives that are named one by one, in each subdir. */
const MISSING_SHOWN = 20;

const OUTCOMES: Readonly<Record<RollBackOutcome, string>> = {
  moved: 'rolled back',
  there: 'there already',
  left: 'as it was',
  missing: 'not possible',
};

interface IndexFlags extends IndexFolderFlags, IndexStoreFlags {
  readonly generation?: string;
  readonly listGenerations?: boolean;
  readonly limit: number;
  readonly dropMissing?: boolean;
  readonly concurrency: number;
}

/** Adds `index`. */
export function addIndexCommand(program: Command, context: CommandContext): void {
  const command = program
    .command('index')
    .summary('bring repodata in line with what is there; go back to an old state')
    .description(
      'Brings the repodata of a channel, and the files beside it, in line with the archives that are there. With --generation it goes back to an old state.',
    )
    .argument('<channel>', 'a channel: ./dir, oci://host/path or oci-layout:./dir')
    .option('--patch <file>', 'patch instructions: JSON, or a package that holds them')
    .option('--from-artifacts', 'make every record anew out of what is stored')
    .option('--force', 'make records anew in a mirror too; take over a channel that another tool made')
    .option('--names <file>', 'packages to look for where a registry does not tell, one a line; - for stdin')
    .option('--no-companions', 'leave the files beside the repodata as they are')
    .option('--list-generations', 'show history tags with date, number of records and size')
    .option('--limit <n>', 'how many of the newest to show', parseCount, DEFAULT_LIMIT)
    .option('--generation <tag>', 'go back to the state of that tag')
    .option('--drop-missing', 'go back without the records whose archives are gone')
    .option('--subdir <name...>', 'only these subdirs, such as noarch linux-64')
    .option('--concurrency <n>', 'repositories asked at once', parseConcurrency, DEFAULT_CONCURRENCY)
    .option('--schema <id>', 'layout of the channel in the registry: v0 or v1', 'v0')
    .option('--label <label>', 'label of the channel in the registry, such as dev')
    .option('--github-api <url>', "base URL of GitHub's API, for ghcr.io and its like", parseGithubApi)
    .option('--json', 'print what was found, or done, as JSON')
    .addHelpText(
      'after',
      `
What is listed and not stored goes, what is stored and not listed comes, unless
it was yanked. A mirror lists what its source does: there only the first is
done. Patch instructions are kept, and applied again by each index; those of an
empty file, {}, take them back.

With --generation each subdir goes to the generation of that very tag or, where
it has none, to the newest that is not newer. The mirror then stops until it
gets --resume.

Exit status: 0 done, 1 archives cannot be listed, or archives are gone and
nothing was moved, 2 usage, 3 failed, 130 interrupted.

Examples:
  conda-ferry index ./channel
  conda-ferry index oci://127.0.0.1:5000/ch
  conda-ferry index oci://127.0.0.1:5000/ch --patch patches.json
  conda-ferry index oci://127.0.0.1:5000/ch --list-generations
  conda-ferry index oci://127.0.0.1:5000/ch --generation 2026.11.21.07.35.09`,
    )
    .action(async (text: string, flags: IndexFlags) => {
      const { generation, listGenerations = false } = flags;
      const location = parseLocation(text);
      if (location.kind === 'folder' && generation === undefined && !listGenerations) {
        checkFolderFlags(command);
        await indexFolderCommand(location.path, flags, context);
        return;
      }
      if (generation !== undefined && listGenerations)
        throw new FerryError('USAGE', '--generation and --list-generations cannot go together');
      const isOther = flags.patch !== undefined || flags.names !== undefined || flags.fromArtifacts === true;
      if (isOther && (generation !== undefined || listGenerations)) {
        const flag = listGenerations ? '--list-generations' : '--generation';
        throw new FerryError('USAGE', `${flag} goes with none of --patch, --names and --from-artifacts`);
      }
      if (flags.dropMissing === true && generation === undefined)
        throw new FerryError('USAGE', '--drop-missing belongs to --generation');
      if (generation === undefined && !listGenerations) {
        await indexStoreCommand(location, flags, context);
        return;
      }
      await using session = new Session(context, flags);
      const store = session.openStoredChannel(location, listGenerations ? 'only' : 'destination');
      const { output, signal } = context;
      const shared = { store, workers: session.workers, subdirs: flags.subdir, signal };
      if (generation === undefined) {
        const subdirs = await describeGenerations({ ...shared, limit: flags.limit });
        if (flags.json === true)
          printJson(output, { channel: store.location, schema: store.schema.id, subdirs });
        else printGenerations(output, subdirs);
        return;
      }
      const { dropMissing, concurrency } = flags;
      const locks = lockFolder(context.environment);
      const report = await rollBack({ ...shared, generation, dropMissing, concurrency, lockFolder: locks });
      if (flags.json === true) printJson(output, report);
      else printReport(output, report);
      if (report.subdirs.some(({ outcome }) => outcome === 'missing')) context.setExitCode(1);
    });
  addConnectionOptions(command);
}

/** A folder has neither artifacts nor schema. @throws FerryError `USAGE` */
function checkFolderFlags(command: Command): void {
  for (const flag of ['fromArtifacts', 'names', 'companions', 'schema', 'label', 'concurrency']) {
    if (command.getOptionValueSource(flag) !== 'cli') continue;
    const name = command.options.find((option) => option.attributeName() === flag)?.long ?? flag;
    throw new FerryError('USAGE', `\`${name}\` is for channels in stores, and not for folders`);
  }
}

function printGenerations(output: Output, subdirs: readonly SubdirGenerations[]): void {
  const header = ['subdir', 'generation', 'UTC', 'records', 'size', ''];
  const rows = subdirs.flatMap(({ subdir, generations }) =>
    generations.map(({ tag, time, records, bytes, isLatest }) => [
      subdir,
      tag,
      time.toISOString().slice(0, 16).replace('T', ' '),
      String(records),
      formatBytes(bytes),
      isLatest ? 'latest' : '',
    ]),
  );
  for (const line of formatTable([header, ...rows], [3, 4])) printLine(output, line);
  for (const { subdir, generations, older, isLatestElsewhere } of subdirs) {
    if (older > 0) printLine(output, `${subdir}: ${String(older)} older ones; --limit shows more`);
    if (generations.length === 0) printLine(output, `${subdir}: no generations`);
    else if (isLatestElsewhere) printLine(output, `${subdir}: none of those shown is what is published`);
  }
}

function printReport(output: Output, report: RollBackReport): void {
  const header = ['subdir', 'generation', 'records', 'missing', 'unlisted', 'companions', ''];
  const rows = report.subdirs.map((subdir) => [
    subdir.subdir,
    subdir.generation ?? '',
    String(subdir.records),
    String(subdir.missing.length),
    String(subdir.unlisted.length),
    String(subdir.companions.length),
    OUTCOMES[subdir.outcome],
  ]);
  for (const line of formatTable([header, ...rows], [2, 3, 4, 5])) printLine(output, line);
  for (const { subdir, missing, warnings } of report.subdirs) {
    if (missing.length > 0) printLine(output);
    for (const filename of missing.slice(0, MISSING_SHOWN))
      printLine(output, `missing: ${subdir}/${filename}`);
    const more = missing.length - MISSING_SHOWN;
    if (more > 0) printLine(output, `missing: ${String(more)} more in ${subdir}; --json names them all`);
    for (const warning of warnings) printLine(output, `warning: ${warning}`);
  }
  printLine(output);
  if (report.subdirs.some(({ outcome }) => outcome === 'missing')) {
    printLine(output, `nothing was moved in ${report.channel}: listed archives would not be there`);
    printLine(output, '--drop-missing goes back without them');
    return;
  }
  printLine(output, report.moved ? `rolled back: ${report.channel}` : `as it was: ${report.channel}`);
  if (report.held) printLine(output, 'mirror runs stop here from now on, until one gets --resume');
}

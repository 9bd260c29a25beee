import type { Command } from 'commander';
import { yankArchives, type YankReport } from '../../publish/yank.js';
import type { CommandContext } from '../context.js';
import { parseLocation } from '../locations.js';
import { addConnectionOptions, parseGithubApi, type LocationFlags } from '../options.js';
import { count, printJson, printLine, type Output, type OutputFlags } from '../output.js';
import { Session } from '../session.js';

interface YankFlags extends LocationFlags, Pick<OutputFlags, 'json'> {
  readonly subdir?: readonly string[];
  readonly undo?: boolean;
  readonly force?: boolean;
  readonly dryRun?: boolean;
}

/** Adds `yank`. */
export function addYankCommand(program: Command, context: CommandContext): void {
  const command = program
    .command('yank')
    .summary('take archives off the list; they stay to be fetched')
    .description(
      'Moves archives to `removed`: solvers no longer see them, and lock files that name them go on working.',
    )
    .argument('<channel>', 'a channel that is published to: oci://host/path or oci-layout:./dir')
    .argument('<spec...>', 'file names, sha256:… digests, or match specs: all that they match')
    .option('--undo', 'list them again, as they were; takes file names')
    .option('--subdir <name...>', 'only these subdirs, such as noarch linux-64')
    .option('--force', 'do so in a mirror, or in a channel that another tool made')
    .option('--dry-run', 'say what would be done and write nothing')
    .option('--schema <id>', 'layout of the channel in the registry: v0 or v1', 'v0')
    .option('--label <label>', 'label of the channel, such as dev')
    .option('--github-api <url>', "base URL of GitHub's API, for ghcr.io and its like", parseGithubApi)
    .option('--json', 'print what was done as JSON')
    .addHelpText(
      'after',
      `
What was yanked does not come back by a push of the same name; --undo lists it
again, push --replace publishes something else in its place. To delete it, see
conda-ferry prune --removed.

Exit status: 0 done, 2 usage, 3 failed: the same again does the rest,
130 interrupted.

Examples:
  conda-ferry yank oci://127.0.0.1:5000/ch 'mypackage ==1.2.0' --dry-run
  conda-ferry yank oci://127.0.0.1:5000/ch mypackage-1.2.0-py_0.conda
  conda-ferry yank oci://127.0.0.1:5000/ch mypackage-1.2.0-py_0.conda --undo`,
    )
    .action(async (channel: string, specs: readonly string[], flags: YankFlags) => {
      await using session = new Session(context, flags);
      const store = session.openStoredChannel(parseLocation(channel), 'destination');
      const report = await yankArchives({
        store,
        workers: session.workers,
        specs,
        subdirs: flags.subdir,
        undo: flags.undo,
        force: flags.force,
        dryRun: flags.dryRun,
        signal: context.signal,
      });
      if (flags.json === true) printJson(context.output, report);
      else printReport(context.output, report);
    });
  addConnectionOptions(command);
}

function printReport(output: Output, { channel, changed, unchanged, undo, dryRun }: YankReport): void {
  const done = undo ? 'listed again' : 'yanked';
  for (const { subdir, filename } of changed)
    printLine(output, `${subdir}/${filename}: ${dryRun ? 'would be ' : ''}${done}`);
  for (const { subdir, filename } of unchanged)
    printLine(output, `${subdir}/${filename}: ${undo ? 'listed' : 'yanked'} before`);
  printLine(output);
  printLine(output, `${count(changed.length, 'archive')} ${dryRun ? 'would be ' : ''}${done}: ${channel}`);
}

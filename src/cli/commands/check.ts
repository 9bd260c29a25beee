import type { Command } from 'commander';
import type { CommandContext } from '../context.js';
import { addConnectionOptions, parseConcurrency, parseCount } from '../options.js';
import type { CheckFlags } from '../run-check.js';

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
      const { runCheck } = await import('../run-check.js');
      await runCheck(text, flags, context);
    });
  addConnectionOptions(command);
}

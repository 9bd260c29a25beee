import type { Command } from 'commander';
import { packArchiveFile, type StoredPackage } from '../../artifact/pack.js';
import { FerryError, isFerryError } from '../../errors.js';
import type { CommandContext } from '../context.js';
import { parseLocation } from '../locations.js';
import { printError, printJson, printLine, type OutputFlags } from '../output.js';
import type { LocationFlags } from '../options.js';
import { Session } from '../session.js';

interface PackFlags extends LocationFlags, Pick<OutputFlags, 'json'> {
  readonly output: string;
}

/** Adds `pack`. */
export function addPackCommand(program: Command, context: CommandContext): void {
  program
    .command('pack')
    .summary('make OCI artifacts of archives, on disk')
    .description('Makes OCI artifacts of .conda and .tar.bz2 files, on disk and without a network.')
    .argument('<archive...>', 'archive files')
    .requiredOption('--output <location>', 'where the artifacts go: oci-layout:./dir')
    .option('--schema <id>', 'layout of the channel: v0 or v1', 'v0')
    .option('--label <label>', 'label of the channel in the registry, such as dev')
    .option('--json', 'print what was stored as JSON')
    .addHelpText(
      'after',
      `
Exit status: 0 all packed, 1 some archives failed, 2 usage, 3 nothing done.

Examples:
  conda-ferry pack zlib-1.2.11-0.conda --output oci-layout:./store
  conda-ferry pack *.conda *.tar.bz2 --output oci-layout:./store --json`,
    )
    .action(async (archives: readonly string[], flags: PackFlags) => {
      await using session = new Session(context, flags);
      const location = parseLocation(flags.output);
      if (location.kind !== 'layout') {
        throw new FerryError('USAGE', `\`${flags.output}\` is no folder of image layouts`, {
          hint: 'write oci-layout:./dir',
        });
      }
      const store = session.openStore(location);
      const stored: StoredPackage[] = [];
      const failed: { filename: string; code: string; message: string }[] = [];
      for (const archive of archives) {
        try {
          const done = await packArchiveFile(archive, {
            store,
            workers: session.workers,
            signal: context.signal,
          });
          stored.push(done);
          if (flags.json !== true) {
            printLine(context.output, `${done.repository}:${done.tag}`);
            printLine(context.output, `  ${done.descriptor.digest}`);
          }
        } catch (error) {
          if (!isFerryError(error) || error.code === 'DISK_FULL') throw error;
          failed.push({ filename: archive, code: error.code, message: error.message });
          printError(context.output, error, { about: archive });
        }
      }
      if (flags.json === true) printJson(context.output, { stored, failed });
      if (failed.length > 0) context.setExitCode(1);
    });
}

import type { Command } from 'commander';
import { pullArchives, type PulledArchive } from '../../mirror/pull.js';
import type { CommandContext } from '../context.js';
import { parseLocation } from '../locations.js';
import { formatBytes, printError, printJson, printLine, type OutputFlags } from '../output.js';
import { addConnectionOptions, type LocationFlags } from '../options.js';
import { Session } from '../session.js';

interface PullFlags extends LocationFlags, Pick<OutputFlags, 'json'> {
  readonly output: string;
  readonly subdir?: readonly string[];
}

/** Adds `pull`. */
export function addPullCommand(program: Command, context: CommandContext): void {
  const command = program
    .command('pull')
    .summary('fetch archives out of a channel')
    .description('Fetches archives out of a channel, each checked against the digest that the channel lists.')
    .argument('<channel>', 'any channel: oci://host/path, oci-layout:./dir, URL, ./folder, channel name')
    .argument(
      '<spec...>',
      'match specs such as zlib, zlib=1.2 or "zlib>=1.2,<2", file names or sha256:… digests',
    )
    .option('--output <dir>', 'folder for the archives', '.')
    .option('--subdir <name...>', 'only these subdirs')
    .option('--schema <id>', 'layout of the channel in the registry: v0 or v1', 'v0')
    .option('--label <label>', 'label of the channel in the registry, such as dev')
    .option('--json', 'print what was fetched as JSON')
    .addHelpText(
      'after',
      `
Examples:
  conda-ferry pull oci-layout:./mirror ferry-tool --output ./archives
  conda-ferry pull oci://127.0.0.1:5000/my-channel zlib=1.2 --subdir linux-64`,
    )
    .action(async (channel: string, specs: readonly string[], flags: PullFlags) => {
      await using session = new Session(context, flags);
      const pulled: PulledArchive[] = [];
      const archives = pullArchives({
        channel: session.openChannel(parseLocation(channel), 'only'),
        specs,
        folder: flags.output,
        subdirs: flags.subdir,
        workers: session.workers,
        signal: context.signal,
      });
      const failed: { subdir: string; filename: string; code: string; message: string }[] = [];
      for await (const archive of archives) {
        if ('error' in archive) {
          const { subdir, filename, error } = archive;
          failed.push({ subdir, filename, code: error.code, message: error.message });
          printError(context.output, error, { about: `${subdir}/${filename}` });
          continue;
        }
        pulled.push(archive);
        if (flags.json !== true) {
          printLine(context.output, `${archive.path}, ${formatBytes(archive.size)}`);
          printLine(context.output, `  ${archive.digest}`);
        }
      }
      if (flags.json === true) printJson(context.output, { pulled, failed });
      if (failed.length > 0) context.setExitCode(1);
    });
  addConnectionOptions(command);
}

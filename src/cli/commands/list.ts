import type { Command } from 'commander';
import { packageMediaType } from '../../artifact/media-types.js';
import { readChannelRecords } from '../../mirror/read-channel.js';
import type { CommandContext } from '../context.js';
import { parseLocation } from '../locations.js';
import { count, formatBytes, formatTable, printJson, printLine, type OutputFlags } from '../output.js';
import { addConnectionOptions, type LocationFlags } from '../options.js';
import { Session } from '../session.js';

interface ListFlags extends LocationFlags, Pick<OutputFlags, 'json'> {
  readonly subdir?: readonly string[];
}

/** Adds `list`. */
export function addListCommand(program: Command, context: CommandContext): void {
  const command = program
    .command('list')
    .summary('show what a channel holds')
    .description('Shows the archives that a channel lists, with media types, sizes and digests.')
    .argument('<channel>', 'any channel: oci://host/path, oci-layout:./dir, URL, ./folder, channel name')
    .option('--subdir <name...>', 'only these subdirs')
    .option('--schema <id>', 'layout of the channel in the registry: v0 or v1', 'v0')
    .option('--label <label>', 'label of the channel in the registry, such as dev')
    .option('--json', 'print the list as JSON')
    .addHelpText(
      'after',
      `
Examples:
  conda-ferry list oci-layout:./mirror
  conda-ferry list oci://127.0.0.1:5000/my-channel --subdir noarch --json`,
    )
    .action(async (channel: string, flags: ListFlags) => {
      await using session = new Session(context, flags);
      const source = session.openChannel(parseLocation(channel), 'only');
      const subdirs = [];
      const options = { subdirs: flags.subdir, workers: session.workers, signal: context.signal };
      for await (const { subdir, records } of readChannelRecords(source, options)) {
        const archives = records.map((record) => ({
          filename: record.filename,
          mediaType: packageMediaType(record.extension),
          size: record.size,
          digest: record.sha256 === undefined ? undefined : `sha256:${record.sha256}`,
        }));
        subdirs.push({ subdir, archives });
      }
      if (flags.json === true) {
        printJson(context.output, { channel: source.url, subdirs });
        return;
      }
      for (const { subdir, archives } of subdirs) {
        printLine(context.output, `${subdir}: ${count(archives.length, 'archive')}`);
        const rows = archives.map(({ filename, size, digest }) => [
          `  ${filename}`,
          size === undefined ? '?' : formatBytes(size),
          digest?.slice(0, 'sha256:'.length + 12) ?? '',
        ]);
        for (const line of formatTable(rows, [1])) printLine(context.output, line);
      }
    });
  addConnectionOptions(command);
}

import type { Command } from 'commander';
import { FerryError } from '../../errors.js';
import {
  DEFAULT_PULL_CONCURRENCY,
  pullArchives,
  type PulledArchive,
  type PullFailure,
} from '../../mirror/pull.js';
import type { CommandContext } from '../context.js';
import { readLocks } from '../filter-options.js';
import { parseLocation } from '../locations.js';
import { addConnectionOptions, parseConcurrency, type LocationFlags } from '../options.js';
import { count, formatBytes, printError, printJson, printLine, say, type OutputFlags } from '../output.js';
import { createProgress } from '../progress.js';
import { Session } from '../session.js';
import { readTextFile } from '../text-file.js';

interface PullFlags extends LocationFlags, OutputFlags {
  readonly output: string;
  readonly lock?: readonly string[];
  readonly subdir?: readonly string[];
  readonly concurrency: number;
  readonly extract?: boolean;
  readonly channelUrl?: string;
}

const STATUS_WORDS = { there: ', there already', resumed: ', resumed', fetched: '' } as const;

/** Adds `pull`. */
export function addPullCommand(program: Command, context: CommandContext): void {
  const command = program
    .command('pull')
    .summary('fetch archives out of a channel')
    .description(
      'Fetches archives out of a channel, each checked against the digest that the channel lists. What is there already is not fetched again, and what broke off is gone on with.',
    )
    .argument('<channel>', 'any channel: oci://host/path, oci-layout:./dir, URL, ./folder, channel name')
    .argument(
      '[spec...]',
      'match specs such as zlib, zlib=1.2 or "zlib>=1.2,<2", file names or sha256:… digests',
    )
    .option('--lock <file>', 'all that conda-lock.yml, pixi.lock or an explicit list has', collect)
    .option('--output <dir>', 'folder for the archives', '.')
    .option('--subdir <name...>', 'only these subdirs')
    .option('--concurrency <n>', 'archives under way at once', parseConcurrency, DEFAULT_PULL_CONCURRENCY)
    .option('--extract', 'unpack each archive beside it, as in a package cache of conda')
    .option('--channel-url <url>', 'with --extract, the channel that the records of the packages name')
    .option('--schema <id>', 'layout of the channel in the registry: v0 or v1', 'v0')
    .option('--label <label>', 'label of the channel in the registry, such as dev')
    .option('--json', 'print what was fetched as JSON')
    .option('--quiet', 'say nothing on stderr but errors')
    .option('--verbose', 'say what happens to each archive')
    .addHelpText(
      'after',
      `
Exit status: 0 all is there, 1 archives failed or are locked and not to be had,
2 usage, 3 failed, 130 interrupted.

Examples:
  conda-ferry pull oci-layout:./mirror ferry-tool --output ./archives
  conda-ferry pull oci://127.0.0.1:5000/my-channel zlib=1.2 --subdir linux-64
  conda-ferry pull oci://127.0.0.1:5000/my-channel --lock pixi.lock \\
    --subdir linux-64 noarch --output ./pkgs --extract`,
    )
    .action((channel: string, specs: readonly string[], flags: PullFlags) =>
      pull(channel, specs, flags, context),
    );
  addConnectionOptions(command);
}

async function pull(
  location: string,
  specs: readonly string[],
  flags: PullFlags,
  context: CommandContext,
): Promise<void> {
  const { output } = context;
  if (specs.length === 0 && flags.lock === undefined) {
    throw new FerryError('USAGE', 'nothing is asked for', { hint: 'write a match spec, or --lock FILE' });
  }
  if (flags.channelUrl !== undefined && flags.extract !== true)
    throw new FerryError('USAGE', '--channel-url goes with --extract');
  const lock = flags.lock && (await readLocks(flags.lock, readTextFile));
  await using session = new Session(context, flags);
  const progress = createProgress(output, flags, 'pull');
  const pulled: PulledArchive[] = [];
  const failed: PullFailure[] = [];
  let isDone = false;
  try {
    const archives = pullArchives({
      channel: session.openChannel(parseLocation(location), 'only'),
      specs,
      lock,
      folder: flags.output,
      subdirs: flags.subdir,
      concurrency: flags.concurrency,
      extract: flags.extract,
      channelUrl: flags.channelUrl,
      workers: session.workers,
      reporter: progress,
      signal: context.signal,
    });
    for await (const archive of archives) {
      if ('error' in archive) failed.push(archive);
      else pulled.push(archive);
    }
    isDone = true;
  } finally {
    // What is said before the bar is gone would stand in the middle of it; and what was pulled is there, whatever came then.
    progress.finish();
    const isWorthTelling = isDone || pulled.length + failed.length > 0;
    if (flags.json !== true) for (const archive of pulled) printArchive(archive, context);
    else if (isWorthTelling) printJson(output, document(pulled, failed));
    for (const { subdir, filename, error } of failed)
      printError(output, error, { about: `${subdir}/${filename}` });
  }
  const ignored = (lock?.ignored.pypi ?? 0) + (lock?.ignored.elsewhere ?? 0);
  if (ignored > 0 && flags.quiet !== true)
    say(
      output,
      `warning: passed over, for no conda channel has it: ${count(ignored, 'package')} of the lock`,
    );
  if (failed.length > 0) context.setExitCode(1);
}

function printArchive(
  { path, size, status, digest, unpacked }: PulledArchive,
  context: CommandContext,
): void {
  printLine(context.output, `${path}, ${formatBytes(size)}${STATUS_WORDS[status]}`);
  printLine(context.output, `  ${digest}`);
  if (unpacked !== undefined) printLine(context.output, `  unpacked: ${unpacked}`);
}

function document(pulled: readonly PulledArchive[], failed: readonly PullFailure[]): object {
  const failures = failed.map(({ subdir, filename, error: { code, message } }) => ({
    ...{ subdir, filename, code, message },
  }));
  return { pulled, failed: failures };
}

function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

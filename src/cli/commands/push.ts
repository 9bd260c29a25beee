import type { Command } from 'commander';
import { FerryError } from '../../errors.js';
import { pushArchives, type PushReport, type PushStatus } from '../../publish/push.js';
import { parseAnnotations, type AnnotationFlags } from '../annotations.js';
import { findArchives } from '../archive-arguments.js';
import { checkStdin } from '../text-file.js';
import { createCheckProgress } from '../check-progress.js';
import type { CommandContext } from '../context.js';
import { parseLocation } from '../locations.js';
import { addConnectionOptions, parseConcurrency, type LocationFlags } from '../options.js';
import {
  count,
  formatBytes,
  printError,
  printJson,
  printLine,
  say,
  type Output,
  type OutputFlags,
} from '../output.js';
import { Session } from '../session.js';

const DEFAULT_CONCURRENCY = 4;

const WORDS: Readonly<Record<PushStatus, string>> = {
  added: 'published',
  replaced: 'replaced',
  there: 'there already',
  stored: 'stored, not listed',
};

interface PushFlags extends LocationFlags, OutputFlags, AnnotationFlags {
  readonly replace?: boolean;
  readonly force?: boolean;
  readonly index: boolean;
  readonly dryRun?: boolean;
  readonly plainJson: boolean;
  readonly concurrency: number;
  readonly tempDir?: string;
}

/** Adds `push`. */
export function addPushCommand(program: Command, context: CommandContext): void {
  const command = program
    .command('push')
    .summary('publish archives, and bring the repodata up to date')
    .description(
      'Checks archives, publishes them in a channel, and lists them in its repodata. Any number of jobs may push at once.',
    )
    .argument('<archive...>', 'files, folders, patterns, or - for a list on stdin; then the channel')
    .usage('[options] <archive...> <channel>')
    .option('--replace', 'publish in the place of other bytes of that name, or of what was yanked')
    .option('--force', 'publish to a mirror, or to a channel that another tool made')
    .option('--no-index', 'store the archives and leave the repodata as it is')
    .option('--dry-run', 'check everything and write nothing')
    .option('--annotation <key=value>', 'annotation for the artifacts; may be given again', collect)
    .option('--source-repo <url>', 'repository of the recipes; GHCR links the packages to it')
    .option('--no-plain-json', 'publish compressed repodata only, in a new channel of schema v0')
    .option('--concurrency <n>', 'archives read, or sent, at once', parseConcurrency, DEFAULT_CONCURRENCY)
    .option('--temp-dir <dir>', 'folder for temporary files')
    .option('--schema <id>', 'layout of the channel in the registry: v0 or v1', 'v0')
    .option('--label <label>', 'label of the channel, such as dev')
    .option('--json', 'print what was published as JSON, with digests')
    .option('--quiet', 'say nothing but errors')
    .addHelpText(
      'after',
      `
Exit status: 0 all published, or there already, 1 some archives failed,
2 usage, 3 failed: what is logged gets in with the next push, 130 interrupted.

Examples:
  conda-ferry push output/noarch/*.conda ghcr.io/me/my-channel
  conda-ferry push ./output oci://127.0.0.1:5000/ch --dry-run
  find . -name '*.conda' | conda-ferry push - ghcr.io/me/my-channel --label dev`,
    )
    .action(async (words: readonly string[], flags: PushFlags) => {
      const { archives: texts, channel } = splitWords(words);
      checkStdin(texts, flags);
      const annotations = parseAnnotations(flags);
      await using session = new Session(context, flags);
      const store = session.openStoredChannel(parseLocation(channel), 'destination');
      if (!flags.plainJson && store.schema.id !== 'v0')
        throw new FerryError('USAGE', 'schema v1 asks for the uncompressed repodata');
      const archives = await findArchives(texts, context);
      const { output, signal } = context;
      const progress = createCheckProgress(output, flags, 'archives');
      let report: PushReport;
      try {
        report = await pushArchives({
          store,
          workers: session.workers,
          archives,
          annotations,
          replace: flags.replace,
          force: flags.force,
          storeOnly: !flags.index,
          dryRun: flags.dryRun,
          plainJson: flags.plainJson,
          concurrency: flags.concurrency,
          tempDir: flags.tempDir,
          signal,
          reporter: {
            planned: (total) => progress.planned?.(total),
            done: () => progress.checked?.(),
            warning: (message) => {
              say(output, `warning: ${message}`);
            },
          },
        });
      } finally {
        progress.finish();
      }
      if (flags.json === true) printJson(output, jsonOf(report));
      else printReport(output, report, flags);
      if (report.failed.length > 0) context.setExitCode(1);
    });
  addConnectionOptions(command);
}

function collect(value: string, values: readonly string[] = []): readonly string[] {
  return [...values, value];
}

/** The last word is the channel, however many stand before it. @throws FerryError `USAGE` */
function splitWords(words: readonly string[]): {
  readonly archives: readonly string[];
  readonly channel: string;
} {
  const archives = words.slice(0, -1);
  const channel = words.at(-1);
  const isArchive = channel !== undefined && /\.(?:conda|tar\.bz2)$/.test(channel);
  if (channel !== undefined && archives.length > 0 && !isArchive) return { archives, channel };
  if (isArchive) {
    throw new FerryError('USAGE', `the last word is the channel, and \`${channel}\` is an archive`, {
      hint: 'write conda-ferry push ARCHIVE... CHANNEL',
    });
  }
  throw new FerryError('USAGE', 'push needs at least one archive, and then the channel', {
    hint: 'write conda-ferry push ARCHIVE... CHANNEL',
  });
}

function printReport(output: Output, report: PushReport, flags: OutputFlags): void {
  const { published, failed, subdirs, dryRun } = report;
  if (flags.quiet !== true) {
    for (const { subdir, filename, status, digest, size } of published) {
      const word = dryRun && status !== 'there' ? `would be ${WORDS[status]}` : WORDS[status];
      printLine(output, `${subdir}/${filename}, ${formatBytes(size)}: ${word}`);
      if (status !== 'there') printLine(output, `  ${digest}`);
    }
  }
  for (const { path, error } of failed) printError(output, error, { about: path });
  if (flags.quiet === true) return;
  if (published.length > 0) printLine(output);
  for (const { subdir, records } of subdirs)
    printLine(output, `${subdir}: ${count(records, 'archive')} listed`);
  const done = published.filter(({ status }) => status !== 'there').length;
  const verb = dryRun ? 'would be published' : 'published';
  const there = published.length - done;
  const parts = [
    `${String(done)} ${verb}`,
    ...(there > 0 ? [`${String(there)} there already`] : []),
    ...(failed.length > 0 ? [`${String(failed.length)} failed`] : []),
  ];
  printLine(output, `${parts.join(', ')}: ${report.channel}`);
}

function jsonOf({ failed, ...report }: PushReport): object {
  return {
    ...report,
    failed: failed.map(({ path, filename, error, findings }) => ({
      path,
      filename,
      code: error.code,
      message: error.message,
      hint: error.hint,
      findings,
    })),
  };
}

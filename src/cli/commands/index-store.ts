/** `index` of a channel in a registry or in image layouts. */
import { indexChannel, type IndexReport, type SubdirIndex } from '../../publish/index-store/index-channel.js';
import { readPatches } from '../../publish/read-patches.js';
import type { CommandContext } from '../context.js';
import type { Location } from '../locations.js';
import { readLines } from '../text-file.js';
import type { LocationFlags } from '../options.js';
import {
  count,
  formatTable,
  printError,
  printJson,
  printLine,
  say,
  type Output,
  type OutputFlags,
} from '../output.js';
import { Session } from '../session.js';

/** Archives that are named one by one, in each subdir. */
const SHOWN = 20;

/** The flags of `index` that concern a channel in a store. */
export interface IndexStoreFlags extends LocationFlags, Pick<OutputFlags, 'json'> {
  readonly subdir?: readonly string[];
  /** File of patch instructions. */
  readonly patch?: string;
  readonly fromArtifacts?: boolean;
  readonly force?: boolean;
  /** File of package names. */
  readonly names?: string;
  readonly companions: boolean;
  readonly concurrency: number;
}

/**
 * Indexes a channel in a store, and says what became of each subdir. Exits with 1 where archives cannot be listed.
 * @throws FerryError as `indexChannel` and `readPatches` do
 */
export async function indexStoreCommand(
  location: Location,
  flags: IndexStoreFlags,
  context: CommandContext,
): Promise<void> {
  const { output, signal } = context;
  await using session = new Session(context, flags);
  const store = session.openStoredChannel(location, 'destination');
  const report = await indexChannel({
    store,
    workers: session.workers,
    subdirs: flags.subdir,
    patches: flags.patch === undefined ? undefined : await readPatches(flags.patch, { signal }),
    fromArtifacts: flags.fromArtifacts,
    force: flags.force,
    names: flags.names === undefined ? undefined : await readLines(flags.names, context),
    companions: flags.companions,
    concurrency: flags.concurrency,
    reporter: {
      warning: (message) => {
        say(output, `warning: ${message}`);
      },
    },
    signal,
  });
  if (flags.json === true) printJson(output, jsonOf(report));
  else printReport(output, report);
  if (report.subdirs.some(({ failed }) => failed.length > 0)) context.setExitCode(1);
}

function printReport(output: Output, { channel, subdirs, companions }: IndexReport): void {
  const header = ['subdir', 'records', 'new', 'gone', 'rewritten', 'failed', 'compacted', ''];
  const rows = subdirs.map((subdir) => [
    subdir.subdir,
    ...[
      subdir.records,
      subdir.added.length,
      subdir.dropped.length,
      subdir.rewritten.length,
      subdir.failed.length,
      subdir.compacted,
    ].map(String),
    subdir.isChanged ? 'written' : 'as it was',
  ]);
  for (const line of formatTable([header, ...rows], [1, 2, 3, 4, 5, 6])) printLine(output, line);
  for (const subdir of subdirs) printChanges(output, subdir);
  for (const { subdir, failed } of subdirs)
    for (const { filename, error } of failed) printError(output, error, { about: `${subdir}/${filename}` });
  printLine(output);
  if (companions.length > 0) printLine(output, `written too: ${companions.join(', ')}`);
  const records = subdirs.reduce((total, subdir) => total + subdir.records, 0);
  printLine(output, `indexed: ${channel}, ${count(records, 'record')}`);
}

function printChanges(output: Output, { subdir, added, dropped }: SubdirIndex): void {
  for (const [word, filenames] of [
    ['new', added],
    ['gone', dropped],
  ] as const) {
    for (const filename of filenames.slice(0, SHOWN)) printLine(output, `${word}: ${subdir}/${filename}`);
    const more = filenames.length - SHOWN;
    if (more > 0) printLine(output, `${word}: ${String(more)} more in ${subdir}; --json names them all`);
  }
}

function jsonOf({ subdirs, ...report }: IndexReport): object {
  return {
    ...report,
    subdirs: subdirs.map(({ failed, ...subdir }) => ({
      ...subdir,
      failed: failed.map(({ filename, error }) => ({ filename, code: error.code, message: error.message })),
    })),
  };
}

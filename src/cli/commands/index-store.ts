/** `index` of a channel in a registry or in image layouts. */
import { indexChannel, type IndexReport, type SubdirIndex } from '../../publish/index-store/index-channel.js';
import { isPackageName } from '../../conda/grammar.js';
import { FerryError, isSystemError } from '../../errors.js';
import { readPatches, type PatchSource } from '../../publish/read-patches.js';
import type { CommandContext } from '../context.js';
import type { Location } from '../locations.js';
import { checkStdin, readLines } from '../text-file.js';
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
  checkStdin([flags.names], flags);
  const names = flags.names === undefined ? undefined : await readNames(flags.names, context);
  const patches = flags.patch === undefined ? undefined : await readPatchFile(flags.patch, signal);
  await using session = new Session(context, flags);
  const store = session.openStoredChannel(location, 'destination');
  const report = await indexChannel({
    store,
    workers: session.workers,
    subdirs: flags.subdir,
    patches,
    fromArtifacts: flags.fromArtifacts,
    force: flags.force,
    names,
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

/** @throws FerryError `USAGE` */
async function readNames(path: string, context: CommandContext): Promise<readonly string[]> {
  const names = await readLines(path, context);
  const odd = names.find((name) => !isPackageName(name));
  if (odd === undefined) return names;
  throw new FerryError('USAGE', `\`--names ${path}\` has \`${odd}\`, which is no package name`, {
    hint: 'write the name of a package on each line, such as zlib',
  });
}

/** @throws FerryError as `readPatches`, and `USAGE` where there is no such file */
async function readPatchFile(path: string, signal: AbortSignal): Promise<PatchSource> {
  try {
    return await readPatches(path, { signal });
  } catch (cause) {
    if (!isSystemError(cause, 'ENOENT', 'EISDIR', 'EACCES', 'ENOTDIR')) throw cause;
    throw new FerryError('USAGE', `\`${path}\` cannot be read`, { cause });
  }
}

function printReport(output: Output, { channel, subdirs, companions }: IndexReport): void {
  const header = ['subdir', 'records', 'new', 'gone', 'rewritten', 'failed', 'compacted', ''];
  const rows = subdirs.map((subdir) => [
    subdir.subdir,
    ...[
      subdir.records,
      subdir.added.length,
      subdir.dropped.length + subdir.removed.length,
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
  for (const file of companions) printLine(output, `written too: ${file}`);
  const records = subdirs.reduce((total, subdir) => total + subdir.records, 0);
  printLine(output, `indexed: ${channel}, ${count(records, 'record')}`);
}

function printChanges(output: Output, { subdir, added, dropped, removed }: SubdirIndex): void {
  for (const [word, filenames] of [
    ['new', added],
    ['gone', dropped],
    ['removed by patches', removed],
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
      failed: failed.map(({ filename, error: { code, message, hint } }) => ({
        filename,
        code,
        message,
        hint,
      })),
    })),
  };
}

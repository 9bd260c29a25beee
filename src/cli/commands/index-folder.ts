/** `index ./folder`: an ordinary channel that is a folder. */
import {
  indexFolder,
  type IndexedSubdir,
  type IndexFolderReport,
} from '../../publish/folder/index-folder.js';
import { readPatches } from '../../publish/read-patches.js';
import type { CommandContext } from '../context.js';
import { count, formatTable, printJson, printLine, say, type Output, type OutputFlags } from '../output.js';
import { Session } from '../session.js';

/** Failed archives that are named one by one, in each subdir. */
const FAILED_SHOWN = 20;

/** The flags of `index` that concern a folder. */
export interface IndexFolderFlags extends Pick<OutputFlags, 'json'> {
  readonly subdir?: readonly string[];
  /** File of patch instructions. */
  readonly patch?: string;
  readonly force?: boolean;
}

/**
 * Indexes the channel in a folder, and says what became of each subdir. Exits with 1 where archives are left out.
 * @throws FerryError as `indexFolder` and `readPatches` do
 */
export async function indexFolderCommand(
  folder: string,
  flags: IndexFolderFlags,
  context: CommandContext,
): Promise<void> {
  const { output, signal } = context;
  await using session = new Session(context, {});
  const patches = flags.patch === undefined ? undefined : await readPatches(flags.patch, { signal });
  const report = await indexFolder({
    folder,
    subdirs: flags.subdir,
    patches,
    force: flags.force,
    workers: session.workers,
    signal,
  });
  if (flags.json === true) printJson(output, report);
  else printReport(output, report);
  if (report.subdirs.some(({ failed }) => failed.length > 0)) context.setExitCode(1);
}

function printReport(output: Output, { channel, subdirs }: IndexFolderReport): void {
  const header = ['subdir', 'records', 'new', 'gone', 'removed', 'failed', ''];
  const rows = subdirs.map((subdir) => [
    subdir.subdir,
    ...[subdir.records, subdir.added, subdir.gone, subdir.removed, subdir.failed.length].map(String),
    subdir.changed ? 'written' : 'as it was',
  ]);
  for (const line of formatTable([header, ...rows], [1, 2, 3, 4, 5])) printLine(output, line);
  for (const subdir of subdirs) sayFaults(output, subdir);
  const records = subdirs.reduce((total, subdir) => total + subdir.records, 0);
  printLine(output);
  printLine(output, `indexed: ${channel}, ${count(records, 'record')}`);
}

function sayFaults(output: Output, { subdir, failed, warnings }: IndexedSubdir): void {
  for (const { filename, code, message } of failed.slice(0, FAILED_SHOWN))
    say(output, `left out: ${subdir}/${filename}: ${message} [${code}]`);
  const more = failed.length - FAILED_SHOWN;
  if (more > 0) say(output, `left out: ${String(more)} more in ${subdir}; --json names them all`);
  for (const warning of warnings) say(output, `warning: ${subdir}: ${warning}`);
}

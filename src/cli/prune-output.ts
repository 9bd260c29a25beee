import type { PruneReport } from '../mirror/prune/apply-prune.js';
import type { PrunePlan, StayingArchive, SubdirPrunePlan } from '../mirror/prune/plan-document.js';
import { formatDuration } from './duration.js';
import { count, formatBytes, formatTable, printLine, type Output, type OutputFlags } from './output.js';

/** Archives that are named one by one, in each subdir. */
const SHOWN = 10;

const REASONS: Readonly<Record<StayingArchive['reason'], string>> = {
  grace: 'not unlisted for long enough',
  generation: 'listed by a generation that can be gone back to',
  pinned: 'pinned',
  removed: 'removed by the source; --removed deletes them',
  failed: 'listed by the source, and to be mirrored again',
};

/** Prints what a prune would do. */
export function printPrunePlan(output: Output, plan: PrunePlan, flags: OutputFlags): void {
  const header = ['subdir', 'to delete', 'rewrite', 'free', 'stay', 'not there', 'generations', 'sidecars'];
  const rows = plan.subdirs.map((subdir) => [
    subdir.subdir,
    String(archivesOf(subdir).length),
    String(subdir.artifacts.filter(({ stays }) => stays !== undefined).length),
    formatBytes(bytesOf(subdir)),
    String(subdir.stays.length),
    String(subdir.forget.length),
    String(generationsOf(subdir)),
    String(subdir.sidecars.length),
  ]);
  for (const line of formatTable([header, ...rows], [1, 2, 3, 4, 5, 6, 7])) printLine(output, line);
  for (const subdir of plan.subdirs) printSubdir(output, subdir, flags);
  printLine(output);
  const { grace, keep_generations: kept } = plan.policy;
  const newest = kept === 1 ? 'newest generation lists' : `newest ${String(kept)} generations list`;
  printLine(output, `grace ${formatDuration(grace)}; what the ${newest} stays`);
  const firstSeen = plan.subdirs.reduce((total, subdir) => total + subdir.firstSeen.length, 0);
  if (firstSeen > 0) {
    printLine(
      output,
      `${count(firstSeen, 'archive')} unlisted since nobody knows when: the time counts from now,`,
    );
    printLine(output, 'once this plan is carried out');
  }
  printLine(output, `nothing was deleted in ${plan.channel}; --yes or --apply does that`);
}

function printSubdir(output: Output, subdir: SubdirPrunePlan, flags: OutputFlags): void {
  const archives = archivesOf(subdir);
  const shown = flags.verbose === true ? archives : archives.slice(0, SHOWN);
  if (shown.length > 0) printLine(output);
  for (const { filename, size, since } of shown) {
    printLine(output, `delete: ${subdir.subdir}/${filename}`);
    printLine(output, `  ${formatBytes(size)}, not listed since ${since.slice(0, 10)} or longer`);
  }
  const more = archives.length - shown.length;
  if (more > 0)
    printLine(output, `delete: ${String(more)} more in ${subdir.subdir}; --verbose and --json name them all`);
  if (subdir.stays.length > 0) printLine(output);
  for (const [reason, words] of Object.entries(REASONS)) {
    const stays = subdir.stays.filter((archive) => archive.reason === reason);
    if (stays.length === 0) continue;
    printLine(output, `stay in ${subdir.subdir}: ${count(stays.length, 'archive')}, ${words}`);
    if (flags.verbose !== true) continue;
    for (const { filename, until } of stays) {
      printLine(output, `  ${filename}${until === undefined ? '' : ` until ${until.slice(0, 10)}`}`);
    }
  }
  for (const warning of subdir.warnings) printLine(output, `warning: ${warning}`);
}

/** Prints what a prune did. */
export function printPruneReport(output: Output, report: PruneReport, plan: PrunePlan): void {
  const header = ['subdir', 'deleted', 'rewritten', 'free', 'left', 'stay', 'generations', 'sidecars'];
  const rows = report.subdirs.map((subdir) => [
    subdir.subdir,
    String(subdir.deleted.length),
    String(subdir.rewritten),
    formatBytes(subdir.bytes),
    String(subdir.left.length),
    String(subdir.stays),
    String(subdir.generations),
    String(subdir.sidecars),
  ]);
  for (const line of formatTable([header, ...rows], [1, 2, 3, 4, 5, 6, 7])) printLine(output, line);
  for (const { subdir, left } of report.subdirs) {
    for (const { filename, message } of left) {
      printLine(output);
      printLine(output, `left: ${subdir}/${filename}`);
      printLine(output, `  ${message}`);
    }
  }
  printLine(output);
  const emptied = report.subdirs.flatMap((subdir) => subdir.emptied);
  if (emptied.length > 0) {
    printLine(
      output,
      `without any tag now: ${count(emptied.length, 'repository').replace('repositorys', 'repositories')}`,
    );
    for (const name of emptied.slice(0, SHOWN)) printLine(output, `  ${name}`);
    if (emptied.length > SHOWN) printLine(output, `  and ${String(emptied.length - SHOWN)} more`);
  }
  const deleted = report.subdirs.reduce((total, subdir) => total + subdir.deleted.length, 0);
  const bytes = report.subdirs.reduce((total, subdir) => total + subdir.bytes, 0);
  const free = deleted === 0 ? '' : ` (${formatBytes(bytes)})`;
  printLine(
    output,
    `deleted in ${plan.channel}: ${deleted === 0 ? 'nothing' : count(deleted, 'archive')}${free}`,
  );
}

function archivesOf({
  artifacts,
}: SubdirPrunePlan): PrunePlan['subdirs'][number]['artifacts'][number]['archives'] {
  return artifacts.flatMap(({ archives }) => archives);
}

function bytesOf({ artifacts }: SubdirPrunePlan): number {
  return artifacts.reduce((total, { bytes }) => total + bytes, 0);
}

function generationsOf({ generations }: SubdirPrunePlan): number {
  return generations.reduce((total, { tags }) => total + tags.length, 0);
}

/** The run of all subdirs together: archives move subdir by subdir, and what they are listed in is made current at the end. */
import { CopyError, isFerryError } from '../errors.js';
import { carryChannelFiles } from './channel-files.js';
import { moveCompanions, type RememberedCompanions } from './companions/carry-companion.js';
import { prepareOne } from './prepare.js';
import type { RunContext } from './run-context.js';
import { SubdirRun } from './subdir-run.js';
import type { SubdirWork } from './subdir-work.js';

/** How often a subdir is planned anew because somebody else published there meanwhile. */
const MAX_REPLANS = 3;

/** Moves archives subdir by subdir; then all that is published is made ready, and made current back to back. */
export async function runAll(
  works: readonly SubdirWork[],
  isWhole: boolean,
  context: RunContext,
): Promise<{ readonly runs: ReadonlyMap<string, SubdirRun>; readonly companions: RememberedCompanions }> {
  const runs = new Map<string, SubdirRun>();
  let failure: { readonly error: unknown } | undefined;
  for (const work of works) {
    if (work.status !== 'planned') {
      if (work.status !== 'absent') for (const warning of work.warnings) context.reporter.warning?.(warning);
      continue;
    }
    if (failure !== undefined || context.stop?.aborted === true) break;
    context.signal?.throwIfAborted();
    for (const warning of work.warnings) context.reporter.warning?.(warning);
    const run = new SubdirRun(work, context);
    runs.set(work.subdir, run);
    try {
      runs.set(work.subdir, await withReplans(run, context, (current) => current.transfer()));
    } catch (error) {
      failure = { error };
    }
  }
  if (failure === undefined) return { runs, companions: await publishAll(works, runs, isWhole, context) };
  // What is there is worth publishing, unless that is what failed.
  if (isWorthPublishing(failure.error, context)) {
    try {
      await publishAll(works, runs, isWhole, context);
      for (const run of runs.values()) await run.finish();
    } catch {
      // Of two failures the first one tells more, and the next run publishes what is there.
    }
  }
  throw failure.error;
}

async function publishAll(
  works: readonly SubdirWork[],
  runs: Map<string, SubdirRun>,
  isWhole: boolean,
  context: RunContext,
): Promise<RememberedCompanions> {
  const takeAll = async (step: (run: SubdirRun) => Promise<void>): Promise<void> => {
    for (const [subdir, run] of runs) runs.set(subdir, await withReplans(run, context, step));
  };
  await takeAll((run) => run.push());
  const ofChannel = await carryChannelFiles(works, runs, isWhole, context);
  await takeAll((run) => run.moveCompanions());
  await moveCompanions(context.store, ofChannel.moves, context);
  await takeAll((run) => run.move());
  return ofChannel.companions;
}

/**
 * Takes a step of a run; where somebody else has published meanwhile, the subdir is looked at and planned anew, and all
 * steps up to this one are taken again.
 */
async function withReplans(
  run: SubdirRun,
  context: RunContext,
  step: (run: SubdirRun) => Promise<void>,
): Promise<SubdirRun> {
  let current = run;
  for (let replans = 0; ; replans += 1) {
    try {
      await (replans === 0 ? step(current) : current.run());
      return current;
    } catch (error) {
      if (!isFerryError(error, 'TAG_MOVED') || replans === MAX_REPLANS) throw error;
      context.reporter.warning?.(
        `${current.work.subdir}: somebody else has published meanwhile; planned again`,
      );
      const work = await prepareOne(current.work.subdir, context);
      if (work.status !== 'planned') throw error;
      current = new SubdirRun(work, context, current);
    }
  }
}

function isWorthPublishing(error: unknown, context: RunContext): boolean {
  if (context.signal?.aborted === true || isFerryError(error, 'INTERNAL')) return false;
  return (
    isFerryError(error) &&
    !(error instanceof CopyError && error.side === 'destination') &&
    error.code !== 'TAG_MOVED'
  );
}

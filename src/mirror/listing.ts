/** What a subdir lists and what it keeps beside, by what a run has come to, or by what it is foreseen to come to. */
import type { SubdirContents } from './companions/fit-companion.js';
import { composeRepodata, type ComposeOptions, type Composition } from './compose.js';
import type { RunResult } from './run-result.js';
import type { PlannedWork } from './subdir-work.js';

/** Makes the repodata to publish. */
export async function composeListing(
  { snapshot, published, foreign }: PlannedWork,
  result: RunResult,
  options: Pick<ComposeOptions, 'temp'>,
): Promise<Composition> {
  return composeRepodata(
    {
      snapshot,
      isThere: (filename) => result.isThere(filename),
      foreign: published === undefined ? undefined : { repodata: published.repodata, filenames: foreign },
    },
    options,
  );
}

/** Archives that stay although they are not listed: file name to identity. */
export function keptArchives({ plan, foreign }: PlannedWork, result: RunResult): ReadonlyMap<string, string> {
  const kept = new Map<string, string>();
  for (const [filename, identity] of plan.before)
    if (result.keeps(filename) && !foreign.has(filename)) kept.set(filename, identity);
  for (const filename of [...result.heldBack(), ...plan.unlisted])
    if (result.isStored(filename)) kept.set(filename, plan.identity(filename) ?? '');
  return kept;
}

/** What the files beside the repodata have to fit. */
export function contentsOf(
  { subdir, plan, foreign, published }: PlannedWork,
  result: RunResult,
  { unchanged, kept }: Pick<SubdirContents, 'unchanged' | 'kept'>,
): SubdirContents {
  const identity = (filename: string): string | undefined =>
    result.isThere(filename)
      ? plan.identity(filename)
      : foreign.has(filename)
        ? published?.repodata.identity(filename)
        : undefined;
  const listed = { get: identity, has: (filename: string) => identity(filename) !== undefined };
  return { subdir, unchanged, listed, kept };
}

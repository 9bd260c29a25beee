/**
 * The merge mark: an annotation on the manifest of published repodata that says which operations of the log are in it.
 * Repodata and mark move with one tag, so that they cannot disagree, whoever is killed or overtaken.
 */
import { z } from 'zod';
import type { Annotations } from '../oci/descriptor.js';
import { isOperationTag } from './operation-log.js';

const MERGE_MARK = 'io.conda-ferry.merged';

const markSchema = z.looseObject({
  /** How often the log was compacted before. */
  epoch: z.int().nonnegative(),
  /** Tags of operations that are merged, and may be in the log still; sorted. */
  operations: z.array(z.string().refine(isOperationTag)),
  /** Revisions of archives by file name, where they are not what the listing alone says: 0 of listed ones, 1 of removed ones. */
  revisions: z.record(z.string(), z.int().nonnegative()),
  /** The history tag that this state goes on from, if there is one. */
  generation: z.string().optional(),
});

/** What is merged. Shape: `{ epoch: 0, operations: ['op-20261121t073509123z-0a1b2c3d4e5f'], revisions: {} }`. */
export type MergeMark = z.infer<typeof markSchema>;

/** Of repodata that no operation went into. */
export const NOTHING_MERGED: MergeMark = { epoch: 0, operations: [], revisions: {} };

/** Reads the mark of a manifest; nothing is merged where there is none, or none that can be read: to merge again does no harm. */
export function readMergeMark(annotations: Annotations): MergeMark {
  const text = annotations[MERGE_MARK];
  if (text === undefined) return NOTHING_MERGED;
  try {
    return markSchema.parse(JSON.parse(text));
  } catch (error) {
    if (error instanceof z.ZodError || error instanceof SyntaxError) return NOTHING_MERGED;
    throw error;
  }
}

/** Writes the annotation: the same text for the same mark. */
export function mergeMarkAnnotation(mark: MergeMark): Annotations {
  const revisions = Object.fromEntries(Object.entries(mark.revisions).sort(([a], [b]) => (a < b ? -1 : 1)));
  const { epoch, generation } = mark;
  const sorted = { epoch, operations: mark.operations.toSorted(), revisions };
  return {
    [MERGE_MARK]: JSON.stringify(generation === undefined ? sorted : { ...sorted, generation }),
  };
}

import type { PublishedAs } from '../report.js';

/** What the repodata of a subdir is after a run. */
export const PUBLISHED_WORDS: Readonly<Record<PublishedAs, string>> = {
  unchanged: "the source's",
  spliced: 'rewritten',
  kept: 'as it was',
  nothing: 'not at the source',
};

const LEFT_OUT_WORDS: Readonly<Record<string, string>> = {
  excluded: 'excluded',
  'not-included': 'not included',
  'older-than-latest': 'older than the latest',
  'before-since': 'too old',
  'too-young': 'too young',
  'too-large': 'too large',
  'not-locked': 'not locked',
  undistributable: 'undistributable',
};

/** What filters left out, in words: `older than the latest` for `older-than-latest`. */
export function describeLeftOut(why: string): string {
  return Object.hasOwn(LEFT_OUT_WORDS, why) ? (LEFT_OUT_WORDS[why] ?? why) : why;
}

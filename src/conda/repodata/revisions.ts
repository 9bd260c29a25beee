import { editObject } from './json-members.js';
import { OPEN_BRACE } from './json-bytes.js';

/** What a revision holds: how many records, and their first and last indexing. */
export interface RevisionCount {
  readonly count: number;
  /** In milliseconds; `undefined` where no record tells. */
  readonly newest: number | undefined;
  readonly oldest: number | undefined;
}

/**
 * Brings `info.repodata_revisions` in line with what is listed after filtering. What it does not state is not added, and the
 * message stays.
 * @param value such as `{"v3":{"message":"…","n_packages":2,"newest":5,"oldest":3}}`
 * @param holds what the result holds of a revision
 * @returns `undefined` where it stays as it is
 * @see CEP 48
 */
export function reviseRevisions(
  value: Uint8Array,
  holds: (revision: string) => RevisionCount | 'same' | 'gone',
): Uint8Array | undefined {
  if (value[0] !== OPEN_BRACE) return undefined;
  return editObject(value, ({ key, start, valueStart, end }) => {
    const held = holds(key);
    if (held === 'same') return 'kept';
    if (held === 'gone') return 'dropped';
    const revision = value.subarray(valueStart, end);
    if (revision[0] !== OPEN_BRACE) return 'kept';
    const numbers = new Map<string, number | undefined>([
      ['n_packages', held.count],
      ['newest', held.newest],
      ['oldest', held.oldest],
    ]);
    const revised = editObject(revision, (member) => {
      if (!numbers.has(member.key)) return 'kept';
      const text = String(numbers.get(member.key) ?? null);
      const before = revision.subarray(member.start, member.valueStart);
      return Buffer.concat([before, Buffer.from(text)]);
    });
    return revised === undefined ? 'kept' : Buffer.concat([value.subarray(start, valueStart), revised]);
  });
}

/** Part of a list, and where the next part is. */
export interface ListPage {
  readonly items: readonly string[];
  /** Value of a `Link` header, such as `</v2/a/tags/list?n=2&last=1.0>; rel="next"`; `undefined` for the last part. */
  readonly link: string | undefined;
}

const NUMBER = /^\d{1,9}$/;

/**
 * The part of a sorted list that `n` and `last` of the query ask for; all of it without them. `last` need not be in the list.
 * @param path of the list, for the link
 * @returns `undefined` where `n` is no number
 * @see distribution-spec v1.1.1, "Listing Tags"
 */
export function pageOf(
  sorted: readonly string[],
  path: string,
  query: URLSearchParams,
): ListPage | undefined {
  const n = query.get('n');
  if (n !== null && !NUMBER.test(n)) return undefined;
  const last = query.get('last') ?? '';
  // Nothing is before the empty text.
  const start = last === '' ? 0 : countUpTo(sorted, last);
  const items = sorted.slice(start, n === null ? undefined : start + Number(n));
  const end = items.at(-1);
  if (end === undefined || n === null || start + items.length >= sorted.length)
    return { items, link: undefined };
  return { items, link: `<${path}?n=${n}&last=${encodeURIComponent(end)}>; rel="next"` };
}

/** How many of a sorted list are not behind `last`. */
function countUpTo(sorted: readonly string[], last: string): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] ?? '') <= last) low = middle + 1;
    else high = middle;
  }
  return low;
}

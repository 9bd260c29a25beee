/**
 * Makes the reader of history tags, which name a moment in UTC.
 * @param pattern with one group each for year, month, day, hour, minute and second
 */
export function historyTagReader(pattern: RegExp): (tag: string) => Date | undefined {
  return (tag) => {
    const [year, month, day, hour, minute, second] = (pattern.exec(tag) ?? []).slice(1);
    if (second === undefined) return undefined;
    const text = `${String(year)}-${String(month)}-${String(day)}T${String(hour)}:${String(minute)}:${second}.000Z`;
    const time = new Date(text);
    // `Date` takes February 30th for March 2nd.
    return Number.isNaN(time.getTime()) || time.toISOString() !== text ? undefined : time;
  };
}

/** Every form that history tags were ever written in, in the order they are tried. */
const FORMS: readonly { readonly read: (tag: string) => Date | undefined; readonly added: string }[] = [
  { read: historyTagReader(/^(\d{4})\.(\d\d)\.(\d\d)\.(\d\d)\.(\d\d)\.(\d\d)$/), added: '' },
  // What conda-oci-mirror wrote: to the minute.
  { read: historyTagReader(/^(\d{4})\.(\d\d)\.(\d\d)\.(\d\d)\.(\d\d)\.(\d\d)$/), added: '.00' },
  { read: historyTagReader(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/), added: '' },
];

/**
 * Reads a history tag of any schema and age: `2026.11.21.07.35.09`, `2026.11.21.07.35`, `20261121T073509Z`; `undefined`
 * for any other tag.
 * @see v0/D7, v1/R8
 */
export function parseAnyHistoryTag(tag: string): Date | undefined {
  for (const { read, added } of FORMS) {
    const time = read(tag + added);
    if (time !== undefined) return time;
  }
  return undefined;
}

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

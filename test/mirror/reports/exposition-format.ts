/** A series of a metrics file. */
export interface Series {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A metrics file, read. */
export interface Metrics {
  readonly types: ReadonlyMap<string, string>;
  readonly series: readonly Series[];
}

/**
 * Reads Prometheus' text format 0.0.4, and refuses what its parser, `promtool check metrics` or the textfile collector do:
 * a metric in two places, HELP or TYPE twice or behind its series, a series twice, unknown escapes, time stamps, names
 * whose ending does not fit the type, no line feed at the end.
 * @see https://prometheus.io/docs/instrumenting/exposition_formats/
 */
export function readMetrics(text: string): Metrics {
  if (text !== '' && !text.endsWith('\n')) throw new Error('no line feed at the end');
  const types = new Map<string, string>();
  const helps = new Set<string>();
  const finished = new Set<string>();
  const seen = new Set<string>();
  const series: Series[] = [];
  let current = '';
  const enter = (name: string): void => {
    if (name === current) return;
    if (finished.has(name)) throw new Error(`${name} stands in two places`);
    if (current !== '') finished.add(current);
    current = name;
  };
  for (const line of text.split('\n').slice(0, -1)) {
    const comment = /^# (?<kind>HELP|TYPE) (?<name>[a-zA-Z_:][a-zA-Z0-9_:]*) (?<rest>.+)$/.exec(line)?.groups;
    if (comment !== undefined) {
      const { kind = '', name = '', rest = '' } = comment;
      enter(name);
      if (series.some((one) => one.name === name)) throw new Error(`${kind} behind the series of ${name}`);
      if (kind === 'HELP') {
        if (helps.has(name)) throw new Error(`HELP twice: ${name}`);
        if (/\\(?![\\n])/.test(rest)) throw new Error(`bad escape: ${line}`);
        helps.add(name);
      } else {
        if (types.has(name)) throw new Error(`TYPE twice: ${name}`);
        if (!/^(?:gauge|counter)$/.test(rest)) throw new Error(`unknown type: ${line}`);
        if ((rest === 'counter') !== name.endsWith('_total')) throw new Error(`${name} is no ${rest}`);
        types.set(name, rest);
      }
      continue;
    }
    const one = readSeries(line);
    enter(one.name);
    if (!types.has(one.name) || !helps.has(one.name)) throw new Error(`without TYPE or HELP: ${line}`);
    const key = JSON.stringify([one.name, Object.entries(one.labels).sort()]);
    if (seen.has(key)) throw new Error(`twice: ${line}`);
    seen.add(key);
    series.push(one);
  }
  for (const name of types.keys())
    if (!series.some((one) => one.name === name)) throw new Error(`${name} has no series`);
  return { types, series };
}

function readSeries(line: string): Series {
  const {
    name,
    labels = '',
    value,
  } = /^(?<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?<labels>.*)\})? (?<value>[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?)$/u.exec(
    line,
  )?.groups ?? {};
  if (name === undefined) throw new Error(`no series: ${line}`);
  const pattern = /(?<label>[a-zA-Z_][a-zA-Z0-9_]*)="(?<text>(?:[^"\\]|\\[\\"n])*)"(?:,|$)/uy;
  const read: Record<string, string> = {};
  while (pattern.lastIndex < labels.length) {
    const { label, text } = pattern.exec(labels)?.groups ?? {};
    if (label === undefined || text === undefined) throw new Error(`bad labels: ${line}`);
    if (label.startsWith('__') || Object.hasOwn(read, label)) throw new Error(`bad label ${label}: ${line}`);
    read[label] = text.replace(/\\(.)/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped));
  }
  return { name, labels: read, value: Number(value) };
}

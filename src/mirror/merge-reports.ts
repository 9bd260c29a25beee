import { compareText } from '../io/compare-text.js';
import type { MirrorReport, PackageTotal, SubdirReport } from './report.js';

/** The report of runs that followed each other as one: what was there was there at the first, and what is listed is the last's. */
export function mergeReports(first: MirrorReport, second: MirrorReport): MirrorReport {
  const later = new Map(second.subdirs.map((report) => [report.subdir, report]));
  const earlier = new Set(first.subdirs.map(({ subdir }) => subdir));
  return {
    ...second,
    startedAt: first.startedAt,
    subdirs: [
      ...first.subdirs.map((report) => mergeSubdirs(report, later.get(report.subdir))),
      ...second.subdirs.filter(({ subdir }) => !earlier.has(subdir)),
    ],
  };
}

function mergeSubdirs(first: SubdirReport, second: SubdirReport | undefined): SubdirReport {
  // Nothing changed, and what a run that does nothing knows is less.
  if (second === undefined || (second.publishedAs === 'kept' && second.added + second.untried === 0))
    return { ...first, ...(second === undefined ? {} : { failed: second.failed, untried: 0 }) };
  return {
    ...second,
    publishedAs: second.publishedAs === 'kept' ? first.publishedAs : second.publishedAs,
    there: first.there,
    added: first.added + second.added,
    addedBytes: first.addedBytes + second.addedBytes,
    artifacts: first.artifacts + second.artifacts,
    replaced: union(first.replaced, second.replaced),
    displaced: union(first.displaced, second.displaced),
    packages: mergeTotals(first.packages, second.packages),
    gone: first.gone + second.gone,
    warnings: union(first.warnings, second.warnings),
  };
}

function mergeTotals(
  first: readonly PackageTotal[],
  second: readonly PackageTotal[],
): readonly PackageTotal[] {
  const totals = new Map<string, PackageTotal>();
  for (const { name, archives, bytes } of [...first, ...second]) {
    const before = totals.get(name);
    totals.set(name, {
      name,
      archives: archives + (before?.archives ?? 0),
      bytes: bytes + (before?.bytes ?? 0),
    });
  }
  return [...totals.values()].sort((a, b) => b.bytes - a.bytes || compareText(a.name, b.name));
}

function union(first: readonly string[], second: readonly string[]): readonly string[] {
  return [...new Set([...first, ...second])].sort(compareText);
}

import type { RecordDetails } from '../../conda/record-details.js';

/** These are not built for a Python: each version series is one. */
const PYTHONS: readonly string[] = ['python', 'python_abi', 'cpython'];

/**
 * The Python that a record was built for, as far as it matters for who can install it: `3.11`, `3.13t` (free-threaded),
 * `pypy3.9`; `noarch`; a constraint as written where it is open, as with the stable ABI; `''` where there is none.
 */
export function pythonVariantOf(record: RecordDetails): string {
  if (record.noarch !== undefined || record.listedIn === 'noarch') return 'noarch';
  if (PYTHONS.includes(record.name)) return seriesOf(record.version, record.build);
  const abi = constraintOf('python_abi', record.depends);
  if (abi !== undefined) {
    const [version = '', build = ''] = abi.split(/\s+/);
    return seriesOf(version, build);
  }
  const python = constraintOf('python', record.depends);
  if (python === undefined) return '';
  return closedSeriesOf(python) ?? `python ${python}`.trimEnd();
}

/** What stands behind a name in the first dependency on it: `>=3.11,<3.12.0a0` of `python >=3.11,<3.12.0a0`. */
function constraintOf(name: string, depends: readonly string[]): string | undefined {
  for (const dependency of depends) {
    if (!dependency.startsWith(name)) continue;
    const rest = dependency.slice(name.length);
    if (/^(?:$|[\s=<>!~])/.test(rest)) return rest.trim();
  }
  return undefined;
}

/** `3.13t` of version `3.13.* ` and build `*_cp313t`; the build tells the implementation, and whether it has threads. */
function seriesOf(version: string, build: string): string {
  const { implementation, major, minor, threads } =
    /(?:^|_)(?<implementation>cp|pypy)(?<major>\d)(?<minor>\d+)(?<threads>t?)(?:_|$)/.exec(build)?.groups ??
    {};
  if (implementation === undefined) return /\d+\.\d+/.exec(version)?.[0] ?? version;
  return `${implementation === 'cp' ? '' : 'pypy'}${major ?? ''}.${minor ?? ''}${threads ?? ''}`;
}

/** The one minor series that a constraint allows, if it is one. */
function closedSeriesOf(constraint: string): string | undefined {
  const exact = /^={0,2}(?<series>\d+\.\d+)(?![\d|])[^|,]*$/.exec(constraint)?.groups?.['series'];
  if (exact !== undefined) return exact;
  const bounds = /^>=(\d+)\.(\d+)[^,|]*,<(\d+)\.(\d+)(?:\.0)?(?:a0)?(?:\s|$)/.exec(constraint);
  if (bounds === null) return undefined;
  const [major = 0, minor = 0, nextMajor = 0, nextMinor = 0] = bounds.slice(1).map(Number);
  return major === nextMajor && nextMinor === minor + 1 ? `${String(major)}.${String(minor)}` : undefined;
}

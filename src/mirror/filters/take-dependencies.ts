/**
 * The closure of dependencies over repodata, without a solver: every record that meets a dependency of a wanted one is
 * wanted too, so that whatever a solver picks is there.
 */
import type { RecordDetails } from '../../conda/record-details.js';
import { isFerryError } from '../../errors.js';
import type { CallOptions } from '../../oci/storage.js';
import { isVirtual, type DependencyGraph } from './dependency-graph.js';
import type { Filters } from './filters.js';
import { NewestVersions } from './newest-versions.js';
import type { RecordJudge } from './record-judge.js';
import type { SubdirRecords } from './select-records.js';
import type { LeftOutReason, SelectionDraft } from './selection.js';
import { asksFor, parseWrittenSpec, type WrittenSpec } from './spec-list.js';

/** What {@link takeDependencies} works with. */
export interface DependencyInput {
  readonly subdirs: readonly SubdirRecords[];
  /** By subdir; what is wanted of each for its own sake is in them already. */
  readonly drafts: ReadonlyMap<string, SelectionDraft>;
  readonly judge: RecordJudge;
  readonly graph: DependencyGraph;
  readonly filters: Filters;
}

/** A record that is wanted, or may be. */
interface Candidate {
  readonly record: RecordDetails;
  /** Why it is not wanted for its own sake. */
  readonly leftOut: LeftOutReason | undefined;
}

interface SubdirCandidates {
  readonly byName: Map<string, Candidate[]>;
  readonly roots: Candidate[];
}

/** Which platforms a virtual package says it is of, by how their subdirs begin. */
const PLATFORMS: Readonly<Record<string, readonly string[]>> = {
  __linux: ['linux-'],
  __osx: ['osx-'],
  __win: ['win-'],
  __unix: ['linux-', 'osx-', 'freebsd-', 'emscripten-', 'wasi-'],
};

/** Takes what the wanted records depend on, and notes what nobody provides. */
export async function takeDependencies(
  input: DependencyInput,
  { signal }: Pick<CallOptions, 'signal'>,
): Promise<void> {
  const candidates = await readCandidates(input, signal);
  const selected = input.subdirs.map(({ subdir }) => subdir);
  const platforms = selected.filter((subdir) => subdir !== 'noarch');
  const taken = new Set<Candidate>();
  // What a client sees is its platform and noarch; a noarch record has to find its dependencies on each of them.
  for (const platform of platforms.length > 0 ? platforms : selected) {
    const seen = [...new Set([platform, 'noarch'])].flatMap((subdir) => candidates.get(subdir) ?? []);
    const draft = input.drafts.get(platform);
    if (draft !== undefined) closeOver(platform, seen, draft, taken, input, signal);
  }
  for (const { record, leftOut } of taken) {
    if (leftOut !== undefined) input.drafts.get(record.listedIn)?.bringIn(leftOut, record.filename);
  }
}

/** Reads again what can matter: the wanted records, and all that may be taken of the names that they can need. */
async function readCandidates(
  { subdirs, drafts, judge, graph }: DependencyInput,
  signal: AbortSignal | undefined,
): Promise<ReadonlyMap<string, SubdirCandidates>> {
  const wanted = [...drafts.values()].flatMap((draft) => [...draft.wanted]);
  const reachable = graph.reachableFrom(wanted);
  const texts = new Map<string, string>();
  const found = new Map<string, SubdirCandidates>();
  for (const { subdir, details } of wanted.length === 0 ? [] : subdirs) {
    const draft = drafts.get(subdir);
    const byName = new Map<string, Candidate[]>();
    const roots: Candidate[] = [];
    found.set(subdir, { byName, roots });
    for await (const record of details({ signal })) {
      signal?.throwIfAborted();
      if (draft === undefined) continue;
      const name = record.name.toLowerCase();
      const isRoot = draft.wanted.has(record.filename);
      if (!isRoot) {
        if (!reachable.has(name) || judge.whyNever(record) !== undefined) continue;
        if (judge.isTooYoung(record, draft)) continue;
      }
      const leftOut = isRoot ? undefined : (judge.whyNotAsked(record) ?? 'older-than-latest');
      // Of a million dependencies a tenth are different.
      const depends = record.depends.map((text) => texts.get(text) ?? (texts.set(text, text), text));
      const candidate = { record: { ...record, depends }, leftOut };
      if (isRoot) roots.push(candidate);
      const known = byName.get(name);
      if (known === undefined) byName.set(name, [candidate]);
      else known.push(candidate);
    }
  }
  return found;
}

/** Adds to `taken` whatever one platform needs. */
function closeOver(
  platform: string,
  seen: readonly SubdirCandidates[],
  draft: SelectionDraft,
  taken: Set<Candidate>,
  { graph, filters }: DependencyInput,
  signal: AbortSignal | undefined,
): void {
  const reached = new Set<Candidate>();
  // How many there are that meet a dependency, by its text: each is looked for once.
  const met = new Map<string, number>();
  const open: Candidate[] = [];
  const reach = (candidate: Candidate): void => {
    if (reached.has(candidate)) return;
    reached.add(candidate);
    open.push(candidate);
  };
  for (const candidate of seen.flatMap(({ roots }) => roots)) {
    if (fitsPlatform(candidate.record, platform)) reach(candidate);
  }
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    signal?.throwIfAborted();
    taken.add(next);
    for (const text of next.record.depends) {
      const name = graph.nameOf(text);
      if (name !== undefined && isVirtual(name)) continue;
      let count = met.get(text);
      if (count === undefined) {
        const spec = readDependency(text);
        const matching = seen
          .flatMap(({ byName }) => (name === undefined ? [] : (byName.get(name) ?? [])))
          .filter(({ record }) => spec === undefined || asksFor(spec, record))
          .filter(({ record }) => fitsPlatform(record, platform));
        const newest = newestOf(matching, filters);
        newest.forEach(reach);
        count = newest.length;
        met.set(text, count);
      }
      if (count === 0) draft.miss(text, next.record.filename);
    }
  }
}

/** Of those that meet a dependency the newest versions, by subdir: where old ones are asked for, the newest old ones. */
function newestOf(matching: readonly Candidate[], { latest }: Filters): readonly Candidate[] {
  if (latest === undefined) return matching;
  const bySubdir = new Map<string, NewestVersions>();
  for (const { record } of matching) {
    const known = bySubdir.get(record.listedIn);
    const newest = known ?? new NewestVersions(latest);
    if (known === undefined) bySubdir.set(record.listedIn, newest);
    newest.add(record);
  }
  const filenames = new Map([...bySubdir].map(([subdir, newest]) => [subdir, new Set(newest.filenames())]));
  return matching.filter(({ record }) => filenames.get(record.listedIn)?.has(record.filename) === true);
}

/** A dependency that cannot be read is taken for its name alone: rather too much than something that does not install. */
function readDependency(text: string): WrittenSpec | undefined {
  try {
    return parseWrittenSpec(text);
  } catch (error) {
    if (!isFerryError(error)) throw error;
    return undefined;
  }
}

/** Whether a record can be installed on a platform at all, as far as virtual packages tell: `__win` is not on Linux. */
function fitsPlatform({ depends }: RecordDetails, platform: string): boolean {
  if (platform === 'noarch') return true;
  return depends.every((text) => {
    const beginnings = text.startsWith('__') ? PLATFORMS[text.split(/[\s=<>!~]/, 1)[0] ?? ''] : undefined;
    return beginnings === undefined || beginnings.some((beginning) => platform.startsWith(beginning));
  });
}

import type { Quarantined } from '../artifact/ledger.js';
import type { RepodataRecord } from '../conda/package-record.js';
import { compareText } from '../io/compare-text.js';
import type { SettledArchive } from './executor.js';
import type { PlanItem, SubdirPlan } from './plan.js';
import { quarantinedOf } from './quarantine.js';
import type { Failure, MirrorReporter, PackageTotal } from './report.js';

/** What the run of one subdir has come to so far. */
export class RunResult {
  addedBytes = 0;
  artifacts = 0;
  readonly #plan: SubdirPlan;
  readonly #reporter: MirrorReporter;
  /** Archives that were not there, or not with these bytes, and now are. */
  readonly #added = new Set<string>();
  /** Archives whose bytes took the place of others under the same name. */
  readonly #replaced = new Set<string>();
  /** Archives that made room for their twins. */
  readonly #displaced = new Set<string>();
  /** Archives that were there and are no longer. */
  readonly #lost = new Set<string>();
  /** Archives that must not be listed although they may be there. */
  readonly #heldBack = new Set<string>();
  /** Archives whose tags are in an unknown state. */
  readonly #uncertain = new Set<string>();
  readonly #packages = new Map<string, { archives: number; bytes: number }>();
  readonly #failed: Failure[] = [];
  #assumesAll = false;
  readonly #quarantine: Quarantined[] = [];

  constructor(plan: SubdirPlan, reporter: MirrorReporter) {
    this.#plan = plan;
    this.#reporter = reporter;
    for (const { filename, code, message } of plan.invalid) this.fail({ filename, code, message });
  }

  /** Archives that are new. */
  get added(): number {
    return this.#added.size;
  }

  /** Listed archives that are there by now. */
  get there(): number {
    const listed = (filenames: Iterable<string>): number =>
      [...filenames].filter((filename) => !this.#plan.unlisted.has(filename)).length;
    return this.#plan.there + listed(this.#added) - listed(this.#lost) - listed(this.heldBack());
  }

  /** What was added of each package, largest first. */
  get packages(): readonly PackageTotal[] {
    return [...this.#packages]
      .map(([name, total]) => ({ name, ...total }))
      .sort((a, b) => b.bytes - a.bytes || compareText(a.name, b.name));
  }

  /** File names, sorted, of archives whose bytes took the place of others under the same name. */
  get replaced(): readonly string[] {
    return [...this.#replaced].sort(compareText);
  }

  /** File names, sorted, of archives that made room for their twins. @see v1/P6 */
  get displaced(): readonly string[] {
    return [...this.#displaced].sort(compareText);
  }

  get failed(): readonly Failure[] {
    return this.#failed.toSorted(byFilename);
  }

  get quarantine(): readonly Quarantined[] {
    return this.#quarantine.toSorted(byFilename);
  }

  /** Tells whether an archive can be listed: it is there, with the bytes that its record names. */
  isThere(filename: string): boolean {
    return !this.#heldBack.has(filename) && this.isStored(filename);
  }

  /** Takes it that all that is wanted arrives, as a plan does. */
  assumeAll(): void {
    this.#assumesAll = true;
  }

  /** Tells whether an archive is there, whether it can be listed or not. */
  isStored(filename: string): boolean {
    if (this.#assumesAll) return this.#plan.identity(filename) !== undefined;
    if (this.#added.has(filename)) return true;
    return this.#plan.isThere(filename) && !this.#lost.has(filename);
  }

  /** Whether an archive that was there before stays, unlisted. */
  keeps(filename: string): boolean {
    return !this.isThere(filename) && !this.#uncertain.has(filename) && !this.#added.has(filename);
  }

  /** Takes in what became of one tag. */
  add({ displaced }: PlanItem, outcomes: readonly SettledArchive[]): void {
    const { subdir } = this.#plan;
    if (outcomes.some(({ outcome }) => outcome === 'added')) {
      this.artifacts += 1;
      if (displaced !== undefined) this.#displaced.add(displaced);
    }
    if (displaced !== undefined && outcomes.some(mayHaveWritten)) this.#uncertain.add(displaced);
    for (const result of outcomes) {
      const { filename } = result.record;
      if (result.outcome === 'failed') {
        const { code, message } = result;
        const failure = { filename, code, message };
        if (result.mayHaveWritten) this.#uncertain.add(filename);
        this.#added.delete(filename);
        if (this.#plan.isThere(filename)) this.#lost.add(filename);
        this.fail(failure, result.record);
      } else if (!this.isStored(filename)) {
        // An archive that was there was only read again for its twin's sake.
        this.#added.add(filename);
        if (this.#plan.before.has(filename)) this.#replaced.add(filename);
        this.addedBytes += result.size;
        const { name } = result.record;
        const { archives, bytes } = this.#packages.get(name) ?? { archives: 0, bytes: 0 };
        this.#packages.set(name, { archives: archives + 1, bytes: bytes + result.size });
        this.#reporter.archive?.({ subdir, filename, bytes: result.size });
      }
    }
  }

  /** Notes that nobody waited for the end of an item: what is under its tag is not known. */
  abandon({ add, displaced }: PlanItem): void {
    for (const { filename } of add) {
      this.#uncertain.add(filename);
      if (this.#plan.isThere(filename)) this.#lost.add(filename);
    }
    if (displaced !== undefined) this.#uncertain.add(displaced);
  }

  /** Notes that an archive cannot be mirrored this time. */
  fail(failure: Failure, record?: RepodataRecord): void {
    this.#failed.push(failure);
    this.#quarantine.push(quarantinedOf(failure, record));
    // What was unusable from the start was never counted as something to move.
    if (record === undefined) return;
    const { subdir } = this.#plan;
    this.#reporter.archive?.({ subdir, filename: failure.filename, bytes: record.size ?? 0, failure });
  }

  /** Notes that an archive must not be listed, whether it is there or not. */
  holdBack(failure: Failure, record: RepodataRecord | undefined, attestationsSha256?: string): void {
    this.#heldBack.add(failure.filename);
    this.#failed.push(failure);
    this.#quarantine.push(quarantinedOf(failure, record, attestationsSha256));
  }

  /** Archives that are there, and must not be listed. */
  *heldBack(): Generator<string> {
    for (const filename of this.#heldBack) if (this.isStored(filename)) yield filename;
  }
}

function mayHaveWritten(result: SettledArchive): boolean {
  return result.outcome === 'added' || result.mayHaveWritten;
}

function byFilename(a: { readonly filename: string }, b: { readonly filename: string }): number {
  return a.filename < b.filename ? -1 : 1;
}

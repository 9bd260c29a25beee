/** An archive that the store may lack. */
export interface FillableArchive {
  readonly subdir: string;
  readonly filename: string;
  /** Lower-case hex, where the record tells it. */
  readonly sha256?: string | undefined;
  /** In bytes. */
  readonly size?: number | undefined;
}

/** Limits and times of a {@link FillList}. */
export interface FillListOptions {
  /** Archives that may wait; beyond that the oldest are forgotten. */
  readonly maxWaiting: number;
  /** How long an archive that cannot be mirrored is not taken again, in milliseconds. */
  readonly refusedMs: number;
  /** When archives that were put are looked at once more, in milliseconds. */
  readonly confirmMs: number;
  readonly now: () => number;
}

/** So many archives are remembered to be there, or to be refused; what is forgotten is found out again. */
const MAX_REMEMBERED = 100_000;

interface Waiting {
  readonly archive: FillableArchive;
  readonly sinceMs: number;
}

/** Archives on their way into the store: what waits, what was put and is to be confirmed, what is known. */
export class FillList {
  readonly #options: FillListOptions;
  readonly #waiting = new Map<string, Waiting>();
  readonly #unconfirmed = new Map<string, { readonly archive: FillableArchive; readonly dueMs: number }>();
  readonly #there = new Set<string>();
  readonly #refused = new Map<string, number>();
  #lastNoteMs = Number.NEGATIVE_INFINITY;
  #forgotten = 0;

  constructor(options: FillListOptions) {
    this.#options = options;
  }

  /** Archives that wait. */
  get size(): number {
    return this.#waiting.size;
  }

  /** Archives that were forgotten because too many waited. */
  get forgotten(): number {
    return this.#forgotten;
  }

  /** When the last archive came, in milliseconds of the clock. */
  get lastNoteMs(): number {
    return this.#lastNoteMs;
  }

  /** Takes an archive in, unless it is known. @returns how many were forgotten for it; `undefined` if it need not wait */
  note(archive: FillableArchive): number | undefined {
    const key = keyOf(archive);
    const now = this.#options.now();
    if (this.#there.has(key) || this.#unconfirmed.has(key) || this.#waiting.has(key)) return undefined;
    if ((this.#refused.get(key) ?? Number.NEGATIVE_INFINITY) > now) return undefined;
    this.#waiting.set(key, { archive, sinceMs: now });
    this.#lastNoteMs = now;
    const before = this.#forgotten;
    for (const oldest of this.#waiting.keys()) {
      if (this.#waiting.size <= this.#options.maxWaiting) break;
      this.#waiting.delete(oldest);
      this.#forgotten += 1;
    }
    return this.#forgotten - before;
  }

  /** Subdirs of which anything waits or is to be confirmed, each with when the first of that came or is due. */
  subdirs(): ReadonlyMap<string, SubdirNeed> {
    const needs = new Map<string, { count: number; firstMs: number; confirmMs: number }>();
    const needOf = (subdir: string): { count: number; firstMs: number; confirmMs: number } => {
      const known = needs.get(subdir) ?? {
        count: 0,
        firstMs: Number.POSITIVE_INFINITY,
        confirmMs: Number.POSITIVE_INFINITY,
      };
      needs.set(subdir, known);
      return known;
    };
    for (const { archive, sinceMs } of this.#waiting.values()) {
      const need = needOf(archive.subdir);
      need.count += 1;
      need.firstMs = Math.min(need.firstMs, sinceMs);
    }
    for (const { archive, dueMs } of this.#unconfirmed.values()) {
      const need = needOf(archive.subdir);
      need.confirmMs = Math.min(need.confirmMs, dueMs);
    }
    return needs;
  }

  /** What waits of some subdirs, oldest first, at most so many. */
  waiting(subdirs: ReadonlySet<string>, max: number): readonly FillableArchive[] {
    const found: FillableArchive[] = [];
    for (const { archive } of this.#waiting.values()) {
      if (found.length === max) break;
      if (subdirs.has(archive.subdir)) found.push(archive);
    }
    return found;
  }

  /** What was put into a subdir and is to be looked at once more. */
  unconfirmed(subdir: string): readonly FillableArchive[] {
    return [...this.#unconfirmed.values()].map(({ archive }) => archive).filter((it) => it.subdir === subdir);
  }

  /** Notes that an archive is listed in the store. */
  confirm(archive: FillableArchive): void {
    const key = keyOf(archive);
    this.#waiting.delete(key);
    this.#unconfirmed.delete(key);
    this.#there.add(key);
    trim(this.#there);
  }

  /** Notes that an archive was put; somebody else may have taken it off the list at the same moment. */
  put(archive: FillableArchive): void {
    const key = keyOf(archive);
    this.#waiting.delete(key);
    this.#unconfirmed.set(key, { archive, dueMs: this.#options.now() + this.#options.confirmMs });
  }

  /** Has an archive that was put and is not there wait again. */
  retry(archive: FillableArchive): void {
    const key = keyOf(archive);
    this.#unconfirmed.delete(key);
    this.#waiting.set(key, { archive, sinceMs: this.#options.now() });
  }

  /** Notes that an archive cannot be mirrored for now. */
  refuse(archive: FillableArchive): void {
    const key = keyOf(archive);
    this.#waiting.delete(key);
    this.#refused.delete(key);
    this.#refused.set(key, this.#options.now() + this.#options.refusedMs);
    trim(this.#refused);
  }
}

/** What a subdir waits for. */
export interface SubdirNeed {
  /** Archives that wait. */
  readonly count: number;
  /** When the first of them came. */
  readonly firstMs: number;
  /** When the first that was put is to be looked at again. */
  readonly confirmMs: number;
}

function keyOf({ subdir, filename, sha256 = '' }: FillableArchive): string {
  return `${subdir}/${filename}#${sha256}`;
}

/** Forgets the oldest. */
function trim(remembered: Set<string> | Map<string, unknown>): void {
  for (const key of remembered.keys()) {
    if (remembered.size <= MAX_REMEMBERED) return;
    remembered.delete(key);
  }
}

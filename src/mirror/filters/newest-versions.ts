import type { RecordDetails } from '../../conda/record-details.js';
import { compareVersions } from '../../conda/version-order.js';
import type { Filters } from './filters.js';
import { pythonVariantOf } from './python-variant.js';

interface VersionBuilds {
  readonly version: string;
  readonly filenames: string[];
}

/**
 * The newest versions of each name, or of each name and Python variant, with all their builds: build numbers say which
 * build is preferred, not which is obsolete (variants for MPI or CUDA differ in it), so none is left out for its number.
 * What is not among the newest is let go at once, so memory holds what is taken only.
 */
export class NewestVersions {
  readonly #count: number;
  readonly #perVariant: boolean;
  /** Newest first. */
  readonly #groups = new Map<string, VersionBuilds[]>();

  constructor({ count, perVariant }: NonNullable<Filters['latest']>) {
    this.#count = count;
    this.#perVariant = perVariant;
  }

  /** Takes a record. @returns file names that are not among the newest any more, or that never were */
  add(record: RecordDetails): readonly string[] {
    const name = record.name.toLowerCase();
    const key = this.#perVariant ? `${name} ${pythonVariantOf(record)}` : name;
    const versions = this.#groups.get(key) ?? [];
    if (versions.length === 0) this.#groups.set(key, versions);
    const { version, filename } = record;
    const oldest = versions.length >= this.#count ? versions.at(-1)?.version : undefined;
    // Most records of a large channel are old ones.
    if (oldest !== undefined && compareVersions(version, oldest) < 0) return [filename];
    for (const [index, known] of versions.entries()) {
      // `1.0` and `1` are one version.
      const order = compareVersions(version, known.version);
      if (order < 0) continue;
      if (order === 0) {
        known.filenames.push(filename);
        return [];
      }
      versions.splice(index, 0, { version, filenames: [filename] });
      return versions.length > this.#count ? (versions.pop()?.filenames ?? []) : [];
    }
    versions.push({ version, filenames: [filename] });
    return [];
  }

  /** File names of all that are among the newest. */
  *filenames(): Generator<string> {
    for (const versions of this.#groups.values()) for (const { filenames } of versions) yield* filenames;
  }
}

import { parseArchiveFilename } from '../../conda/names.js';
import type { RecordDetails } from '../../conda/record-details.js';
import { nameAskedFor } from './spec-list.js';

/** Virtual packages are what a machine has, such as `__glibc`. @see CEP 26 */
const VIRTUAL_PREFIX = '__';

/**
 * Which names depend on which names, whatever the versions: small even for the largest channels, and enough to say whose
 * records need not be looked at.
 */
export class DependencyGraph {
  readonly #names = new Map<string, Set<string>>();
  /** The same texts come again and again. */
  readonly #read = new Map<string, string | undefined>();

  /** Takes note of a record's dependencies. */
  add(record: RecordDetails): void {
    const name = record.name.toLowerCase();
    const known = this.#names.get(name);
    const dependencies = known ?? new Set<string>();
    if (known === undefined) this.#names.set(name, dependencies);
    for (const text of record.depends) {
      const dependency = this.nameOf(text);
      if (dependency !== undefined && !isVirtual(dependency)) dependencies.add(dependency);
    }
  }

  /** The name that a dependency asks for; `undefined` where it cannot be told. */
  nameOf(text: string): string | undefined {
    if (!this.#read.has(text)) this.#read.set(text, nameAskedFor(text));
    return this.#read.get(text);
  }

  /** All names that can be needed by archives with these file names, directly or not. */
  reachableFrom(filenames: Iterable<string>): ReadonlySet<string> {
    const roots = new Set<string>();
    for (const filename of filenames) roots.add(parseArchiveFilename(filename).name.toLowerCase());
    const reachable = new Set<string>();
    const open = [...roots];
    for (let name = open.pop(); name !== undefined; name = open.pop()) {
      for (const dependency of this.#names.get(name) ?? []) {
        if (reachable.has(dependency)) continue;
        reachable.add(dependency);
        if (!roots.has(dependency)) open.push(dependency);
      }
    }
    return reachable;
  }
}

/** Tells whether a name is that of a virtual package. */
export function isVirtual(name: string): boolean {
  return name.startsWith(VIRTUAL_PREFIX);
}

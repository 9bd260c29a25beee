import type { ArchiveExtension } from '../names.js';

/** A part of the repodata that holds records of archives. */
export interface Section {
  /** As a path of keys, such as `packages.conda` or `v3.tar.bz2`. */
  readonly name: string;
  readonly extension: ArchiveExtension;
  /** Whether it is one of CEP 48, whose keys have no extension. */
  readonly isRevision: boolean;
}

/** The revision whose sections are read. @see CEP 48 */
export const KNOWN_REVISION = 'v3';

/** All sections; a record's section is its index here, the classic ones first. @see CEP 36, CEP 48 */
export const SECTIONS: readonly Section[] = [
  { name: 'packages', extension: 'tar.bz2', isRevision: false },
  { name: 'packages.conda', extension: 'conda', isRevision: false },
  { name: `${KNOWN_REVISION}.tar.bz2`, extension: 'tar.bz2', isRevision: true },
  { name: `${KNOWN_REVISION}.conda`, extension: 'conda', isRevision: true },
];

/** Index of the section of that name, -1 where it is none. */
export function sectionIndex(name: string): number {
  return SECTIONS.findIndex((section) => section.name === name);
}

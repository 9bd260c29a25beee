import { isArchiveFilename, isSubdir } from '../../conda/names.js';
import { compareText } from '../../io/compare-text.js';
import { redactUrl } from '../../io/redact.js';

/** An archive that a lock file names. */
export interface LockedArchive {
  /** Such as `zlib-1.2.11-h7b6447c_3.conda`. */
  readonly filename: string;
  /** The folder that the URL names, such as `noarch`; not the platform that it was locked for. */
  readonly subdir: string;
  /** Lower-case hex, without an algorithm. */
  readonly sha256?: string | undefined;
  /** Lower-case hex. */
  readonly md5?: string | undefined;
  /** Where the lock file has it from, without secrets. */
  readonly url: string;
  /** The URL without subdir and file name, such as `https://conda.anaconda.org/conda-forge`. */
  readonly channel?: string | undefined;
}

/** What lock files want. */
export interface LockedArchives {
  /** By subdir and file name. Two may share these where lock files disagree on the hash: both are wanted. */
  readonly archives: readonly LockedArchive[];
  /** What they name besides and no conda channel has. */
  readonly ignored: {
    /** Python packages from PyPI and the like. */
    readonly pypi: number;
    /** Source packages, local files, and archives that lie in no channel. */
    readonly elsewhere: number;
  };
}

/** The hashes of an entry as it tells them. */
export interface LockedHashes {
  readonly sha256?: string | undefined;
  readonly md5?: string | undefined;
}

/**
 * Reads an archive's place out of its URL, such as
 * `https://conda.anaconda.org/conda-forge/linux-64/zlib-1.2.11-h7b6447c_3.conda`.
 * @returns `undefined` where that is no place in a channel
 */
export function readLockedUrl(text: string, hashes: LockedHashes): LockedArchive | undefined {
  // `c:` is a drive.
  if (!/^[a-z][a-z0-9+.-]+:/i.test(text) || !URL.canParse(text)) return undefined;
  const { pathname } = new URL(text);
  const parts = pathname.split('/');
  const filename = decodeComponent(parts.pop() ?? '');
  const subdir = parts.pop() ?? '';
  if (!isSubdir(subdir) || filename === undefined || !isArchiveFilename(filename)) return undefined;
  const url = redactUrl(text);
  return { filename, subdir, ...hashes, url, channel: url.split('/').slice(0, -2).join('/') };
}

/** Makes one of many: whatever any of them wants is wanted. The order of the parts does not show. */
export function uniteLocks(locks: readonly LockedArchives[]): LockedArchives {
  const archives = new Map<string, LockedArchive>();
  for (const archive of locks.flatMap((lock) => lock.archives)) {
    const key = lockedKey(archive);
    const known = archives.get(key);
    // Of several places of one archive always the same is told.
    if (known === undefined || compareText(archive.url, known.url) < 0) archives.set(key, archive);
  }
  return {
    archives: [...archives].sort(([a], [b]) => compareText(a, b)).map(([, archive]) => archive),
    ignored: {
      pypi: locks.reduce((sum, { ignored }) => sum + ignored.pypi, 0),
      elsewhere: locks.reduce((sum, { ignored }) => sum + ignored.elsewhere, 0),
    },
  };
}

/** What tells locked archives apart: `noarch/a-1-0.conda#sha256:…`, `…#md5:…`, or no hash where none is told. */
export function lockedKey({ subdir, filename, sha256, md5 }: LockedArchive): string {
  const hash = sha256 === undefined ? (md5 === undefined ? '' : `#md5:${md5}`) : `#sha256:${sha256}`;
  return `${subdir}/${filename}${hash}`;
}

/**
 * Tells whether a record's bytes are those that were locked: by sha256, else by md5. An entry without a hash, as in old
 * explicit lists, takes whatever has the name; one whose hash the record does not tell is not satisfied by it.
 */
export function isLockedHash(archive: LockedArchive, record: LockedHashes): boolean {
  if (archive.sha256 !== undefined && record.sha256 !== undefined) return archive.sha256 === record.sha256;
  if (archive.md5 !== undefined && record.md5 !== undefined) return archive.md5 === record.md5;
  return archive.sha256 === undefined && archive.md5 === undefined;
}

function decodeComponent(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

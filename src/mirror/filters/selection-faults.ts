import type { LockedArchive } from '../../provenance/lock-files/locked-archives.js';
import type { Refused } from '../wanted-records.js';
import type { Selection } from './selection.js';

/** Unmet dependencies that are named one by one. */
const MAX_UNMET = 10;

/**
 * Locked archives that cannot be had: the source does not list them, or with other bytes. What a lock file has from another
 * channel is no fault of this one.
 * @param source the channel's URL
 */
export function lockFaults({ lockMissing, lockMismatches }: Selection, source: string): readonly Refused[] {
  const missing = lockMissing
    .filter((locked) => isOfChannel(locked, source))
    .map(({ filename }): Refused => ({
      filename,
      code: 'NOT_FOUND',
      message: 'it is locked, and the source does not list it',
    }));
  const others = lockMismatches.map(({ locked, found }): Refused => {
    const { filename, sha256, md5 } = locked;
    const expected = sha256 === undefined ? `md5:${md5 ?? '?'}` : `sha256:${sha256}`;
    const message = `it is locked as ${expected}, and the source lists ${found ?? 'no hash'}`;
    return { filename, code: 'DIGEST_MISMATCH', message };
  });
  return [...missing, ...others];
}

/** Dependencies that nothing at the source meets, in words. */
export function unmetWarnings(subdir: string, { unmet }: Selection): readonly string[] {
  const lines = unmet.slice(0, MAX_UNMET).map(({ spec, neededBy, count }) => {
    const others = count > 1 ? ` and ${String(count - 1)} more` : '';
    return `${subdir}: nothing that may be taken meets \`${spec}\`, which \`${neededBy}\`${others} asks for`;
  });
  const more = unmet.length - lines.length;
  return more === 0 ? lines : [...lines, `${subdir}: ${String(more)} more dependencies are unmet`];
}

/** Mirrors of a channel have its name, whatever their host. */
function isOfChannel({ channel }: LockedArchive, source: string): boolean {
  return channel === undefined || lastPart(channel) === lastPart(source);
}

function lastPart(url: string): string | undefined {
  return url.replace(/\/+$/, '').split('/').at(-1);
}

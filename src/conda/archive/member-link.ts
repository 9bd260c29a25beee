import { FerryError } from '../../errors.js';
import { parseMemberPath, shorten } from './member-path.js';
import type { TarMember } from './tar-member.js';

/**
 * The target of a symlink or hard link as it stands; `what` names the member in errors.
 * @throws FerryError `ARCHIVE_LINK_UNSAFE` where no link can have it
 */
export function checkLinkTarget(member: TarMember, what: string): string {
  const target = member.linkTarget;
  if (target === '') throw badLink(what, target, 'is empty');
  if (target.includes('\ufffd') || target.includes('\0'))
    throw badLink(what, target, 'is not UTF-8 or contains a NUL');
  return target;
}

/**
 * The path that a hard link names, as components from the root of the package.
 * @throws FerryError `ARCHIVE_LINK_UNSAFE`
 */
export function parseHardLink(member: TarMember, what: string): readonly string[] {
  const target = checkLinkTarget(member, what);
  try {
    return parseMemberPath(target, what);
  } catch (cause) {
    throw badLink(what, target, 'is not safe', cause);
  }
}

/** The error for a link that is not taken. */
export function badLink(what: string, target: string, why: string, cause?: unknown): FerryError {
  const message = `${shorten(what)} is a link to \`${shorten(target)}\`, which ${why}`;
  return new FerryError('ARCHIVE_LINK_UNSAFE', message, { cause });
}

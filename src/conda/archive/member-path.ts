import { FerryError } from '../../errors.js';
import { limitExceeded, MAX_PATH_BYTES, MAX_PATH_DEPTH } from './limits.js';

const DRIVE_PATTERN = /^[a-z]:/i;

/**
 * Parses a member's path into its components: `./info/index.json` into `info`, `index.json`. `.` and repeated or
 * trailing slashes fall away; `.` alone has no components. A back slash is a character of the name, as on Linux, but
 * nothing is taken that would leave the folder on Windows either. `what` names the member in errors.
 * @throws FerryError `ARCHIVE_PATH_UNSAFE` (absolute, `..`, drive letter, NUL, empty), `ARCHIVE_LIMIT_EXCEEDED`
 */
export function parseMemberPath(path: string, what: string): readonly string[] {
  if (path === '') throw unsafe(what, 'it is empty');
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) {
    throw limitExceeded(`the path of ${shorten(what)} has more than ${String(MAX_PATH_BYTES)} bytes`);
  }
  if (path.includes('\0')) throw unsafe(what, 'it contains a NUL');
  if (isAbsolute(path)) throw unsafe(what, 'it is absolute');
  if (path.split(/[/\\]/).includes('..')) throw unsafe(what, 'it contains `..`');
  const components = path.split('/').filter((component) => component !== '' && component !== '.');
  if (DRIVE_PATTERN.test(components[0] ?? '')) throw unsafe(what, 'it is absolute');
  if (components.length > MAX_PATH_DEPTH) {
    throw limitExceeded(`the path of ${shorten(what)} has more than ${String(MAX_PATH_DEPTH)} components`);
  }
  return components;
}

/** Tells whether a path begins at a root, of Linux or of Windows. */
export function isAbsolute(path: string): boolean {
  return path.startsWith('/') || path.startsWith('\\') || DRIVE_PATTERN.test(path);
}

/** The error for a path that is not taken. */
export function unsafe(what: string, why: string): FerryError {
  return new FerryError('ARCHIVE_PATH_UNSAFE', `the path of ${shorten(what)} is not safe: ${why}`);
}

/** Cuts text that an archive chose, and takes line ends and the like out of it, for a message. */
export function shorten(text: string): string {
  const line = text.replace(/\p{Cc}/gu, '\ufffd');
  return line.length > 200 ? `${line.slice(0, 199)}…` : line;
}

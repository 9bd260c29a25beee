import { FerryError, ParseError } from '../errors.js';
import { shorten } from './archive/member-path.js';

/** Names of conda: packages, subdirs, file names. Those of OCI are in `oci/reference.ts`. */

/** The two archive formats, by their extension without the leading dot. @see CEP 35 */
export type ArchiveExtension = 'conda' | 'tar.bz2';

/** What an archive's file name says. */
export interface ArchiveName {
  /** Package name, such as `zlib`. */
  readonly name: string;
  /** Such as `1.2.11`. */
  readonly version: string;
  /** Build string, such as `h7b6447c_3`. */
  readonly build: string;
  readonly extension: ArchiveExtension;
}

/** Longest file name, in characters. @see CEP 26 */
export const MAX_FILENAME_LENGTH = 211;

/** What {@link parseArchiveFilename} takes for the parts of a file name. */
export const FILENAME_PARTS = {
  name: /^[a-z0-9_][a-z0-9_.-]*$/i,
  version: /^[a-z0-9._+!~]+$/i,
  build: /^[a-z0-9_.+]+$/i,
} as const;
const SUBDIR_PATTERN = /^(?:noarch|[a-z0-9]+-[a-z0-9]+)$/;

/** Subdirs to look for where a channel cannot list its own: the platforms that conda knows. */
export const KNOWN_SUBDIRS: readonly string[] = [
  'noarch',
  'linux-64',
  'linux-aarch64',
  'linux-ppc64le',
  'linux-s390x',
  'linux-riscv64',
  'linux-32',
  'linux-armv6l',
  'linux-armv7l',
  'osx-64',
  'osx-arm64',
  'win-64',
  'win-arm64',
  'win-32',
  'emscripten-wasm32',
  'wasi-wasm32',
];

/** Tells whether `subdir` may be one. @see CEP 26 */
export function isSubdir(subdir: string): boolean {
  return subdir.length <= 32 && SUBDIR_PATTERN.test(subdir);
}

/** Makes sure that these may be subdirs, as somebody asked for them. @throws FerryError `USAGE` */
export function checkSubdirs(wanted: readonly string[] | undefined): void {
  const odd = wanted?.find((subdir) => !isSubdir(subdir));
  if (odd === undefined) return;
  throw new FerryError('USAGE', `\`${odd}\` is no subdir such as \`noarch\` or \`linux-64\``);
}

/**
 * Parses `<name>-<version>-<build>.<extension>`, such as `zlib-1.2.11-h7b6447c_3.conda`. Also takes what CEP 26
 * would refuse but old channels hold (upper case, `~`); whether a schema can hold it is the schema's say.
 * @throws ParseError `RECORD_INVALID`
 * @see CEP 26
 */
export function parseArchiveFilename(filename: string): ArchiveName {
  const extension = archiveExtensionOf(filename);
  if (extension === undefined || filename.length > MAX_FILENAME_LENGTH) {
    throw invalid(filename, 'it ends neither in `.conda` nor in `.tar.bz2`, or is too long');
  }
  const parts = filename.slice(0, -extension.length - 1).split('-');
  const build = parts.pop() ?? '';
  const version = parts.pop() ?? '';
  const name = parts.join('-');
  if (!FILENAME_PARTS.name.test(name))
    throw invalid(filename, 'it has no package name, version and build string');
  if (!FILENAME_PARTS.version.test(version)) throw invalid(filename, `\`${shorten(version)}\` is no version`);
  if (!FILENAME_PARTS.build.test(build)) throw invalid(filename, `\`${shorten(build)}\` is no build string`);
  return { name, version, build, extension };
}

/** Tells whether {@link parseArchiveFilename} takes it. */
export function isArchiveFilename(filename: string): boolean {
  try {
    parseArchiveFilename(filename);
    return true;
  } catch {
    return false;
  }
}

/** Writes a file name so that {@link parseArchiveFilename} reads the same. */
export function formatArchiveFilename(archive: ArchiveName): string {
  return `${archive.name}-${archive.version}-${archive.build}.${archive.extension}`;
}

/** Tells the format from the end of a file name, such as `conda` for `zlib-1.2.11-h7b6447c_3.conda`. */
export function archiveExtensionOf(filename: string): ArchiveExtension | undefined {
  if (filename.endsWith('.conda')) return 'conda';
  return filename.endsWith('.tar.bz2') ? 'tar.bz2' : undefined;
}

function invalid(filename: string, why: string): ParseError {
  return new ParseError('RECORD_INVALID', `\`${shorten(filename)}\` is no archive name: ${why}`, filename);
}

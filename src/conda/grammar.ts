import { KNOWN_SUBDIRS, MAX_FILENAME_LENGTH } from './names.js';

/**
 * The names of conda exactly as the standards have them, for judging; `names.ts` reads what real channels hold, which is
 * more. Every pattern has one way to match a text, so that none takes more than linear time.
 */

/** Longest names, in characters. @see CEP 26 */
export const MAX_NAME_LENGTHS = {
  package: 64,
  version: 64,
  build: 64,
  filename: MAX_FILENAME_LENGTH,
  label: 128,
  channelPathComponent: 128,
  channelUrl: 256,
} as const;

/** Largest number that a version may contain. @see CEP 33 */
const MAX_VERSION_NUMBER = 2 ** 31 - 1;

const PACKAGE_NAME_PATTERN = /^(?:[a-z0-9]|_(?![._-]))(?:[._-]?[a-z0-9])*[._-]?$/;
const VIRTUAL_NAME_PATTERN = /^__[a-z0-9](?:[._-]?[a-z0-9])*[._-]?$/;
const BUILD_PATTERN = /^[a-zA-Z0-9_.+]+$/;
const LABEL_PATTERN = /^[a-zA-Z][0-9a-zA-Z_\-./]*$/;
const PATH_COMPONENT_PATTERN = /^[a-z0-9_][a-z0-9_.-]*$/;

/**
 * What may be wrong with a version. `case` (upper case), `dash` and `segment` (an empty one) are only advised against;
 * the others are forbidden.
 */
export type VersionFault =
  'case' | 'characters' | 'dash' | 'epoch' | 'length' | 'local' | 'main' | 'number' | 'segment';

const TOLERATED_FAULTS: readonly VersionFault[] = ['case', 'dash', 'segment'];

/**
 * Tells whether a text is the name of a package that can be an archive, such as `zlib` or `_libgcc_mutex`. Where the
 * pattern of CEP 26 takes more than its words (`_.a`, upper case), the words count.
 * @see CEP 26, "Package names"
 */
export function isPackageName(text: string): boolean {
  return text.length <= MAX_NAME_LENGTHS.package && PACKAGE_NAME_PATTERN.test(text);
}

/** Tells whether a text is the name of a virtual package, such as `__glibc`. @see CEP 26, "Package names" */
export function isVirtualPackageName(text: string): boolean {
  return text.length <= MAX_NAME_LENGTHS.package && VIRTUAL_NAME_PATTERN.test(text);
}

/** Tells whether a text is a build string, such as `h4ab18f5_1`. @see CEP 26, "Build strings" */
export function isBuildString(text: string): boolean {
  return text.length <= MAX_NAME_LENGTHS.build && BUILD_PATTERN.test(text);
}

/**
 * Tells whether a text is a label, such as `dev` or `broken/old`. White space, which the words of CEP 26 allow and its
 * pattern does not, is refused.
 * @see CEP 26, "Label names"
 */
export function isChannelLabel(text: string): boolean {
  return text.length <= MAX_NAME_LENGTHS.label && LABEL_PATTERN.test(text);
}

/** Tells whether a text may stand between two slashes of a channel's URL. @see CEP 26, "Channel base URLs" */
export function isChannelPathComponent(text: string): boolean {
  return text.length <= MAX_NAME_LENGTHS.channelPathComponent && PATH_COMPONENT_PATTERN.test(text);
}

/**
 * Tells whether the last of a path's components, split at `/`, would be taken for a subdir: one that conda knows. By its
 * form alone `conda-forge` would be one.
 * @see CEP 26
 */
export function endsLikeSubdir(path: string): boolean {
  return KNOWN_SUBDIRS.includes(path.slice(path.lastIndexOf('/') + 1));
}

/**
 * Tells whether a text is a version that breaks no rule of CEP 26 and 33, such as `1.2.11`, `1!2.0_rc1` or `2.1+cuda12`.
 * What they only advise against is taken.
 */
export function isVersion(text: string): boolean {
  return versionFaults(text).every((fault) => TOLERATED_FAULTS.includes(fault));
}

/**
 * Says what is wrong with a version, each fault once: `1..2` gives `segment`, `1!2!3` gives `epoch`. A text that is too
 * long is not looked at any further.
 * @see CEP 26, "Version strings"; CEP 33, "Version literals"
 */
export function versionFaults(text: string): readonly VersionFault[] {
  if (text.length > MAX_NAME_LENGTHS.version) return ['length'];
  const faults = new Set<VersionFault>();
  if (!/^[0-9A-Za-z._+!-]+$/.test(text)) faults.add('characters');
  if (/[A-Z]/.test(text)) faults.add('case');
  if (text.includes('-')) faults.add('dash');
  const epochs = text.split('!');
  const [main = '', ...locals] = (epochs.pop() ?? '').split('+');
  if (epochs.length > 1 || epochs.some((epoch) => !/^0*[1-9][0-9]*$/.test(epoch))) faults.add('epoch');
  if (main === '' && text !== '') faults.add('main');
  if (locals.length > 1 || locals.includes('')) faults.add('local');
  if ([main, ...locals].some(hasEmptySegment)) faults.add('segment');
  for (const [digits] of text.matchAll(/[0-9]+/g))
    if (Number(digits) > MAX_VERSION_NUMBER) faults.add('number');
  return [...faults];
}

/** A single underscore at the end belongs to the last segment, as in `1.0.1_`. */
function hasEmptySegment(part: string): boolean {
  if (part === '') return false;
  return part
    .replace(/(?<=[^._-])_$/, '')
    .split(/[._-]/)
    .includes('');
}

import { shorten } from '../../conda/archive/member-path.js';
import {
  endsLikeSubdir,
  isBuildString,
  isChannelLabel,
  isChannelPathComponent,
  isPackageName,
  MAX_NAME_LENGTHS,
  versionFaults,
  type VersionFault,
} from '../../conda/grammar.js';
import { archiveExtensionOf, isSubdir } from '../../conda/names.js';
import type { Breach, CheckLog } from '../check-log.js';
import type { ClauseId } from '../clauses.js';

/** Names of a package to be judged. */
export interface PackageNames {
  readonly name: string;
  readonly version: string;
  readonly build: string;
  readonly subdir?: string | undefined;
  readonly filename?: string | undefined;
  /** Where they stand. */
  readonly where: string;
}

/** A file name taken apart, whatever the parts are. */
export interface FilenameParts {
  readonly name: string;
  readonly version: string;
  readonly build: string;
  /** All but the extension. */
  readonly stem: string;
}

/** Names of a channel to be judged. */
export interface ChannelNames {
  /** The channel's path, such as `conda-forge`, `a/b` or, with its label, `conda-forge/label/dev`. */
  readonly path: string;
  /** Base URL without secrets, where the channel has one. */
  readonly url?: string | undefined;
  readonly where: string;
}

const VERSION_CLAUSES: Readonly<Record<VersionFault, readonly [ClauseId, string]>> = {
  case: ['cep26/version-case', 'lower case only'],
  characters: ['cep26/version', '1 to 64 letters, digits and `.`, `_`, `+`, `!`'],
  dash: ['cep33/version-dash', 'no `-`'],
  epoch: ['cep33/version', 'at most one epoch, a positive number before `!`'],
  length: ['cep26/version', `at most ${String(MAX_NAME_LENGTHS.version)} characters`],
  local: ['cep33/version', 'at most one local version, not empty, behind `+`'],
  main: ['cep33/version', 'a version beside epoch and local version'],
  number: ['cep33/version-number', 'no number beyond 2147483647'],
  segment: ['cep33/version-segment', 'no empty segment'],
};

/** Judges the names of a package by CEP 26 and 33: name, version, build string; subdir and file name where given. */
export function checkNames(
  { name, version, build, subdir, filename, where }: PackageNames,
  log: CheckLog,
): void {
  log.expect('cep26/name', isPackageName(name), () =>
    breach(where, name, '1 to 64 lowercase letters, digits and single `.`, `_`, `-`'),
  );
  checkVersion(version, where, log);
  log.expect('cep26/build', isBuildString(build), () =>
    breach(where, build, '1 to 64 letters, digits and `.`, `_`, `+`'),
  );
  if (subdir !== undefined) checkSubdir(subdir, where, log);
  if (filename !== undefined) checkFilename(filename, where, log);
}

/** Judges a subdir. */
export function checkSubdir(subdir: string, where: string, log: CheckLog): void {
  log.expect('cep26/subdir', isSubdir(subdir), () =>
    breach(where, subdir, '`noarch` or `<os>-<arch>`, at most 32 characters'),
  );
}

/** Judges the shape of a file name, but not its parts. */
export function checkFilename(filename: string, where: string, log: CheckLog): void {
  const isKnown = log.expect('cep26/extension', archiveExtensionOf(filename) !== undefined, () =>
    breach(where, filename, '`.conda` or `.tar.bz2`'),
  );
  const hasParts = !isKnown || splitFilename(filename) !== undefined;
  log.expect('cep26/filename', hasParts && filename.length <= MAX_NAME_LENGTHS.filename, () =>
    breach(where, filename, '`<name>-<version>-<build>.<extension>`, at most 211 characters'),
  );
}

/** Takes a file name apart at its last two dashes; undefined where it is not that of an archive. */
export function splitFilename(filename: string): FilenameParts | undefined {
  const extension = archiveExtensionOf(filename);
  if (extension === undefined) return undefined;
  const stem = filename.slice(0, -extension.length - 1);
  const parts = stem.split('-');
  const build = parts.pop() ?? '';
  const version = parts.pop() ?? '';
  const name = parts.join('-');
  return name === '' || version === '' || build === '' ? undefined : { name, version, build, stem };
}

/** Judges the names of a channel by CEP 26. */
export function checkChannelNames({ path: all, url, where }: ChannelNames, log: CheckLog): void {
  const [channel = '', label] = `/${all}`.split(/\/label\/(.*)/s);
  const path = channel.slice(1);
  const components = path.split('/').filter((component) => component !== '');
  for (const component of components) {
    const holds = log.expect('cep26/channel', isChannelPathComponent(component), () =>
      breach(where, component, 'at most 128 lowercase letters, digits, `_`, and inside `.` and `-`'),
    );
    if (!holds) continue;
    log.expect('cep26/channel-ends', !/^[_.-]|[_.-]$/.test(component), () =>
      breach(where, component, 'a letter or digit at both ends'),
    );
  }
  if (url !== undefined) {
    log.expect('cep26/channel-length', url.length <= MAX_NAME_LENGTHS.channelUrl, () =>
      breach(where, url, 'at most 256 characters'),
    );
  }
  if (label === undefined) {
    log.expect('cep26/channel-subdir', !endsLikeSubdir(path.replace(/\/+$/, '')), () =>
      breach(where, path, 'a last component that is no subdir'),
    );
    return;
  }
  log.expect('cep26/label', isChannelLabel(label), () =>
    breach(where, label, 'a letter, then letters, digits, `_`, `-`, `.`, `/`, at most 128'),
  );
  log.expect('cep26/label-subdir', !endsLikeSubdir(label), () =>
    breach(where, label, 'a last component that is no subdir'),
  );
  log.expect('cep26/label-nolabel', label !== 'nolabel', () =>
    breach(where, label, 'only packages without any label there'),
  );
}

function checkVersion(version: string, where: string, log: CheckLog): void {
  const faults = versionFaults(version);
  const broken = new Map<ClauseId, string>();
  for (const fault of faults) {
    const [clause, expected] = VERSION_CLAUSES[fault];
    if (!broken.has(clause)) broken.set(clause, expected);
  }
  // What is too long was not looked at any further.
  const looked = faults.includes('length') ? broken.keys() : Object.values(VERSION_CLAUSES).map(([id]) => id);
  for (const clause of new Set(looked)) {
    const expected = broken.get(clause);
    log.expect(clause, expected === undefined, () => breach(where, version, expected ?? ''));
  }
}

function breach(where: string, found: string, expected: string): Breach {
  return { where, found: `\`${shorten(found)}\``, expected };
}

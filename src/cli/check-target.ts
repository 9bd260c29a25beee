import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { CheckTarget } from '../conformance/check.js';
import { archiveExtensionOf, isSubdir, KNOWN_SUBDIRS } from '../conda/names.js';
import { FerryError } from '../errors.js';
import { CHANNEL_METADATA, parseArtifactLocation, parseLocation, type Location } from './locations.js';
import type { Session } from './session.js';

/** What `check` is pointed at. */
export interface ParsedCheckTarget {
  readonly target: CheckTarget;
  /** For people. */
  readonly name: string;
  /** Where the location names one. */
  readonly subdirs?: readonly string[] | undefined;
  /** Whether the archives lie on this machine, so that reading them costs little. */
  readonly isLocal: boolean;
}

/**
 * Finds out what a location names: an archive file, an artifact (with tag or digest), a subdir (its last component is
 * one that conda knows), or a channel.
 * @throws FerryError `CHANNEL_INVALID`, `REFERENCE_INVALID`, `NOT_FOUND`
 */
export async function parseCheckTarget(text: string, session: Session): Promise<ParsedCheckTarget> {
  if (archiveExtensionOf(text) !== undefined && !/^[a-z-]+:/i.test(text)) return archiveTarget(text);
  if (namesArtifact(text)) return artifactTarget(text, session);
  const location = parseLocation(text);
  if (location.kind === 'folder') return folderTarget(location.path, text, session);
  if (location.kind === 'web') {
    return { target: { kind: 'files', source: session.openChannel(location) }, name: text, isLocal: false };
  }
  const { channel, subdir } = splitSubdir(location);
  const store = session.openStore(channel, 'only');
  return {
    target: { kind: 'channel', store },
    name: text,
    subdirs: subdir === undefined ? undefined : [subdir],
    isLocal: false,
  };
}

/** Whether the last component of a place in a store has a tag or a digest. */
function namesArtifact(text: string): boolean {
  const path = /^oci-layout:(.*)$/i.exec(text)?.[1] ?? /^(?:oci|docker):\/\/[^/]*\/(.*)$/i.exec(text)?.[1];
  return /[:@][^/]*$/.test(path ?? '');
}

async function archiveTarget(text: string): Promise<ParsedCheckTarget> {
  const path = resolve(text);
  await stat(path).catch((cause: unknown) => {
    throw new FerryError('NOT_FOUND', `there is no file \`${text}\``, { cause });
  });
  const archives = [{ path, filename: basename(path) }];
  return { target: { kind: 'archive', archives }, name: text, isLocal: true };
}

async function artifactTarget(text: string, session: Session): Promise<ParsedCheckTarget> {
  const { store: place, repository, reference } = await parseArtifactLocation(text);
  const components = repository.split('/');
  const leaf = components.pop() ?? '';
  const subdir = CHANNEL_METADATA.has(leaf) ? '' : (components.pop() ?? '');
  const [path, label] = splitLabel(components.join('/'));
  const store = session.openStoreAt(place, path, label);
  return { target: { kind: 'artifact', store, subdir, leaf, reference }, name: text, isLocal: false };
}

/** A reference has everything in one path. */
function splitLabel(path: string): readonly [string, string | undefined] {
  const at = `/${path}`.lastIndexOf('/label/');
  if (at === -1) return [path, undefined];
  return [path.slice(0, Math.max(0, at - 1)), path.slice(at + 'label/'.length)];
}

/** A channel in a folder, one of its subdirs, or a folder of archives. */
async function folderTarget(path: string, text: string, session: Session): Promise<ParsedCheckTarget> {
  const files = await readdir(path).catch((cause: unknown) => {
    throw new FerryError('CHANNEL_NOT_FOUND', `there is no folder \`${text}\``, { cause });
  });
  const open = (root: string): CheckTarget => ({
    kind: 'files',
    source: session.openChannel({ kind: 'folder', path: root }),
  });
  if (
    files.some((file) => file === 'repodata.json' || file === 'repodata.json.zst') &&
    isSubdir(basename(path))
  ) {
    return { target: open(dirname(path)), name: text, subdirs: [basename(path)], isLocal: true };
  }
  const archives = files.filter((file) => archiveExtensionOf(file) !== undefined).sort();
  if (archives.length > 0) {
    const listed = archives.map((filename) => ({ path: join(path, filename), filename }));
    return { target: { kind: 'archive', archives: listed }, name: text, isLocal: true };
  }
  return { target: open(path), name: text, isLocal: true };
}

/** Takes a subdir that conda knows off the end of a channel's place. */
function splitSubdir(location: Exclude<Location, { readonly kind: 'folder' | 'web' }>): {
  readonly channel: Location;
  readonly subdir: string | undefined;
} {
  const subdir = location.path.slice(location.path.lastIndexOf('/') + 1);
  if (!KNOWN_SUBDIRS.includes(subdir)) return { channel: location, subdir: undefined };
  return { channel: { ...location, path: location.path.slice(0, -subdir.length - 1) }, subdir };
}

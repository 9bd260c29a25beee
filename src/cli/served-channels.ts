import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { ChannelStore } from '../artifact/channel-store.js';
import { OciChannel } from '../artifact/oci-channel.js';
import { DirectoryChannel } from '../channel/directory-channel.js';
import type { ChannelSource } from '../conda/channel-source.js';
import { KNOWN_SUBDIRS } from '../conda/names.js';
import { FerryError, isFerryError, isSystemError } from '../errors.js';
import { RESERVED_NAMES } from '../serve/gateway.js';
import type { OfferedChannel } from '../serve/channels/channel-set.js';
import { parseLocation, shownLocation, type Location } from './locations.js';
import { schemaOf, type Session } from './session.js';

/** What a channel may be called in URLs. @see CEP 26 */
const NAME_PATTERN = /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/;

/** A channel to be served, as the command line says it. */
export interface ServedLocation {
  readonly name: string;
  readonly location: Location;
}

/**
 * Parses `LOCATION` or `NAME=LOCATION`; without a name, the last component of the location is it.
 * @throws ParseError `CHANNEL_INVALID`; FerryError `USAGE` for a name that cannot be, or stands twice
 */
function parseServedLocations(texts: readonly string[]): readonly ServedLocation[] {
  const served = new Map<string, ServedLocation>();
  for (const text of texts) {
    const given = /^(?<name>[A-Za-z0-9_][A-Za-z0-9_.-]*)=(?<location>.+)$/.exec(text)?.groups;
    const location = parseLocation(given?.['location'] ?? text);
    const name = given?.['name'] ?? lastComponent(location);
    const shown = shownLocation(given?.['location'] ?? text);
    refuseHost(location);
    if (name === '')
      throw new FerryError('USAGE', `\`${shown}\` does not end in a name to serve it under`, {
        hint: `give it one: NAME=${shown}`,
      });
    const why = whyNot(name, served);
    if (why !== undefined)
      throw new FerryError('USAGE', `\`${shown}\` cannot be served as \`${name}\`: ${why}`, {
        // Whoever gave no name, and has a subdir, took the wrong folder.
        hint: KNOWN_SUBDIRS.includes(name)
          ? 'name the channel itself, which holds the subdirs'
          : `give it another name: NAME=${shown}`,
      });
    served.set(name, { name, location });
  }
  return [...served.values()];
}

/** A channel that is served out of a store, which is filled from where the channel is. */
export interface PulledChannel {
  readonly upstream: ServedLocation;
  readonly store: Location;
}

/**
 * Parses all that is to be served.
 * @throws as {@link parseServedLocations}; FerryError `USAGE` where nothing is, or one of `--upstream` and `--store` is missing
 */
export function parseServed(
  texts: readonly string[],
  { upstream, store }: { readonly upstream?: string; readonly store?: string },
): { readonly served: readonly ServedLocation[]; readonly pulled: PulledChannel | undefined } {
  if ((upstream === undefined) !== (store === undefined))
    throw new FerryError('USAGE', '`--upstream` and `--store` belong together', {
      hint:
        upstream === undefined
          ? 'pass --upstream CHANNEL, which fills the store'
          : 'pass --store LOCATION, which is filled',
    });
  const all = upstream === undefined ? texts : [upstream, ...texts];
  if (all.length === 0)
    throw new FerryError('USAGE', 'there is nothing to serve', {
      hint: 'name a channel, such as oci://host/path',
    });
  const served = parseServedLocations(all);
  const first = served[0];
  const pulled =
    store === undefined || first === undefined ? undefined : { upstream: first, store: parseLocation(store) };
  return { served, pulled };
}

function whyNot(name: string, served: ReadonlyMap<string, unknown>): string | undefined {
  if (!NAME_PATTERN.test(name)) return 'that is no name of a channel';
  if (RESERVED_NAMES.has(name)) return "the gateway's own URLs begin with it";
  if (KNOWN_SUBDIRS.includes(name)) return 'that is a subdir';
  return served.has(name) ? 'another channel has that name' : undefined;
}

function lastComponent(location: Location): string {
  if (location.kind === 'web') return basename(location.url.pathname.replace(/\/+$/, ''));
  return basename(location.path);
}

/** @throws FerryError `CHANNEL_INVALID` for a registry without a path */
function refuseHost(location: Location): void {
  if (location.kind !== 'registry' || location.path !== '') return;
  throw new FerryError('CHANNEL_INVALID', `\`oci://${location.host}\` lacks the path of a channel`, {
    hint: `write oci://${location.host}/NAME`,
  });
}

/**
 * Looks for the folders among what is to be served: one that is not there is a slip, where a registry may come back. An
 * empty one is served, since it may be filled later.
 * @throws FerryError `CHANNEL_NOT_FOUND`
 */
export async function requireFolders(served: readonly ServedLocation[]): Promise<void> {
  for (const { location } of served) {
    if (location.kind !== 'folder' && location.kind !== 'layout') continue;
    const { path } = location;
    const found = await stat(path).catch((cause: unknown) => {
      if (!isSystemError(cause, 'ENOENT', 'ENOTDIR')) throw cause;
      throw new FerryError('CHANNEL_NOT_FOUND', `there is no folder \`${path}\``, {
        cause,
        hint:
          location.kind === 'layout'
            ? 'check the path; `conda-ferry mirror` makes such a folder'
            : 'check the path: the folder that holds noarch and linux-64 is wanted',
      });
    });
    if (!found.isDirectory()) throw new FerryError('CHANNEL_NOT_FOUND', `\`${path}\` is not a folder`);
  }
}

/**
 * Opens a channel so that each of its labels can be had over the same way there.
 * @throws ParseError `REFERENCE_INVALID` where no registry can have such a path
 */
export function offerChannel(
  { name, location }: ServedLocation,
  session: Session,
  schema: string,
): OfferedChannel {
  const open = labelOpener(location, session, schema);
  // Said now, not to the first client.
  open(undefined);
  return { name, open };
}

function labelOpener(
  location: Location,
  session: Session,
  schema: string,
): (label: string | undefined) => ChannelSource | undefined {
  if (location.kind === 'folder') {
    return (label) =>
      new DirectoryChannel(label === undefined ? location.path : `${location.path}/label/${label}`);
  }
  if (location.kind === 'web') {
    const open = session.openWebChannels(location);
    return (label) => open(label === undefined ? undefined : `label/${label}`);
  }
  const registry = session.openRegistry(location, 'only');
  const path = location.kind === 'registry' ? location.path : '';
  return (label) => {
    try {
      return new OciChannel(new ChannelStore(registry, path, schemaOf(schema), label));
    } catch (error) {
      // A label that no repository can have.
      if (label === undefined || !isFerryError(error)) throw error;
      return undefined;
    }
  };
}

import type { ChannelStore } from './channel-store.js';
import { OciChannel } from './oci-channel.js';
import { checkSubdirs } from '../conda/names.js';
import { FerryError } from '../errors.js';
import type { CallOptions } from '../oci/storage.js';

/**
 * Finds the subdirs of a channel in a store: those asked for, each once, or all that it has.
 * @throws FerryError `USAGE` for what is no subdir, `CHANNEL_NOT_FOUND` where there are none
 */
export async function storedSubdirs(
  store: ChannelStore,
  wanted: readonly string[] | undefined,
  options: CallOptions = {},
): Promise<readonly string[]> {
  checkSubdirs(wanted);
  const subdirs = wanted === undefined ? await new OciChannel(store).subdirs(options) : [...new Set(wanted)];
  if (subdirs.length > 0) return subdirs;
  throw new FerryError('CHANNEL_NOT_FOUND', `there is no repodata at \`${store.location}\``);
}

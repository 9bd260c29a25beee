import type { ChannelStore } from '../artifact/channel-store.js';
import { OciChannel } from '../artifact/oci-channel.js';
import { isSubdir } from '../conda/names.js';
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
  for (const subdir of wanted ?? []) {
    if (!isSubdir(subdir)) throw new FerryError('USAGE', `\`${subdir}\` is no subdir such as \`noarch\``);
  }
  const subdirs = wanted === undefined ? await new OciChannel(store).subdirs(options) : [...new Set(wanted)];
  if (subdirs.length > 0) return subdirs;
  throw new FerryError('CHANNEL_NOT_FOUND', `there is no repodata at \`${store.location}\``);
}

import type { ChannelSource } from '../conda/channel-source.js';
import { FerryError } from '../errors.js';

/**
 * The error where no subdir of a channel has repodata. Subdirs that were asked for are named: the channel may well be
 * there without them.
 */
export function noRepodata(
  { url }: Pick<ChannelSource, 'url'>,
  wanted: Iterable<string> | undefined,
  hint?: string,
): FerryError {
  if (wanted === undefined)
    return new FerryError('CHANNEL_NOT_FOUND', `there is no repodata at \`${url}\``, { hint });
  const names = [...new Set(wanted)].map((subdir) => `\`${subdir}\``).join(', ');
  return new FerryError('CHANNEL_NOT_FOUND', `there is no repodata of ${names} at \`${url}\``);
}

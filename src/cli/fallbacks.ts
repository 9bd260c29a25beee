import { FallbackChannel } from '../channel/fallback-channel.js';
import type { ChannelSource } from '../conda/channel-source.js';
import type { Location } from './locations.js';
import type { Session } from './session.js';

/** A source that goes on elsewhere when the first does not answer; without others it is the first itself. */
export function withFallbacks(
  first: ChannelSource,
  locations: readonly Location[],
  { session, warn }: { readonly session: Session; readonly warn: (message: string) => void },
): ChannelSource {
  if (locations.length === 0) return first;
  const others = locations.map((location) => session.openChannel(location));
  return new FallbackChannel([first, ...others], {
    onSwitch: (from, to, why) => {
      warn(`${from} does not answer (${why.message}); going on with ${to}`);
    },
  });
}

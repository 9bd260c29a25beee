import type { ChannelSource } from '../../conda/channel-source.js';

/** All of a channel but its archives. */
export type ChannelMetadata = Omit<ChannelSource, 'openArchive' | 'statArchive'>;

/** A channel without its archives: what is to be said of them by somebody else goes beside this. */
export function metadataOf(upstream: ChannelSource): ChannelMetadata {
  const { url, origin } = upstream;
  return {
    url,
    ...(origin === undefined ? {} : { origin }),
    subdirs: (options) => upstream.subdirs(options),
    openMetadata: (path, options) => upstream.openMetadata(path, options),
    // Whoever asks takes a missing power for what it is.
    ...(upstream.openLinked && {
      openLinked: (...question) => present(upstream.openLinked?.(...question)),
    }),
    ...(upstream.openSidecar && {
      openSidecar: (...question) => present(upstream.openSidecar?.(...question)),
    }),
  };
}

function present<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('a power of a channel went away');
  return value;
}

import { openHttpClient, type HttpClientOptions } from '../http/client.js';
import { HostLimits } from '../http/limit.js';
import { profileOf } from './host-profile.js';
import { RegistryClient, type RegistryClientOptions } from './registry-client.js';

/** Options of {@link openRegistry}: what reaching the host takes, and what is known of it. */
export interface OpenRegistryOptions
  extends Omit<HttpClientOptions, 'findChannelCredential'>, Omit<RegistryClientOptions, 'send' | 'host'> {}

/**
 * Opens a registry by its host, such as `ghcr.io` or `127.0.0.1:5000`, with connections of its own; disposing of it
 * closes them. Requests go no faster than the host is known to allow.
 * @throws FerryError `REFERENCE_INVALID` for what is no host
 */
export function openRegistry(host: string, options: OpenRegistryOptions): RegistryClient {
  const limits =
    options.limits ??
    new HostLimits({
      ...options,
      // What is known of the registry says nothing of the hosts of its tokens and blobs.
      statedLimit: (origin) =>
        origin === registry.baseUrl.origin
          ? registry.profile.requestsPerMinute
          : profileOf(new URL(origin).host).requestsPerMinute,
    });
  const client = openHttpClient({ ...options, limits });
  const registry = new RegistryClient({
    ...options,
    host,
    send: client.send,
    close: () => client[Symbol.asyncDispose](),
  });
  return registry;
}

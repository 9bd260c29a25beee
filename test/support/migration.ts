import { onTestFinished } from 'vitest';
import { openHttpClient } from '#ferry/http/client.js';
import { openLayoutRegistry } from '#ferry/image-layout/layout-registry.js';
import type { Registry } from '#ferry/oci/storage.js';
import { RegistryClient } from '#ferry/registry/registry-client.js';

/** A fresh view of one store that holds several channels. */
export interface Pair {
  readonly registry: Registry;
  /** In front of a channel's name. */
  readonly path: string;
  /** As `PUT /v2/…`. */
  readonly requests: string[];
  /** Paths of requests that write. */
  readonly writes: string[];
  /** Bodies of blob uploads that were not empty. */
  readonly sent: { readonly repository: string; readonly bytes: number }[];
}

/** A registry over HTTP. */
export function openRegistryPair(host: string, prefix: string): Pair {
  const [requests, writes, sent]: [string[], string[], { repository: string; bytes: number }[]] = [
    [],
    [],
    [],
  ];
  const client = openHttpClient({
    userAgent: 'conda-ferry-test',
    onRequest: ({ method, url, body }) => {
      requests.push(`${method} ${url.pathname}${url.search}`);
      if (method !== 'GET' && method !== 'HEAD') writes.push(url.pathname);
      const [, repository] = /^\/v2\/(.+)\/blobs\/uploads\//.exec(url.pathname) ?? [];
      if (repository !== undefined && body !== undefined && body.size > 0)
        sent.push({ repository, bytes: body.size });
    },
  });
  onTestFinished(async () => client[Symbol.asyncDispose]());
  return {
    registry: new RegistryClient({ host, send: client.send }),
    path: `${prefix}/`,
    requests,
    writes,
    sent,
  };
}

/** A folder of image layouts. */
export function openLayoutPair(folder: string): Pair {
  return { registry: openLayoutRegistry(folder), path: '', requests: [], writes: [], sent: [] };
}

/** Every tag of a channel with the digest that it names, such as `noarch/chello:1.0-0`. */
export async function stateOf({ registry, path }: Pair, channel: string): Promise<Record<string, string>> {
  const prefix = `${path}${channel}/`;
  const state: Record<string, string> = {};
  for (const name of ((await registry.repositories()) ?? [])
    .filter((name) => name.startsWith(prefix))
    .sort()) {
    const repository = registry.repository(name);
    for await (const tag of repository.tags()) {
      state[`${name.slice(prefix.length)}:${tag}`] = (await repository.resolve(tag))?.digest ?? '';
    }
  }
  return state;
}

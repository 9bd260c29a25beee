import { serve } from '@hono/node-server';
import { once } from 'node:events';
import { open, stat } from 'node:fs/promises';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { isSystemError } from '#ferry/errors.js';
import { openLayoutRegistry } from '#ferry/image-layout/layout-registry.js';
import { collect } from '#ferry/io/bytes.js';
import { digestAlgorithm, digestHex, type Digest } from '#ferry/io/digest.js';
import type { OpenedBytes } from '#ferry/io/opened-bytes.js';
import type { Repository } from '#ferry/oci/storage.js';
import type { ContentOrigin } from '#ferry/serve/cache/content-source.js';
import type { Content } from '#ferry/serve/content.js';
import {
  createDistributionRoutes,
  type DistributionOptions,
} from '#ferry/serve/distribution/distribution-routes.js';
import { memoryContent } from '#ferry/serve/cache/memory-contents.js';
import { statedRepository } from './stated-repository.js';

const MAX_BLOB_BYTES = 64 * 1024 * 1024;

/** A server of the read half of the distribution API. */
export interface DistributionServer extends AsyncDisposable {
  /** Such as `127.0.0.1:34567`. */
  readonly host: string;
}

/** Content that nothing is kept of: files where they lie, all else in memory. */
export async function passingContent(
  origin: ContentOrigin,
  options: { readonly signal?: AbortSignal | undefined },
): Promise<Content> {
  const { digest, openFile } = origin;
  const opened = await openFile?.(options);
  if (openFile === undefined || opened === undefined) {
    return memoryContent(digest, await collect(origin.open(options), MAX_BLOB_BYTES, digest));
  }
  const { size } = opened;
  await opened[Symbol.asyncDispose]();
  return {
    digest,
    size,
    open: async () => {
      const again = await openFile();
      if (again === undefined) throw new Error(`${digest} is gone`);
      return again;
    },
  };
}

/** Serves a folder of image layouts. */
export async function serveLayouts(root: string): Promise<DistributionServer> {
  const registry = openLayoutRegistry(root);
  return serveDistribution({
    resolveRepository: (name) => ({ repository: withFiles(registry.repository(name), join(root, name)) }),
    content: passingContent,
    catalog: (options) => registry.repositories(options),
  });
}

/** Serves the routes on a free port of loopback. */
export async function serveDistribution(options: DistributionOptions): Promise<DistributionServer> {
  const { fetch } = createDistributionRoutes(options);
  const server = serve({ fetch, hostname: '127.0.0.1', port: 0 }) as Server;
  if (!server.listening) await once(server, 'listening');
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

/** A layout's blobs as files, where the layout itself does not give them. */
function withFiles(repository: Repository, folder: string): Repository {
  if (repository.statBlob !== undefined) return repository;
  const pathOf = (digest: Digest): string =>
    join(folder, 'blobs', digestAlgorithm(digest), digestHex(digest));
  return statedRepository(repository, {
    statBlob: (digest) => ifThere(() => stat(pathOf(digest))),
    openBlob: (digest) => ifThere(() => openFile(pathOf(digest))),
  });
}

async function openFile(path: string): Promise<OpenedBytes> {
  const file = await open(path);
  const { size } = await file.stat();
  return {
    size,
    read: async (target, position) => (await file.read(target, 0, target.byteLength, position)).bytesRead,
    [Symbol.asyncDispose]: () => file.close(),
  };
}

async function ifThere<T>(look: () => Promise<T>): Promise<T | undefined> {
  try {
    return await look();
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return undefined;
    throw error;
  }
}

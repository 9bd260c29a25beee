import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { openBlobFolder } from '#ferry/image-layout/blob-folder.js';
import type { OpenBytes } from '#ferry/io/bytes.js';
import { digestHex, digestOf, type Digest } from '#ferry/io/digest.js';
import type { OpenedBytes } from '#ferry/io/opened-bytes.js';
import type { BlobFolder } from '#ferry/oci/blob-folder.js';
import type { ContentOrigin } from '#ferry/serve/cache/content-source.js';
import { ContentCache, type ContentCacheOptions } from '#ferry/serve/cache/content-cache.js';
import type { Content } from '#ferry/serve/content.js';
import { tempFolder } from '../../support/temp.js';

/** A cache in a folder of its own, which goes away with the test. */
export interface Scene {
  readonly cache: ContentCache;
  readonly path: string;
  /** Opens another one in the same folder. */
  reopen(more?: Partial<ContentCacheOptions>): Promise<ContentCache>;
  /** Where a blob lies. */
  pathOf(digest: Digest): string;
}

/** Options of {@link openScene}. */
export interface SceneOptions extends Partial<ContentCacheOptions> {
  /** Puts something between the cache and its folder. */
  readonly wrap?: (folder: BlobFolder) => BlobFolder;
}

export async function openScene({ wrap, ...options }: SceneOptions = {}): Promise<Scene> {
  const path = join(await tempFolder(), 'cache');
  const open = async (more: Partial<ContentCacheOptions> = {}): Promise<ContentCache> => {
    const folder = openBlobFolder(path);
    const all = { maxBytes: 10_000_000, ...options, ...more };
    const cache = await ContentCache.open(wrap?.(folder) ?? folder, all);
    onTestFinished(async () => cache[Symbol.asyncDispose]());
    return cache;
  };
  return {
    cache: await open(),
    path,
    reopen: open,
    pathOf: (digest) => join(path, 'blobs', 'sha256', digestHex(digest)),
  };
}

/** An origin in memory that counts. */
export interface CountedOrigin extends ContentOrigin {
  readonly bytes: Uint8Array;
  /** How often it was opened. */
  opens: number;
}

/** Content that can be had, by default of 100,000 random bytes. */
export function originOf(
  content: Uint8Array | number = 100_000,
  more: Partial<ContentOrigin> = {},
): CountedOrigin {
  const bytes = typeof content === 'number' ? randomBytes(content) : content;
  const origin: CountedOrigin = {
    bytes,
    digest: digestOf(bytes),
    size: bytes.byteLength,
    opens: 0,
    open: async function* ({ signal } = {}) {
      origin.opens += 1;
      for (let at = 0; at < bytes.byteLength; at += 30_000) {
        await Promise.resolve();
        signal?.throwIfAborted();
        yield bytes.subarray(at, at + 30_000);
      }
    },
    ...more,
  };
  return origin;
}

/** Opens bytes that come only when they are let go. */
export function gated(open: OpenBytes): { readonly open: OpenBytes; readonly release: () => void } {
  let release: (() => void) | undefined;
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  return {
    open: async function* (options) {
      yield* open(options);
      await new Promise<void>((resolve, reject) => {
        options?.signal?.addEventListener('abort', () => {
          reject(options.signal?.reason as Error);
        });
        void gate.then(resolve);
      });
    },
    release: () => release?.(),
  };
}

/** All bytes of content, the way a server reads them. */
export async function read(content: Content | undefined): Promise<Buffer> {
  if (content === undefined) throw new Error('there is no content');
  await using opened = await content.open();
  return await readOpened(opened);
}

export async function readOpened(opened: OpenedBytes): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for (let position = 0; position < opened.size;) {
    const chunk = Buffer.alloc(40_000);
    const count = await opened.read(chunk, position);
    if (count === 0) break;
    chunks.push(chunk.subarray(0, count));
    position += count;
  }
  return Buffer.concat(chunks);
}

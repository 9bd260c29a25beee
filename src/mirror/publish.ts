import { randomUUID } from 'node:crypto';
import type { ChannelStore } from '../artifact/channel-store.js';
import { writeLedger, type Ledger } from '../artifact/ledger.js';
import { TITLE } from '../artifact/manifest-parts.js';
import { REPODATA, ZSTD_SUFFIX } from '../artifact/media-types.js';
import { copyMetadata, moveLatest } from '../artifact/metadata-artifact.js';
import type { WorkerPool } from '../artifact/worker-pool.js';
import type { OpenBytes } from '../io/bytes.js';
import type { Digest } from '../io/digest.js';
import type { TempFolder } from '../io/temp-folder.js';
import type { Descriptor } from '../oci/descriptor.js';
import { compressComposition, type Composition } from './compose.js';
import type { Published } from './state.js';

/** What {@link pushRepodata} works with. */
export interface PublishOptions {
  readonly store: ChannelStore;
  readonly temp: TempFolder;
  readonly workers: WorkerPool;
  /** Whether the uncompressed form is published too. @defaultValue true */
  readonly plainJson?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Pushes repodata of a subdir without making it the current one: under a history tag, or, for a checkpoint, under none.
 * @returns the manifest's descriptor, for `latest`
 */
export async function pushRepodata(
  subdir: string,
  composition: Composition,
  options: PublishOptions & { readonly historyTag: string | undefined },
): Promise<Descriptor> {
  const { store, temp, workers, signal, historyTag, plainJson = true } = options;
  const isCheckpoint = historyTag === undefined;
  await using zst = await compressComposition(composition, { temp, workers, signal, isCheckpoint });
  const zstLayer = layerOf(REPODATA + ZSTD_SUFFIX, 'repodata.json.zst', zst);
  const layers = plainJson ? [layerOf(REPODATA, 'repodata.json', composition), zstLayer] : [zstLayer];
  const openers = new Map<Digest, OpenBytes>([
    [composition.digest, composition.open],
    [zst.digest, zst.open],
  ]);
  const source = {
    fetch: (wanted: Descriptor, open?: Parameters<OpenBytes>[0]) => opener(openers, wanted)(open),
  };
  const tags = historyTag === undefined ? [] : [historyTag];
  return await copyMetadata(store, subdir, 'repodata.json', { layers, source }, { tags, signal });
}

/**
 * Publishes repodata of a subdir: content and history tag, a ledger that says so, then `latest`. A kill at any point
 * leaves the old state or the new one, and a ledger that vouches for it.
 * @returns the manifest's descriptor
 */
export async function publishRepodata(
  subdir: string,
  composition: Composition,
  ledger: Ledger,
  options: PublishOptions & { readonly now: () => Date },
): Promise<Descriptor> {
  const { store, now, signal } = options;
  const historyTag = store.schema.historyTag(now());
  const pushed = await pushRepodata(subdir, composition, { ...options, historyTag });
  const running = ledger.running ?? newRunning(now());
  await writeLedger(store, { ...ledger, running: { ...running, publishing: pushed.digest } }, { signal });
  await moveLatest(store, subdir, 'repodata.json', pushed, { signal });
  return pushed;
}

/** The manifest behind `latest`, if it holds just these bytes in the forms that are wanted. */
export function publishedAlready(
  published: Published | undefined,
  composition: Composition,
  plainJson = true,
): Descriptor | undefined {
  const found = published?.found;
  if (found === undefined || published?.repodata.digest !== composition.digest) return undefined;
  const has = (mediaType: string): boolean => found.layers.some((layer) => layer.mediaType === mediaType);
  return has(REPODATA) === plainJson && has(REPODATA + ZSTD_SUFFIX) ? found.descriptor : undefined;
}

/** The marker of a run that has begun. */
export function newRunning(now: Date): NonNullable<Ledger['running']> {
  return { id: randomUUID(), started: now.toISOString() };
}

function layerOf(
  mediaType: string,
  title: string,
  { digest, size }: { readonly digest: Digest; readonly size: number },
): Descriptor {
  return { mediaType, digest, size, annotations: { [TITLE]: title } };
}

function opener(openers: ReadonlyMap<Digest, OpenBytes>, { digest }: Descriptor): OpenBytes {
  const open = openers.get(digest);
  if (open === undefined) throw new Error(`nobody has ${digest}`);
  return open;
}

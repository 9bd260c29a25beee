import { FerryError, isFerryError } from '../errors.js';
import { collect, openerOf } from '../io/bytes.js';
import { forEachConcurrently } from '../io/pool.js';
import type { Descriptor } from './descriptor.js';
import { MAX_MANIFEST_BYTES, successorsOf } from './manifest.js';
import { isManifestMediaType } from './media-types.js';
import type { ContentSource, Repository, TagOptions } from './storage.js';

/** Blobs of one artifact under way at once. */
const DEFAULT_CONCURRENCY = 3;

/** Options of {@link copyGraph}. */
export interface CopyOptions extends TagOptions {
  /** Tags the root gets with its push, after everything below it is there. */
  readonly tags?: readonly string[] | undefined;
  /**
   * What the caller knows of the destination, to save requests: `true` there, `false` not there, `undefined` ask.
   * @defaultValue always ask
   */
  readonly destinationHas?: ((descriptor: Descriptor) => boolean | undefined) | undefined;
  /** A repository of the destination's registry that holds the blobs, so that they need not be sent. @defaultValue none */
  readonly mountFrom?: string | undefined;
  /** @defaultValue 3 */
  readonly concurrency?: number | undefined;
}

/**
 * Copies an artifact with everything below it: children before parents, each content once, nothing that is
 * there already, tags last. So the destination is valid at every moment. If it says of the root that a child is
 * unknown (registries collect garbage, and some lose a blob that was just written), the children are pushed again,
 * once.
 * @throws FerryError with the code of its cause; the message adds what was copied
 */
export async function copyGraph(
  source: ContentSource,
  destination: Repository,
  root: Descriptor,
  options: CopyOptions = {},
): Promise<void> {
  const has = async (descriptor: Descriptor): Promise<boolean> =>
    options.destinationHas?.(descriptor) ?? (await destination.exists(descriptor, options));

  const copyNode = async (node: Descriptor, isRoot: boolean, again = false): Promise<void> => {
    if (!isManifestMediaType(node.mediaType)) {
      // A mount that was granted and left nothing behind would be granted again.
      await pushBlob(source, destination, node, again ? { signal: options.signal } : options);
      return;
    }
    const bytes = await collect(source.fetch(node, options), MAX_MANIFEST_BYTES, `manifest ${node.digest}`);
    const children = uniqueByDigest(successorsOf(node.mediaType, bytes));
    const pushChildren = (again: boolean): Promise<void> =>
      forEachConcurrently(
        children,
        { concurrency: options.concurrency ?? DEFAULT_CONCURRENCY },
        async (child) => {
          if (again) await copyAgain(child);
          else if (!(await has(child))) await copyNode(child, false);
        },
      );
    // What the caller knew to be at the destination need not be at the source.
    const copyAgain = async (child: Descriptor): Promise<void> => {
      try {
        await copyNode(child, false, true);
      } catch (error) {
        if (options.destinationHas?.(child) !== true || !isFerryError(error, 'NOT_FOUND')) throw error;
      }
    };
    const pushNode = (): Promise<void> =>
      destination.push(node, openerOf(bytes), {
        signal: options.signal,
        ...(isRoot ? { tags: options.tags, replaces: options.replaces } : {}),
      });
    await pushChildren(false);
    try {
      await pushNode();
    } catch (error) {
      if (!isBlobUnknown(error)) throw error;
      await pushChildren(true);
      await pushNode();
    }
  };
  await copyNode(root, true);
}

async function pushBlob(
  source: ContentSource,
  destination: Repository,
  blob: Descriptor,
  { signal, mountFrom }: Pick<CopyOptions, 'signal' | 'mountFrom'>,
): Promise<void> {
  try {
    await destination.push(blob, (open) => source.fetch(blob, open), { signal, mountFrom });
  } catch (error) {
    if (!isFerryError(error)) throw error;
    throw new FerryError(
      error.code,
      `cannot copy ${blob.digest} (${blob.mediaType}) to \`${destination.name}\``,
      {
        cause: error,
        hint: error.hint,
      },
    );
  }
}

/** Whether a registry refused a manifest because it does not have one of its blobs. */
function isBlobUnknown(error: unknown): boolean {
  return isFerryError(error, 'MANIFEST_BLOB_UNKNOWN');
}

function uniqueByDigest(descriptors: readonly Descriptor[]): Descriptor[] {
  return [...new Map(descriptors.map((descriptor) => [descriptor.digest, descriptor])).values()];
}

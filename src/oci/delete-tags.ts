import { isFerryError } from '../errors.js';
import type { Digest } from '../io/digest.js';
import { forEachConcurrently } from '../io/pool.js';
import type { Descriptor } from './descriptor.js';
import { successorsOf } from './manifest.js';
import { isManifestMediaType } from './media-types.js';
import { parseTag } from './reference.js';
import { isReferrersTag, readReferrer } from './referrers.js';
import type { CallOptions, Repository, StoredManifest } from './storage.js';

/** Manifests read at once. */
const DEFAULT_CONCURRENCY = 8;

/** Options of {@link deleteTags}. */
export interface DeleteTagsOptions extends CallOptions {
  /** Tags that stay, also if they are among those to delete. @defaultValue none */
  readonly keep?: readonly string[] | undefined;
  /**
   * What the tags to delete are known to name; one that names something else by now stays.
   * @defaultValue whatever they name goes
   */
  readonly expected?: ReadonlyMap<string, Digest> | undefined;
  /** Manifests without a tag that are to go as well, unless a manifest that stays needs them. @defaultValue none */
  readonly untagged?: readonly Descriptor[] | undefined;
  /** As {@link DeleteOptions.withRepository}. @defaultValue false */
  readonly withRepository?: boolean | undefined;
  /** @defaultValue 8 */
  readonly concurrency?: number | undefined;
}

/** A tag that was to go and is still there. */
export interface KeptTag {
  readonly tag: string;
  readonly digest: Digest;
  /**
   * `asked`: it is among the tags to keep. `shared`: a tag that stays names the same manifest. `needed`: a manifest
   * that stays lists it or has it for its subject. `alone`: nothing else needs it. In these three the store could
   * neither remove the tag alone, nor, for `alone`, the manifest. `moved`: it names something else than was expected.
   */
  readonly reason: 'asked' | 'shared' | 'needed' | 'alone' | 'moved';
  /** What the store said to it. */
  readonly cause?: unknown;
}

/** What {@link deleteTags} did. Tags that were not there to begin with are in none of the lists. */
export interface DeletedTags {
  /** Manifests that are gone, each with the tags it had. */
  readonly deleted: readonly { readonly descriptor: Descriptor; readonly tags: readonly string[] }[];
  /** Tags that are gone while what they named is still there. */
  readonly untagged: readonly string[];
  readonly kept: readonly KeptTag[];
  /** How many other tags there are, that nobody wanted to delete. */
  readonly others: number;
}

/**
 * Deletes tags, and the manifests that only they name. A registry deletes by digest, which takes all tags of the digest
 * away; so all tags of the repository are read first, and a manifest goes only if no tag that stays names it, and no
 * manifest under such a tag lists it or has it for its subject. Where a manifest has to stay, only the tag is removed;
 * where the store cannot do that, the tag stays too and is reported. A list of referrers does not hold what it lists.
 * What a deleted index listed is left, without a name, and so is what refers to a deleted manifest.
 * Nobody else should write to the repository in the meantime: a tag that is set after the reading is not seen.
 * @throws ParseError `REFERENCE_INVALID`, FerryError `MANIFEST_INVALID` for a manifest that stays and cannot be read, both
 * before anything is deleted; what the store throws, but `UNSUPPORTED`
 */
export async function deleteTags(
  repository: Repository,
  tags: Iterable<string>,
  options: DeleteTagsOptions = {},
): Promise<DeletedTags> {
  const asked = new Set([...tags].map(parseTag));
  const keep = new Set((options.keep ?? []).map(parseTag));
  const isMoved = (tag: string, digest: Digest): boolean => (options.expected?.get(tag) ?? digest) !== digest;
  const isDoomed: IsDoomed = (tag, digest) => asked.has(tag) && !keep.has(tag) && !isMoved(tag, digest);
  const named = await readTags(repository, [...asked, ...keep], isDoomed, options);
  const doomed = new Map<Digest, { readonly descriptor: Descriptor; readonly tags: string[] }>();
  const staying: TaggedManifest[] = [];
  const kept: KeptTag[] = [];
  for (const manifest of named) {
    const { tag, descriptor } = manifest;
    const { digest } = descriptor;
    if (isDoomed(tag, digest)) {
      const group = doomed.get(digest) ?? { descriptor, tags: [] };
      group.tags.push(tag);
      doomed.set(digest, group);
      continue;
    }
    staying.push(manifest);
    if (asked.has(tag)) kept.push({ tag, digest, reason: keep.has(tag) ? 'asked' : 'moved' });
  }
  for (const descriptor of options.untagged ?? []) {
    if (!doomed.has(descriptor.digest)) doomed.set(descriptor.digest, { descriptor, tags: [] });
  }
  const shared = new Set(staying.map(({ descriptor }) => descriptor.digest));
  const needed = await findNeeded(repository, staying, options);

  const deleted: { readonly descriptor: Descriptor; readonly tags: readonly string[] }[] = [];
  const untagged: string[] = [];
  for (const { descriptor, tags: group } of doomed.values()) {
    options.signal?.throwIfAborted();
    const { digest } = descriptor;
    const reason = shared.has(digest) ? 'shared' : needed.has(digest) ? 'needed' : 'alone';
    let cause: unknown;
    if (reason === 'alone') {
      const refusal = await unlessUnsupported(() =>
        repository.delete?.(descriptor, {
          signal: options.signal,
          tags: group,
          withRepository: options.withRepository,
        }),
      );
      if (refusal === undefined) {
        deleted.push({ descriptor, tags: group });
        continue;
      }
      ({ cause } = refusal);
    }
    for (const tag of group) {
      const refusal = await unlessUnsupported(() => repository.untag?.(tag, { signal: options.signal }));
      if (refusal === undefined) untagged.push(tag);
      else kept.push({ tag, digest, reason, cause: cause ?? refusal.cause });
    }
  }
  return { deleted, untagged, kept, others: staying.filter(({ tag }) => !asked.has(tag)).length };
}

type IsDoomed = (tag: string, digest: Digest) => boolean;

/** What a tag names. */
interface TaggedManifest {
  readonly tag: string;
  readonly descriptor: Descriptor;
  /** Manifests that it lists or has for its subject; not looked for where it is to go. */
  readonly relatives: readonly Digest[];
}

/** Reads what all tags name: those listed, and those given, since registries may list less than they have. */
async function readTags(
  repository: Repository,
  given: readonly string[],
  isDoomed: IsDoomed,
  options: DeleteTagsOptions,
): Promise<readonly TaggedManifest[]> {
  const all = new Set(given);
  for await (const tag of repository.tags({ signal: options.signal })) all.add(tag);
  const named: TaggedManifest[] = [];
  await forEachConcurrently(all, poolOf(options), async (tag) => {
    const manifest = await repository.fetchManifest(tag, { signal: options.signal });
    if (manifest === undefined) return;
    // What is to go may be broken; what a list of referrers lists is not held by it.
    const { descriptor } = manifest;
    const relatives = isDoomed(tag, descriptor.digest) || isReferrersTag(tag) ? [] : relativesOf(manifest);
    named.push({ tag, descriptor, relatives });
  });
  return named;
}

/** Manifests that those under staying tags list, at any depth, or have for their subject. */
async function findNeeded(
  repository: Repository,
  staying: readonly TaggedManifest[],
  options: DeleteTagsOptions,
): Promise<ReadonlySet<Digest>> {
  const needed = new Set<Digest>();
  let level = new Set(staying.flatMap(({ relatives }) => relatives));
  while (level.size > 0) {
    for (const digest of level) needed.add(digest);
    const below = new Set<Digest>();
    await forEachConcurrently(level, poolOf(options), async (digest) => {
      const manifest = await repository.fetchManifest(digest, { signal: options.signal });
      if (manifest === undefined) return;
      for (const relative of relativesOf(manifest)) if (!needed.has(relative)) below.add(relative);
    });
    level = below;
  }
  return needed;
}

function relativesOf(manifest: StoredManifest): readonly Digest[] {
  const { descriptor, bytes } = manifest;
  const children = successorsOf(descriptor.mediaType, bytes).filter((child) =>
    isManifestMediaType(child.mediaType),
  );
  const subject = readReferrer(manifest)?.subject;
  return [...children, ...(subject === undefined ? [] : [subject])].map(({ digest }) => digest);
}

function poolOf(options: DeleteTagsOptions): { concurrency: number; signal: AbortSignal | undefined } {
  return { concurrency: options.concurrency ?? DEFAULT_CONCURRENCY, signal: options.signal };
}

/** Tries what a store may not be able to do; `undefined` where it was done. */
async function unlessUnsupported(
  attempt: () => Promise<void> | undefined,
): Promise<{ readonly cause?: unknown } | undefined> {
  try {
    const doing = attempt();
    if (doing === undefined) return {};
    await doing;
    return undefined;
  } catch (error) {
    if (isFerryError(error, 'UNSUPPORTED')) return { cause: error };
    throw error;
  }
}

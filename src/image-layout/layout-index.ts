import { z } from 'zod';
import { FerryError } from '../errors.js';
import type { Digest } from '../io/digest.js';
import { descriptorSchema, type Descriptor } from '../oci/descriptor.js';
import { encodeJson } from '../oci/manifest.js';
import { IMAGE_INDEX } from '../oci/media-types.js';
import { isTag } from '../oci/reference.js';

/** Annotation that holds the tag of an entry of `index.json`. @see image-spec v1.1, "Pre-Defined Annotation Keys" */
const REF_NAME = 'org.opencontainers.image.ref.name';

/** Members of a descriptor that {@link IndexEditor} writes; an entry with others was made by another tool. */
const OWN_KEYS = new Set(['mediaType', 'digest', 'size', 'artifactType']);

/** One entry of `index.json`: as read, and what we understand of it. */
interface IndexEntry {
  readonly raw: unknown;
  /** Media type, digest and size; absent where the entry is no descriptor of ours to judge. */
  readonly descriptor?: Descriptor | undefined;
  readonly tag?: string | undefined;
}

/** The `index.json` of an image layout as parsed; never changed, see {@link IndexEditor}. */
export interface LayoutIndex {
  /** All members but `manifests`, unknown ones too. */
  readonly members: Readonly<Record<string, unknown>>;
  readonly entries: readonly IndexEntry[];
  readonly tags: ReadonlyMap<string, Descriptor>;
  readonly digests: ReadonlyMap<Digest, Descriptor>;
}

const documentSchema = z.looseObject({
  schemaVersion: z.literal(2).optional(),
  manifests: z.array(z.unknown()),
});
const ownEntrySchema = z.object({ annotations: z.looseObject({ [REF_NAME]: z.string() }) });

/** What a repository without `index.json` holds. */
export const EMPTY_INDEX: LayoutIndex = layoutIndex({ schemaVersion: 2, mediaType: IMAGE_INDEX }, []);

/**
 * Parses `index.json`. Entries of unknown shape are kept and otherwise passed over.
 * @throws FerryError `LAYOUT_INVALID`
 * @see image-spec v1.1, "index.json file"
 */
export function parseLayoutIndex(bytes: Uint8Array, path: string): LayoutIndex {
  let document;
  try {
    document = documentSchema.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)));
  } catch (cause) {
    throw new FerryError('LAYOUT_INVALID', `\`${path}\` is not an image index`, { cause });
  }
  const { manifests, ...members } = document;
  return layoutIndex(members, manifests.map(readEntry));
}

/** Writes `index.json`. */
export function encodeLayoutIndex(index: LayoutIndex): Uint8Array {
  return encodeJson({
    schemaVersion: 2,
    mediaType: IMAGE_INDEX,
    ...index.members,
    manifests: index.entries.map((entry) => entry.raw),
  });
}

/** Changes to one {@link LayoutIndex}, each taking constant time whatever the size of the index. */
export class IndexEditor {
  readonly #members: LayoutIndex['members'];
  /** Removed entries leave a hole, so that positions hold. */
  readonly #slots: (IndexEntry | undefined)[];
  readonly #byTag = new Map<string, Set<number>>();
  readonly #byDigest = new Map<Digest, Set<number>>();
  readonly #removed = new Set<Digest>();
  #isChanged = false;

  constructor(index: LayoutIndex) {
    this.#members = index.members;
    this.#slots = [...index.entries];
    this.#slots.forEach((entry, slot) => {
      this.#note(slot, entry);
    });
  }

  /** Whether there is anything to write. */
  get isChanged(): boolean {
    return this.#isChanged;
  }

  /**
   * Lists a manifest under tags, or bare if it has none. What a tag named before stays listed, bare if that was its
   * only tag: it is still to be had by digest, as in a registry.
   */
  list(descriptor: Descriptor, tags: readonly string[]): void {
    this.#removed.delete(descriptor.digest);
    for (const tag of tags) this.#point(tag, descriptor);
    if (!this.#byDigest.has(descriptor.digest)) this.#append(entryOf(descriptor));
  }

  /** Removes a manifest with all its tags. */
  remove(digest: Digest): void {
    this.#removed.add(digest);
    for (const slot of [...(this.#byDigest.get(digest) ?? [])]) this.#set(slot, undefined);
  }

  /** Removes a tag; what it named stays listed, bare if that was its only tag. */
  untag(tag: string): void {
    const entries = [...(this.#byTag.get(tag) ?? [])].map((slot) => {
      const entry = this.#slots[slot];
      this.#set(slot, undefined);
      return entry;
    });
    this.#keepListed(entries);
  }

  /** Whether the manifest was removed and not listed again since: its blob is still there, but not for long. */
  isRemoved(digest: Digest): boolean {
    return this.#removed.has(digest);
  }

  /** The index with all changes. */
  finish(): LayoutIndex {
    return layoutIndex(
      this.#members,
      this.#slots.filter((entry) => entry !== undefined),
    );
  }

  #point(tag: string, descriptor: Descriptor): void {
    const [first, ...others] = this.#byTag.get(tag) ?? [];
    const replaced = first === undefined ? undefined : this.#slots[first];
    if (replaced?.descriptor?.digest === descriptor.digest && others.length === 0) return;
    const displaced = [replaced, ...others.map((slot) => this.#slots[slot])];
    for (const slot of others) this.#set(slot, undefined);
    if (first === undefined) this.#append(entryOf(descriptor, tag));
    else this.#set(first, entryOf(descriptor, tag));
    for (const slot of [...(this.#byDigest.get(descriptor.digest) ?? [])]) {
      if (isBare(this.#slots[slot])) this.#set(slot, undefined);
    }
    this.#keepListed(displaced);
  }

  /** Lists again, without its tag, what lost its last entry. */
  #keepListed(displaced: readonly (IndexEntry | undefined)[]): void {
    for (const entry of displaced) {
      if (entry?.descriptor === undefined || this.#byDigest.has(entry.descriptor.digest)) continue;
      this.#append(withoutTag(entry));
    }
  }

  #append(entry: IndexEntry): void {
    this.#set(this.#slots.length, entry);
  }

  #set(slot: number, entry: IndexEntry | undefined): void {
    const old = this.#slots[slot];
    if (old?.tag !== undefined) forget(this.#byTag, old.tag, slot);
    if (old?.descriptor !== undefined) forget(this.#byDigest, old.descriptor.digest, slot);
    this.#slots[slot] = entry;
    this.#note(slot, entry);
    this.#isChanged = true;
  }

  #note(slot: number, entry: IndexEntry | undefined): void {
    if (entry?.tag !== undefined) remember(this.#byTag, entry.tag, slot);
    if (entry?.descriptor !== undefined) remember(this.#byDigest, entry.descriptor.digest, slot);
  }
}

function layoutIndex(members: LayoutIndex['members'], entries: readonly IndexEntry[]): LayoutIndex {
  const tags = new Map<string, Descriptor>();
  const digests = new Map<Digest, Descriptor>();
  for (const { tag, descriptor } of entries) {
    if (descriptor === undefined) continue;
    digests.set(descriptor.digest, descriptor);
    // Other tools may write a name twice; the last one counts, as it does for oras.
    if (tag !== undefined) tags.set(tag, descriptor);
  }
  return { members, entries, tags, digests };
}

function readEntry(raw: unknown): IndexEntry {
  const { data } = descriptorSchema.safeParse(raw);
  if (data === undefined) return { raw };
  const { mediaType, digest, size, annotations } = data;
  const name = annotations?.[REF_NAME];
  // Some tools put a whole reference there, which cannot be asked for as a tag.
  return {
    raw,
    descriptor: { mediaType, digest, size },
    tag: name !== undefined && isTag(name) ? name : undefined,
  };
}

function entryOf({ mediaType, digest, size, artifactType }: Descriptor, tag?: string): IndexEntry {
  const raw: Record<string, unknown> = { mediaType, digest, size };
  if (artifactType !== undefined) raw.artifactType = artifactType;
  if (tag !== undefined) raw.annotations = { [REF_NAME]: tag };
  return { raw, descriptor: { mediaType, digest, size }, tag };
}

function withoutTag(entry: IndexEntry): IndexEntry {
  const tagged = ownEntrySchema.loose().safeParse(entry.raw).data;
  if (tagged === undefined) return { ...entry, tag: undefined };
  const { annotations, ...rest } = tagged;
  const { [REF_NAME]: _, ...others } = annotations;
  const raw = Object.keys(others).length === 0 ? rest : { ...rest, annotations: others };
  return { raw, descriptor: entry.descriptor };
}

/** Whether an entry says nothing but that the manifest is there. */
function isBare(entry: IndexEntry | undefined): boolean {
  const raw = entry?.raw;
  return typeof raw === 'object' && raw !== null && Object.keys(raw).every((key) => OWN_KEYS.has(key));
}

function remember<K>(slots: Map<K, Set<number>>, key: K, slot: number): void {
  const known = slots.get(key);
  if (known === undefined) slots.set(key, new Set([slot]));
  else known.add(slot);
}

function forget<K>(slots: Map<K, Set<number>>, key: K, slot: number): void {
  const known = slots.get(key);
  known?.delete(slot);
  if (known?.size === 0) slots.delete(key);
}

/**
 * The ledger: our own small artifact beside each subdir's repodata that says how the published state came about, so
 * that the next run need not ask the registry.
 */
import { z } from 'zod';
import { isArchiveFilename, isSubdir } from '../conda/names.js';
import { FerryError, IntegrityError, isFerryError } from '../errors.js';
import { digestOf, isDigest, type Digest } from '../io/digest.js';
import { encodeJson } from '../oci/manifest.js';
import type { CallOptions } from '../oci/storage.js';
import type { ChannelStore } from './channel-store.js';
import { LEDGER } from './media-types.js';
import { findMetadata, LATEST, pushMetadata, readMetadataLayer } from './metadata-artifact.js';

const MAX_LEDGER_BYTES = 256 * 1024 * 1024;

// Whoever may write to the registry may write a ledger too: nothing in it may lead out of the channel.
const digest = z.custom<Digest>((value) => typeof value === 'string' && isDigest(value));
const optionalText = z.string().optional();

const quarantined = z.looseObject({
  filename: z.string(),
  /** Absent where the record itself is unusable, so that there is nothing to try again. */
  name: optionalText,
  version: optionalText,
  build: optionalText,
  sha256: optionalText,
  md5: optionalText,
  size: z.int().nonnegative().optional(),
  url: optionalText,
  /** Error code, such as `ARCHIVE_ABSENT`. */
  code: z.string(),
  message: z.string(),
  /** Of the sidecar that the record names: where that is what failed, it alone is asked for again. */
  attestations_sha256: optionalText,
});

/** Only an entry with a record is tried again, and then its file name has to be one. */
const retryable = quarantined.refine(
  ({ filename, name }) => name === undefined || isArchiveFilename(filename),
);

const role = z.discriminatedUnion('kind', [
  z.looseObject({ kind: z.literal('mirror'), source: z.string() }),
  /** Made out of a channel of another schema that was no mirror, or not only one. */
  z.looseObject({ kind: z.literal('migrated'), source: z.string() }),
  /** Published to, package by package: what it lists came by operations. */
  z.looseObject({ kind: z.literal('published'), source: z.undefined().optional() }),
]);

const companion = z.looseObject({
  /** The file it was read from, such as `run_exports.json.zst`. */
  file: z.string(),
  /** Of the JSON that is published. */
  digest,
  etag: optionalText,
  last_modified: optionalText,
  /** Manifest behind its `latest`. */
  manifest: digest,
  /** Whether it is not the source's bytes, but those without what is not there. */
  spliced: z.boolean().optional(),
});

const ledgerSchema = z.looseObject({
  ledger_version: z.literal(1),
  schema: z.string(),
  subdir: z.string(),
  /** What the channel is: the mirror of one source, what a migration made of another channel, or one that is published to. */
  role,
  /** Where the records came from, if a migration was the last to publish here. */
  migrated: z.looseObject({ source: z.string(), schema: z.string() }).optional(),
  /** Digest of filters and whatever else decides which records are wanted. */
  filters: digest,
  /** The source's repodata that the published one was made from. */
  source: z
    .looseObject({
      /** `repodata.json`, `repodata.json.zst`, or the index of the shards that were read instead. */
      file: z.string().regex(/^(?:[a-z_]+\.json(?:\.zst)?|repodata_shards\.msgpack\.zst)$/),
      digest,
      etag: optionalText,
      last_modified: optionalText,
    })
    .optional(),
  /** Manifest of the repodata that this ledger speaks of. */
  repodata: digest.optional(),
  /** Whether the source's bytes were published as they are. */
  unchanged: z.boolean(),
  /** Whether everything wanted is there. */
  complete: z.boolean(),
  /** Records that the source lists, and archives of them that are there. */
  counts: z.looseObject({ listed: z.int(), there: z.int() }).optional(),
  /** Records that the schema or the registry cannot hold. */
  withheld: z.array(
    z.looseObject({ filename: z.string(), code: z.string(), message: z.string(), clause: optionalText }),
  ),
  /** Archives that could not be mirrored; each run tries them again. */
  quarantine: z.array(retryable),
  /** Archives that are stored but no longer listed: file name to identity, such as `sha256:…`. */
  kept: z.record(z.string(), z.string()),
  /**
   * Since when archives that may be stored are not listed: file name to time, as of RFC 3339. Also of archives that were
   * being deleted, which {@link kept} vouches for no more.
   */
  unlisted: z.record(z.string(), z.string()).optional(),
  /** Of a channel that is published to: the last compaction of its log, and the state that it was compacted into. */
  epoch: z.looseObject({ number: z.int().positive(), repodata: digest, generation: z.string() }).optional(),
  /** Set by a rollback: the history tag that was gone back to, and when. The mirror stops at it. */
  rolled_back: z.looseObject({ to: z.string(), at: z.string() }).optional(),
  /** File names of records that others published here and that we keep listed. */
  foreign: z.array(z.string()),
  /** When the youngest rule about age may let something more pass. */
  ripens: z.iso.datetime().optional(),
  /** When archives that are too young, and do not say since when they are there, were first seen. */
  waiting: z.record(z.string(), z.iso.datetime()).optional(),
  /** Requests that one blob costs at this registry, as the last run found. */
  requests_per_blob: z.int().nonnegative().optional(),
  /** Subdirs that the source was found to have; only in noarch, where the source cannot list them. */
  subdirs: z.array(z.string().refine(isSubdir)).optional(),
  /** Metadata files beside the repodata, by their names; in noarch those of the channel too. */
  companions: z.record(z.string(), companion).optional(),
  /** Whether the sidecar of each listed record that names one is there; of older ledgers that is not known. */
  sidecars: z.boolean().optional(),
  /** Whether the shims for clients are there. */
  shims: z.boolean().optional(),
  /** A run that has not ended: what it published last, if it came that far. */
  running: z.looseObject({ id: z.string(), started: z.string(), publishing: digest.optional() }).optional(),
});

/** A ledger as parsed; unknown fields stay. */
export type Ledger = z.infer<typeof ledgerSchema>;

/** What a channel is, as its ledger says. */
export type LedgerRole = Ledger['role'];

/** An archive that could not be mirrored, with why. */
export type Quarantined = z.infer<typeof quarantined>;

/** What is remembered of a metadata file beside the repodata. */
export type RememberedCompanion = z.infer<typeof companion>;

/** Reads a subdir's ledger; `undefined` where there is none. @throws FerryError `LEDGER_INVALID` */
export async function readLedger(
  store: ChannelStore,
  subdir: string,
  options: CallOptions = {},
): Promise<Ledger | undefined> {
  try {
    const found = await findMetadata(store, subdir, 'ledger', options);
    if (found === undefined) return undefined;
    const bytes = await readMetadataLayer(found, LEDGER, MAX_LEDGER_BYTES, options);
    return ledgerSchema.parse(JSON.parse(Buffer.from(bytes).toString('utf8')));
  } catch (cause) {
    // Of the content, and not of the way to it.
    const isContent =
      cause instanceof z.ZodError || cause instanceof SyntaxError || cause instanceof IntegrityError;
    if (!isContent && !isFerryError(cause, 'MANIFEST_INVALID')) throw cause;
    throw new FerryError(
      'LEDGER_INVALID',
      `the ledger of \`${subdir}\` in \`${store.location}\` cannot be read`,
      {
        cause,
        hint: 'it may come from a newer conda-ferry; --deep ignores it and asks the registry itself',
      },
    );
  }
}

/** Writes a subdir's ledger. @throws FerryError `TAG_MOVED` where it is found to be somebody else's by now */
export async function writeLedger(
  store: ChannelStore,
  ledger: Ledger,
  { signal }: CallOptions = {},
): Promise<void> {
  const bytes = encodeJson(ledger);
  const title = store.schema.metadataRepository('ledger');
  await pushMetadata(store, ledger.subdir, 'ledger', [{ mediaType: LEDGER, title, bytes }], {
    signal,
    tags: [LATEST],
  });
}

/** Tells whether two ledgers say the same. */
export function isSameLedger(a: Ledger, b: Ledger | undefined): boolean {
  return b !== undefined && Buffer.from(encodeJson(a)).equals(encodeJson(b));
}

/** The ledger of a channel that has nothing yet: what the first run's marker is written into. */
export function firstLedger(store: ChannelStore, subdir: string, role: LedgerRole): Ledger {
  return {
    ledger_version: 1,
    schema: store.schema.id,
    subdir,
    role,
    filters: filtersDigest(store),
    unchanged: false,
    complete: false,
    withheld: [],
    quarantine: [],
    kept: {},
    foreign: [],
  };
}

/**
 * Digest of all that decides what is published, besides the source.
 * @param choices filters and the like, as plain JSON with one order of keys. @defaultValue none
 */
export function filtersDigest(store: ChannelStore, choices?: object): Digest {
  return digestOf(encodeJson({ schema: store.schema.id, ...choices }));
}

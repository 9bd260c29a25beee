/**
 * The operation log of a published channel: what each writer wants changed, under a tag of its own in the ledger's
 * repository. Registries cannot compare and swap, so nobody's wish may hang on who writes `latest` last: whoever publishes
 * merges all that the log has, and a wish stays in it until it is merged.
 */
import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { isArchiveFilename } from '../conda/names.js';
import { FerryError, IntegrityError, isFerryError } from '../errors.js';
import { isDigest, type Digest } from '../io/digest.js';
import { encodeJson } from '../oci/manifest.js';
import type { CallOptions } from '../oci/storage.js';
import type { ChannelStore } from './channel-store.js';
import { OPERATION } from './media-types.js';
import { findMetadata, pushMetadata, readMetadataLayer } from './metadata-artifact.js';

/** Some hundred thousand records. */
const MAX_OPERATION_BYTES = 256 * 1024 * 1024;
const RANDOM_BYTES = 6;
const TAG = /^op-(\d{4})(\d\d)(\d\d)t(\d\d)(\d\d)(\d\d)(\d{3})z-[0-9a-f]{12}$/;

const digest = z.custom<Digest>((value) => typeof value === 'string' && isDigest(value));
const filename = z.string().refine(isArchiveFilename);
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const revision = z.int().nonnegative();
/** As it is to stand in the repodata. */
const record = z.looseObject({
  name: z.string(),
  version: z.string(),
  build: z.string(),
  sha256,
  indexed_timestamp: z.int().nonnegative(),
});

const entry = z.discriminatedUnion('kind', [
  /** The archive is to be listed, unless something of a higher revision speaks against it. */
  z.looseObject({ kind: z.literal('add'), filename, revision, record, manifest: digest.optional() }),
  /** As `add`, in the place of other bytes. */
  z.looseObject({
    kind: z.literal('replace'),
    filename,
    revision,
    record,
    replaces: sha256,
    manifest: digest.optional(),
  }),
  z.looseObject({
    kind: z.literal('remove'),
    filename,
    revision,
    /** Whether it goes to `removed`, and stays to be fetched. Else it goes for a while, or because it is not stored. */
    yank: z.boolean(),
    /** What was listed. */
    record: record.optional(),
  }),
]);

const operationSchema = z.looseObject({
  operation_version: z.literal(1),
  subdir: z.string(),
  /** When it was logged, by the writer's clock; nothing depends on it but the tag. */
  at: z.iso.datetime(),
  /** Manifest of the repodata that the writer had read; `null` where there was none. */
  based_on: digest.nullable(),
  entries: z.array(entry),
});

/**
 * One writer's wish. Shape: `{ operation_version: 1, subdir: 'noarch', at: '2026-11-21T07:35:09.123Z', based_on: 'sha256:…',
 * entries: [{ kind: 'add', filename: 'a-1-0.conda', revision: 0, record: { … } }] }`.
 */
export type Operation = z.infer<typeof operationSchema>;

/** What an operation wants of one archive. Of several for one archive the highest revision counts. */
export type OperationEntry = Operation['entries'][number];

/** What lists an archive. */
export type ListingEntry = Exclude<OperationEntry, { readonly kind: 'remove' }>;

/** A record that an operation may list: with its sha256 and the time of its first indexing. */
export type PublishedRecord = z.infer<typeof record>;

/** Tells whether a tag of the ledger's repository is an operation's, such as `op-20261121t073509123z-0a1b2c3d4e5f`. */
export function isOperationTag(tag: string): boolean {
  return TAG.test(tag);
}

/** When an operation was logged, by its tag. */
export function operationTime(tag: string): Date | undefined {
  const [year, month, day, hour, minute, second, ms] = (TAG.exec(tag) ?? []).slice(1);
  if (ms === undefined) return undefined;
  const time = new Date(
    `${String(year)}-${String(month)}-${String(day)}T${String(hour)}:${String(minute)}:${String(second)}.${ms}Z`,
  );
  return Number.isNaN(time.getTime()) ? undefined : time;
}

/** An operation with its tag, before or after it was logged. */
export interface LoggedOperation {
  readonly tag: string;
  readonly operation: Operation;
}

/** Makes an operation with a tag that no other writer has. */
export function newOperation(
  subdir: string,
  entries: readonly OperationEntry[],
  basedOn: Digest | undefined,
  now: Date,
): LoggedOperation {
  const at = now.toISOString();
  const tag = `op-${at.toLowerCase().replace(/[-:.]/g, '')}-${randomBytes(RANDOM_BYTES).toString('hex')}`;
  const operation: Operation = {
    operation_version: 1,
    subdir,
    at,
    based_on: basedOn ?? null,
    entries: [...entries],
  };
  return { tag, operation };
}

/** Writes an operation into the log. */
export async function logOperation(
  store: ChannelStore,
  { tag, operation }: LoggedOperation,
  { signal }: CallOptions = {},
): Promise<void> {
  const layer = { mediaType: OPERATION, title: 'operation.json', bytes: encodeJson(operation) };
  await pushMetadata(store, operation.subdir, 'ledger', [layer], { signal, tags: [tag] });
}

/** Tags of all operations in the log of a subdir, the oldest first by the clocks of those who wrote them. */
export async function listOperations(
  store: ChannelStore,
  subdir: string,
  options: CallOptions = {},
): Promise<readonly string[]> {
  const tags: string[] = [];
  for await (const tag of store.metadataRepository(subdir, 'ledger').tags(options))
    if (isOperationTag(tag)) tags.push(tag);
  return tags.sort();
}

/**
 * Reads an operation; `undefined` where it is gone, since it was merged.
 * @throws FerryError `OPERATION_INVALID`: what it wants is not known, and must not be passed over
 */
export async function readOperation(
  store: ChannelStore,
  subdir: string,
  tag: string,
  options: CallOptions = {},
): Promise<Operation | undefined> {
  try {
    const found = await findMetadata(store, subdir, 'ledger', { ...options, reference: tag });
    if (found === undefined) return undefined;
    const bytes = await readMetadataLayer(found, OPERATION, MAX_OPERATION_BYTES, options);
    const operation = operationSchema.parse(JSON.parse(Buffer.from(bytes).toString('utf8')));
    if (operation.subdir === subdir) return operation;
    throw new FerryError('OPERATION_INVALID', `it speaks of \`${operation.subdir}\``);
  } catch (cause) {
    if (isFerryError(cause, 'NOT_FOUND')) return undefined;
    const isContent =
      cause instanceof z.ZodError || cause instanceof SyntaxError || cause instanceof IntegrityError;
    const isCoded = isFerryError(cause, 'MANIFEST_INVALID') || isFerryError(cause, 'OPERATION_INVALID');
    if (!isContent && !isCoded) throw cause;
    throw new FerryError(
      'OPERATION_INVALID',
      `the operation \`${tag}\` of \`${subdir}\` in \`${store.location}\` cannot be read`,
      { cause, hint: 'it may come from a newer conda-ferry; if it is damaged, delete that tag' },
    );
  }
}

/**
 * Takes merged operations out of the log, as far as the store can.
 * @returns how many are gone
 */
export async function deleteOperations(
  store: ChannelStore,
  subdir: string,
  tags: readonly string[],
  { signal }: CallOptions = {},
): Promise<number> {
  const repository = store.metadataRepository(subdir, 'ledger');
  let gone = 0;
  for (const tag of tags) {
    try {
      const found = await repository.resolve(tag, { signal });
      if (found === undefined) continue;
      if (repository.delete !== undefined) await repository.delete(found, { signal, tags: [tag] });
      else if (repository.untag !== undefined) await repository.untag(tag, { signal });
      else return gone;
      gone += 1;
    } catch (error) {
      // What cannot be deleted stays, and is known to be merged.
      if (isFerryError(error, 'UNSUPPORTED') || isFerryError(error, 'DENIED')) return gone;
      throw error;
    }
  }
  return gone;
}

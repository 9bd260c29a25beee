import type { RememberedCompanion } from '../../artifact/ledger.js';
import type { WorkerPool } from '../../artifact/worker-pool.js';
import type {
  ChannelSource,
  MetadataAnswer,
  OpenMetadataOptions,
  Validators,
} from '../../conda/channel-source.js';
import { FerryError, isFerryError } from '../../errors.js';
import { collect, type Bytes } from '../../io/bytes.js';

/**
 * What a metadata file may have, decompressed: far above the largest there is (300 MB in 2026). One at a time is in
 * memory, as the repodata is.
 */
const MAX_COMPANION_BYTES = 1024 * 1024 * 1024;

/** A metadata file as the source has it. */
export interface CompanionContent {
  /** The file that was read, such as `run_exports.json.zst`. */
  readonly form: string;
  readonly validators: Validators;
  /** The JSON text. */
  readonly bytes: Uint8Array;
  /** The source's own compressed form, if that is what was read. */
  readonly zst: Uint8Array | undefined;
}

/** Answer to {@link readCompanion}. */
export type CompanionAnswer =
  | { readonly status: 'absent' }
  | { readonly status: 'unchanged' }
  | { readonly status: 'found'; readonly content: CompanionContent };

/** What {@link readCompanion} works with. */
export interface ReadCompanionOptions {
  readonly source: ChannelSource;
  readonly workers: WorkerPool;
  /** Ask only whether it changed since then. */
  readonly unless?: RememberedCompanion | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Answer of {@link openCompanion}. */
type OpenedCompanion =
  | { readonly status: 'absent' }
  | { readonly status: 'unchanged' }
  | {
      readonly status: 'found';
      readonly form: string;
      readonly body: Bytes;
      readonly validators: Validators;
    };

/**
 * Asks what {@link readCompanion} would answer, without reading the file.
 * @throws what the source throws
 */
export async function probeCompanion(
  subdir: string,
  file: string,
  isCompressible: boolean,
  options: Omit<ReadCompanionOptions, 'workers'>,
): Promise<CompanionAnswer['status']> {
  const opened = await openCompanion(subdir, file, isCompressible, options);
  // What is not read to its end gives its connection back.
  if (opened.status === 'found') for await (const _ of opened.body) break;
  return opened.status;
}

/**
 * Reads a metadata file: compressed where there is that and `isCompressible`, else plain.
 * @throws FerryError `REPODATA_INVALID` for what is no zstd; IntegrityError `SIZE_EXCEEDED` above
 * {@link MAX_COMPANION_BYTES}; what the source throws
 */
export async function readCompanion(
  subdir: string,
  file: string,
  isCompressible: boolean,
  options: ReadCompanionOptions,
): Promise<CompanionAnswer> {
  const { workers, signal } = options;
  const opened = await openCompanion(subdir, file, isCompressible, options);
  if (opened.status !== 'found') return opened;
  const { form, validators } = opened;
  const what = `\`${subdir === '' ? form : `${subdir}/${form}`}\``;
  const body = await collect(opened.body, MAX_COMPANION_BYTES, what);
  if (!form.endsWith('.zst'))
    return { status: 'found', content: { form, validators, bytes: body, zst: undefined } };
  const input = { bytes: body, maxBytes: MAX_COMPANION_BYTES, what };
  const bytes = await workers.run('decompress', input, signal);
  return { status: 'found', content: { form, validators, bytes, zst: body } };
}

async function openCompanion(
  subdir: string,
  file: string,
  isCompressible: boolean,
  { source, unless, signal }: Omit<ReadCompanionOptions, 'workers'>,
): Promise<OpenedCompanion> {
  const forms = isCompressible ? [`${file}.zst`, file] : [file];
  // A ledger can be written by others: it chooses among the forms, and names no file.
  const known = forms.find((form) => form === unless?.file);
  const before: Validators = { etag: unless?.etag, lastModified: unless?.last_modified };
  const isConditional =
    known !== undefined && (before.etag !== undefined || before.lastModified !== undefined);
  for (const form of isConditional ? [known] : forms) {
    const path = subdir === '' ? form : `${subdir}/${form}`;
    const answer = await openOptional(source, path, {
      signal,
      ...(isConditional ? { unless: before } : {}),
    });
    if (answer.status === 'absent') continue;
    if (answer.status === 'unchanged') {
      if (isConditional) return { status: 'unchanged' };
      throw new FerryError(
        'REGISTRY_REFUSED',
        `\`${source.url}/${path}\` answered that it did not change, unasked`,
      );
    }
    const { body, validators } = answer;
    return { status: 'found', form, body, validators };
  }
  // The form that was read last time is gone; another one may still be there.
  if (isConditional) return openCompanion(subdir, file, isCompressible, { source, signal });
  return { status: 'absent' };
}

/** Buckets that list nothing to strangers refuse what they do not have. */
async function openOptional(
  source: ChannelSource,
  path: string,
  options: OpenMetadataOptions,
): Promise<MetadataAnswer> {
  try {
    return await source.openMetadata(path, options);
  } catch (error) {
    if (isFerryError(error, 'DENIED') || isFerryError(error, 'UNAUTHORIZED')) return { status: 'absent' };
    throw error;
  }
}

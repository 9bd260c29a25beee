import { hash } from 'node:crypto';
import { packageMediaType } from '../artifact/media-types.js';
import { checkPackedInfo, type PackedArchive } from '../artifact/package-artifact.js';
import type { PackedInfo } from '../artifact/worker.js';
import type { WorkerPool } from '../artifact/worker-pool.js';
import type { ChannelSource } from '../conda/channel-source.js';
import type { RepodataRecord } from '../conda/package-record.js';
import { CopyError, IntegrityError, isFerryError } from '../errors.js';
import {
  concatBytes,
  openerOf,
  noteFailure,
  skipBytes,
  type Bytes,
  type NotedFailure,
  type OpenBytes,
  type OpenOptions,
} from '../io/bytes.js';
import { sha256Digest } from '../io/digest.js';
import { CondaSkimmer, type SkimmedConda } from '../conda/archive/conda-skimmer.js';
import { Spool } from '../io/spool.js';
import { openSummer, type Sums } from '../io/sums.js';
import type { TempFolder } from '../io/temp-folder.js';
import type { Repository } from '../oci/storage.js';

/** An archive above this size goes up while it comes down; a smaller one is checked before anything is sent. */
const STREAM_FROM_BYTES = 8 * 1024 * 1024;
/** An archive up to this size stays in memory. 2 MiB times the usual 16 transfers is little. */
const MAX_MEMORY_BYTES = 2 * 1024 * 1024;
/** Where a record names no size, an archive may have this many bytes: registries take no larger layer. */
const MAX_ARCHIVE_BYTES = 50 * 1024 ** 3;

/** What {@link receiveArchive} works with. */
export interface ReceiveOptions {
  readonly source: Pick<ChannelSource, 'openArchive'>;
  readonly workers: WorkerPool;
  readonly temp: TempFolder;
  /**
   * Where a large archive may go while it arrives, under the digest that its record names; the registry refuses
   * other bytes. Without it nothing is sent.
   */
  readonly uploadTo?: Repository | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** An archive that arrived whole and is what its record says. Disposing lets go of its bytes. */
export interface ReceivedArchive extends AsyncDisposable {
  readonly packed: PackedArchive;
  /** Whether its blob is at the destination already. */
  readonly uploaded: boolean;
}

/**
 * Fetches one archive, checks it against its record and takes its info out.
 * @throws FerryError `ARCHIVE_…`, `DIGEST_MISMATCH`, `SIZE_MISMATCH`, `DISK_FULL` and what the source throws;
 * CopyError (destination) if the upload failed
 */
export async function receiveArchive(
  record: RepodataRecord,
  options: ReceiveOptions,
): Promise<ReceivedArchive> {
  if (record.size !== undefined && record.size <= MAX_MEMORY_BYTES) return receiveSmall(record, options);
  return (await receiveThrough(record, options)) ?? (await receiveSpooled(record, options));
}

/** As {@link receiveArchive}, by way of a temporary file where it is not small. */
async function receiveSpooled(record: RepodataRecord, options: ReceiveOptions): Promise<ReceivedArchive> {
  const { source, workers, temp, signal } = options;
  const spool = new Spool({ temp });
  const stop = new AbortController();
  const upload = startUpload(record, spool, options, stop.signal);
  try {
    const archive = { ...record, subdir: record.listedIn };
    let sums: Sums = { sha256: '', md5: '' };
    await spool.fill(
      checkArchive(source.openArchive(archive, { signal }), record, (found) => {
        sums = found;
      }),
    );
    const info = await workers.run(
      'pack',
      { archive: spool.contents(), extension: record.extension },
      signal,
    );
    const name = checkPackedInfo(info, record.filename, record.listedIn);
    const failure = await upload;
    if (failure !== undefined) throw destinationError(record, failure.error);
    const layer = {
      filename: record.filename,
      extension: record.extension,
      digest: sha256Digest(sums.sha256),
      size: spool.size,
      md5: sums.md5,
    };
    return {
      packed: { name, layer, info, open: spool.open },
      uploaded: upload !== undefined,
      [Symbol.asyncDispose]: () => spool[Symbol.asyncDispose](),
    };
  } catch (error) {
    stop.abort(error);
    await upload;
    await spool[Symbol.asyncDispose]();
    throw error;
  }
}

/** As {@link receiveArchive}, all in memory: most archives of a channel are so small that each further step shows. */
async function receiveSmall(record: RepodataRecord, options: ReceiveOptions): Promise<ReceivedArchive> {
  const { source, workers, signal } = options;
  const { filename, extension, listedIn } = record;
  const chunks: Uint8Array[] = [];
  const counter = createCounter(record);
  for await (const chunk of source.openArchive({ ...record, subdir: listedIn }, { signal })) {
    counter.add(chunk);
    chunks.push(chunk);
  }
  const size = counter.end();
  const bytes = concatBytes(chunks);
  const sums: Sums = { sha256: hash('sha256', bytes), md5: hash('md5', bytes) };
  checkSums(record, sums);
  const info = await workers.run('pack', { archive: { bytes }, extension }, signal);
  const name = checkPackedInfo(info, filename, listedIn);
  const layer = { filename, extension, digest: sha256Digest(sums.sha256), size, md5: sums.md5 };
  return {
    packed: { name, layer, info, open: openerOf(bytes) },
    uploaded: false,
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

/** What one whole reading of an archive brought, all checked. */
interface Reading {
  readonly sums: Sums;
  readonly skimmed: SkimmedConda | undefined;
}

/**
 * As {@link receiveArchive}, for a large `.conda`: it goes from the source to the destination and nowhere else, while it is
 * summed up and its info is kept. A destination that wants it again gets it from the source again. `undefined` where that
 * is not possible.
 */
async function receiveThrough(
  record: RepodataRecord,
  options: ReceiveOptions,
): Promise<ReceivedArchive | undefined> {
  const { source, uploadTo, workers, signal } = options;
  const { filename, extension, listedIn, sha256, size } = record;
  if (uploadTo === undefined || extension !== 'conda') return undefined;
  if (sha256 === undefined || size === undefined || size < STREAM_FROM_BYTES) return undefined;
  const own: NotedFailure = {};
  let reading: Reading | undefined;
  const read = async function* (options: OpenOptions = {}): Bytes {
    const skimmer = new CondaSkimmer(size);
    let sums: Sums | undefined;
    const body = source.openArchive({ ...record, subdir: listedIn }, { signal: options.signal ?? signal });
    for await (const chunk of checkArchive(body, record, (found) => (sums = found))) {
      skimmer.take(chunk);
      yield chunk;
    }
    if (sums !== undefined) reading = { sums, skimmed: skimmer.finish() };
  };
  const open: OpenBytes = (options = {}) => {
    const bytes = noteFailure(() => read(options), own);
    return options.offset === undefined ? bytes : skipBytes(bytes, options.offset);
  };
  const descriptor = { mediaType: packageMediaType(extension), digest: sha256Digest(sha256), size };
  try {
    await uploadTo.push(descriptor, open, { signal });
    // The destination may have had it, or have got it from somebody else.
    if (reading === undefined) for await (const _ of open()) signal?.throwIfAborted();
  } catch (error) {
    signal?.throwIfAborted();
    // The archive's own faults come first.
    throw 'error' in own ? own.error : destinationError(record, error);
  }
  const { sums, skimmed } = reading as unknown as Reading;
  const info = skimmed === undefined ? undefined : await packSkimmed(skimmed, workers, signal);
  if (info === undefined) {
    // What is wrong with it, or only unusual, its whole will tell.
    const spooled = await receiveSpooled(record, { ...options, uploadTo: undefined });
    return { ...spooled, uploaded: true, [Symbol.asyncDispose]: () => spooled[Symbol.asyncDispose]() };
  }
  const name = checkPackedInfo(info, filename, listedIn);
  const layer = { filename, extension, digest: descriptor.digest, size, md5: sums.md5 };
  return {
    packed: { name, layer, info, open },
    uploaded: true,
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

/** The info of an archive whose payload is not at hand; `undefined` where that is not enough to tell. */
async function packSkimmed(
  skimmed: SkimmedConda,
  workers: WorkerPool,
  signal: AbortSignal | undefined,
): Promise<PackedInfo | undefined> {
  try {
    return await workers.run('pack', { archive: skimmed, extension: 'conda' }, signal);
  } catch {
    signal?.throwIfAborted();
    return undefined;
  }
}

/** Never rejects: the archive's own faults are thrown first, so the outcome waits until somebody asks. */
function startUpload(
  record: RepodataRecord,
  spool: Spool,
  options: ReceiveOptions,
  stop: AbortSignal,
): Promise<{ readonly error: unknown } | undefined> | undefined {
  const { uploadTo, signal } = options;
  const { sha256, size } = record;
  if (uploadTo === undefined || sha256 === undefined || size === undefined || size < STREAM_FROM_BYTES) {
    return undefined;
  }
  const descriptor = { mediaType: packageMediaType(record.extension), digest: sha256Digest(sha256), size };
  const either = signal === undefined ? stop : AbortSignal.any([signal, stop]);
  return uploadTo.push(descriptor, spool.open, { signal: either }).then(
    () => undefined,
    (error: unknown) => ({ error }),
  );
}

/** Says that the destination is at fault; what is no error of ours (an abort) stays as it is. */
export function destinationError(record: Pick<RepodataRecord, 'filename'>, error: unknown): unknown {
  if (!isFerryError(error) || error instanceof CopyError) return error;
  return new CopyError('destination', `the destination did not take \`${record.filename}\``, error);
}

interface Counter {
  /** @throws IntegrityError `SIZE_EXCEEDED` */
  add(chunk: Uint8Array): void;
  /** The size of all. @throws IntegrityError `SIZE_MISMATCH` */
  end(): number;
}

function createCounter(record: RepodataRecord): Counter {
  const what = `\`${record.filename}\``;
  const maxBytes = record.size ?? MAX_ARCHIVE_BYTES;
  let size = 0;
  return {
    add: (chunk) => {
      size += chunk.byteLength;
      if (size > maxBytes) throw new IntegrityError('SIZE_EXCEEDED', what, maxBytes, size);
    },
    end: () => {
      if (record.size === undefined || size === record.size) return size;
      throw new IntegrityError('SIZE_MISMATCH', what, record.size, size);
    },
  };
}

/** A sha256 says more than an md5, which old records carry alone. @throws IntegrityError `DIGEST_MISMATCH` */
function checkSums(record: RepodataRecord, sums: Sums): void {
  const kind = record.sha256 === undefined ? 'md5' : 'sha256';
  const [expected, actual] = [record[kind], sums[kind]];
  if (actual === expected) return;
  const what = `\`${record.filename}\``;
  throw new IntegrityError('DIGEST_MISMATCH', what, `${kind}:${expected ?? '?'}`, `${kind}:${actual}`);
}

/**
 * Passes an archive on while checking it against its record, and tells its sums at the end, once they are known to be the
 * right ones; a consumer may commit only after a clean end.
 * @throws IntegrityError `SIZE_EXCEEDED` at the first byte too many, `SIZE_MISMATCH`, `DIGEST_MISMATCH` at the end
 */
export async function* checkArchive(
  body: Bytes,
  record: RepodataRecord,
  onSums: (sums: Sums) => void = () => undefined,
): Bytes {
  const counter = createCounter(record);
  await using summer = openSummer(record.size ?? 0);
  for await (const chunk of body) {
    counter.add(chunk);
    const busy = summer.update(chunk);
    if (busy !== undefined) await busy;
    yield chunk;
  }
  counter.end();
  const sums = await summer.finish();
  checkSums(record, sums);
  onSums(sums);
}

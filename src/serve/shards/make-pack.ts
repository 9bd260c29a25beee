import { createHash } from 'node:crypto';
import { open, rm, type FileHandle } from 'node:fs/promises';
import { isJsonObject } from '../../conformance/rules/json-value.js';
import { splitRepodataStream } from '../../conda/shards/split-repodata-stream.js';
import type { JsonObject } from '../../conda/shards/shard-files.js';
import { writeShard, writeShardIndex } from '../../conda/shards/write-shards.js';
import { isFerryError } from '../../errors.js';
import { translateDiskError, writeFully } from '../../io/atomic-file.js';
import type { Bytes } from '../../io/bytes.js';
import { sha256Digest, type Digest } from '../../io/digest.js';
import { compressZstd } from '../../io/zstd.js';
import { countArchives, toldContent } from './told-content.js';
import { PackTableBuilder, type PackTable, type ShardFault } from './pack-table.js';

/** Beside the index, as `publish` has them. */
const SHARDS_BASE = './shards/';
/** Listings are for the gateway alone, and lie on its disk. */
const LISTING_LEVEL = 3;
/** So much is written at once. */
const BATCH_BYTES = 256 * 1024;

/** Options of {@link makePack}. All of it crosses between threads. */
export interface MakePackOptions {
  readonly subdir: string;
  /** Of the pack, which must not be there. Where it cannot be made, nothing is left. */
  readonly path: string;
  /** What `info` of the index says: when it was made. */
  readonly createdAt: Date;
  /**
   * What else `info` of the index says.
   * @defaultValue `repodata_revisions` as the repodata has it, unless that leads elsewhere
   * @see CEP 42, CEP 48
   */
  readonly info?: JsonObject | undefined;
  /** Bytes that will come, as far as that is known. */
  readonly size?: number | undefined;
}

/**
 * Writes all shards of a subdir's repodata into one file, each followed by the listing of its package, which says all that
 * the repodata says. Where the repodata would lead clients elsewhere, shards hold what `Repodata.splice` would leave of it.
 * @throws ParseError `REPODATA_INVALID`; IntegrityError `SIZE_EXCEEDED` where one package has more than 64 MiB of text;
 * FerryError `DISK_FULL`
 */
export async function makePack(
  source: Bytes,
  { subdir, path, createdAt, info: given, size }: MakePackOptions,
  signal?: AbortSignal,
): Promise<PackTable> {
  const split = { path: bucketsOf(path), size, signal };
  await using repodata = await splitRepodataStream(source, split);
  const info = isJsonObject(repodata.info) ? repodata.info : {};
  // What is served instead of such repodata lists less, and says nothing of other channels.
  const leadsElsewhere = repodata.namesUrls || 'base_url' in info || 'channel_relations' in info;
  const pack = await PackFile.create(path);
  try {
    const table = new PackTableBuilder();
    const shards = new Map<string, Digest>();
    let fault: ShardFault | undefined;
    let recordCount = 0;
    for await (const { name, content, text } of repodata.packages()) {
      const told = leadsElsewhere ? toldContent(content) : content;
      recordCount += countArchives(content);
      const written =
        fault === undefined && told !== undefined ? await tryToWrite(writeShard(told)) : undefined;
      if (written !== undefined && 'fault' in written) fault = written.fault;
      const { offset } = pack;
      const shard = written !== undefined && 'bytes' in written ? await pack.add(written.bytes) : undefined;
      if (shard !== undefined) shards.set(name, sha256Digest(shard.digest.toString('hex')));
      table.add(name, offset, shard, await pack.add(await compressZstd(text, LISTING_LEVEL)));
    }
    const { repodata_revisions: revisions } = info;
    const isStated = isJsonObject(revisions) && !leadsElsewhere;
    const indexInfo = {
      ...(given ?? (isStated ? { repodata_revisions: revisions } : {})),
      subdir,
      base_url: '',
      shards_base_url: SHARDS_BASE,
      created_at: createdAt.toISOString(),
    };
    const index =
      fault === undefined ? await tryToWrite(writeShardIndex({ info: indexInfo, shards })) : { fault };
    return {
      subdir,
      index: 'bytes' in index ? index.bytes : undefined,
      fault: 'fault' in index ? index.fault : undefined,
      ...table.finish(),
      recordCount,
      baseUrl: baseUrlIn(info),
      leadsElsewhere,
      ...(await pack.finish()),
    };
  } catch (error) {
    await pack.discard();
    throw translateDiskError(error, path);
  }
}

/** Where a pack's records are sorted before it is written. */
export function bucketsOf(path: string): string {
  return `${path}.buckets`;
}

/** Some packages cannot be shards: above the size that clients read, or with a key that readers of msgpack refuse. */
async function tryToWrite(
  writing: Promise<Uint8Array>,
): Promise<{ readonly bytes: Uint8Array } | { readonly fault: ShardFault }> {
  try {
    return { bytes: await writing };
  } catch (error) {
    if (!isFerryError(error, 'SIZE_EXCEEDED') && !isFerryError(error, 'REPODATA_INVALID')) throw error;
    return { fault: { code: error.code, message: error.message } };
  }
}

function baseUrlIn(info: JsonObject): string | undefined {
  const value = info['base_url'];
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** A file that is written from its start to its end. */
class PackFile {
  readonly #path: string;
  readonly #file: FileHandle;
  readonly #hash = createHash('sha256');
  #batch: Uint8Array[] = [];
  #batchBytes = 0;
  #offset = 0;

  private constructor(path: string, file: FileHandle) {
    this.#path = path;
    this.#file = file;
  }

  static async create(path: string): Promise<PackFile> {
    return new PackFile(path, await open(path, 'wx', 0o600));
  }

  /** Where the next bytes will lie. */
  get offset(): number {
    return this.#offset;
  }

  async add(bytes: Uint8Array): Promise<{ readonly digest: Buffer; readonly size: number }> {
    this.#batch.push(bytes);
    this.#batchBytes += bytes.byteLength;
    this.#offset += bytes.byteLength;
    if (this.#batchBytes >= BATCH_BYTES) await this.#write();
    return { digest: createHash('sha256').update(bytes).digest(), size: bytes.byteLength };
  }

  async finish(): Promise<{ readonly digest: Digest; readonly size: number }> {
    await this.#write();
    await this.#file.close();
    return { digest: sha256Digest(this.#hash.digest('hex')), size: this.#offset };
  }

  async discard(): Promise<void> {
    await this.#file.close();
    await rm(this.#path, { force: true });
  }

  async #write(): Promise<void> {
    const batch = Buffer.concat(this.#batch);
    this.#batch = [];
    this.#batchBytes = 0;
    this.#hash.update(batch);
    await writeFully(this.#file, batch);
  }
}

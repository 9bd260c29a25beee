import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { encode } from '@msgpack/msgpack';
import { digestHex, digestOf } from '#ferry/io/digest.js';
import { compressZstd } from '#ferry/io/zstd.js';

/** A record as repodata has it. */
export type PlainRecord = Readonly<Record<string, unknown>>;
/** A decoded shard. */
export type Shard = Record<string, unknown>;

/** Sharded repodata while it is put together: bend it, then write it. */
export interface Shards {
  index: Record<string, unknown>;
  /** By package name. */
  readonly shards: Map<string, unknown>;
}

/** The digests of a record as bytes, as a shard has them. */
export function withBytes(record: PlainRecord): PlainRecord {
  return Object.fromEntries(
    Object.entries(record).map(([key, value]) => [
      key,
      (key === 'sha256' || key === 'md5') && typeof value === 'string' ? Buffer.from(value, 'hex') : value,
    ]),
  );
}

/** Makes right shards of repodata. */
export function shardsOf(
  subdir: string,
  repodata: { readonly packages: object; readonly 'packages.conda': object },
): Shards {
  const shards = new Map<string, Record<string, Record<string, unknown>>>();
  for (const section of ['packages', 'packages.conda'] as const) {
    for (const [filename, record] of Object.entries(repodata[section]) as [string, PlainRecord][]) {
      const name = String(record['name']);
      const shard = shards.get(name) ?? { packages: {}, 'packages.conda': {} };
      shards.set(name, shard);
      shard[section]![filename] = withBytes(record);
    }
  }
  const info = { subdir, base_url: '', shards_base_url: '', created_at: '2026-01-01T00:00:00Z' };
  return { index: { version: 1, info }, shards };
}

/** Compresses what msgpack is made of; bytes are taken as they are. */
export async function pack(value: unknown): Promise<Uint8Array> {
  return compressZstd(value instanceof Uint8Array ? value : encode(value), 3);
}

/** Writes shards below a folder, and an index that names them unless it has `shards` of its own. */
export async function writeShards(
  folder: string,
  { index, shards }: Shards,
  shardsBase = '',
): Promise<ReadonlyMap<string, string>> {
  const paths = new Map<string, string>();
  const digests: Record<string, unknown> = {};
  for (const [name, shard] of shards) {
    const bytes = await pack(shard);
    const hex = digestHex(digestOf(bytes));
    digests[name] = Buffer.from(hex, 'hex');
    const path = join(folder, shardsBase, `${hex}.msgpack.zst`);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, bytes);
    paths.set(name, path);
  }
  await writeFile(join(folder, 'repodata_shards.msgpack.zst'), await pack({ shards: digests, ...index }));
  return paths;
}

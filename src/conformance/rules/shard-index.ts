import { isDeepStrictEqual } from 'node:util';
import type { CheckLog } from '../check-log.js';
import { literals, pointTo, type JsonObject } from './json-value.js';
import { isMap, quoteValue } from './msgpack-value.js';
import type { RepodataText } from './repodata-text.js';

/** Of a SHA-256. */
const DIGEST_BYTES = 32;
const TIME_PATTERN = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)$/;

/** What {@link checkShardIndex} looks at. */
export interface ShardIndexSubject {
  /** The decoded index; digests are byte arrays. */
  readonly value: unknown;
  /** The folder it lies in, such as `noarch`. */
  readonly subdir: string;
  /** Its place, such as `noarch/repodata_shards.msgpack.zst`. */
  readonly where: string;
  /** The repodata of the subdir, where it was read. */
  readonly repodata?: RepodataText | undefined;
}

/** What a shard index names. */
export interface ShardIndex {
  /** Where the shards lie, as the index says it: absolute, or relative to the index; empty beside it. */
  readonly shardsBaseUrl: string | undefined;
  /** Lower-case hex by package name. */
  readonly digests: ReadonlyMap<string, string>;
}

/** Checks the index of a subdir's shards. @returns what it names; `undefined` where it is no map */
export function checkShardIndex(subject: ShardIndexSubject, log: CheckLog): ShardIndex | undefined {
  const { value, where, repodata } = subject;
  const isIndex = log.expect('cep16/index-format', isMap(value), () => ({
    where,
    found: quoteValue(value),
    expected: 'a msgpack map',
  }));
  if (!isIndex || !isMap(value)) return undefined;
  const { version, info, shards } = value;
  log.expect('cep16/index-version', version === undefined || version === 1, () => ({
    where: pointTo(where, 'version'),
    found: quoteValue(version),
    expected: '1',
  }));
  const hasInfo = log.expect('cep16/index-info', isMap(info), () => ({
    where,
    found: info === undefined ? 'no `info`' : `\`info\` that is ${quoteValue(info)}`,
    expected: 'a map',
  }));
  const place = pointTo(where, 'info');
  if (hasInfo && isMap(info)) checkInfo(info, subject, place, log);
  const digests = checkHashes(shards, where, log);
  if (repodata !== undefined && isMap(shards)) checkNames(shards, repodata, where, log);
  const base = isMap(info) ? info['shards_base_url'] : undefined;
  return { shardsBaseUrl: typeof base === 'string' ? base : undefined, digests };
}

function checkInfo(info: JsonObject, subject: ShardIndexSubject, where: string, log: CheckLog): void {
  const { subdir, repodata } = subject;
  const { subdir: named, base_url: base, shards_base_url: shardsBase, created_at: created } = info;
  log.expect('cep16/info-subdir', named === subdir, () => ({
    where: pointTo(where, 'subdir'),
    found: quoteValue(named),
    expected: `\`${subdir}\`, the folder it lies in`,
  }));
  const hasBase = log.expect('cep16/base-url-present', base !== undefined, () => ({
    where,
    found: 'no `base_url`',
    expected: 'it, empty where the archives lie beside the index',
  }));
  if (hasBase) {
    log.expect('cep16/base-url', isUrlReference(base), () => ({
      where: pointTo(where, 'base_url'),
      found: quoteValue(base),
      expected: 'a URL, absolute or relative to the index',
    }));
  }
  log.expect('cep16/shards-base-url', isUrlReference(shardsBase), () => ({
    where: pointTo(where, 'shards_base_url'),
    found: quoteValue(shardsBase),
    expected: 'a URL, absolute or relative to the index; empty where the shards lie beside it',
  }));
  const isTime =
    typeof created === 'string' && TIME_PATTERN.test(created) && !Number.isNaN(Date.parse(created));
  log.expect('cep16/created-at', isTime, () => ({
    where: pointTo(where, 'created_at'),
    found: quoteValue(created),
    expected: 'a time such as `2026-11-21T07:35:00Z`',
  }));
  if (repodata === undefined) return;
  const said = info['channel_relations'];
  const other = repodata.info()['channel_relations'];
  log.expect('cep42/shards-agree', isDeepStrictEqual(said, other), () => ({
    where: pointTo(where, 'channel_relations'),
    found: quoteValue(said),
    expected: `${quoteValue(other)}, as in the repodata`,
  }));
}

function checkHashes(shards: unknown, where: string, log: CheckLog): ReadonlyMap<string, string> {
  const digests = new Map<string, string>();
  const hasShards = log.expect('cep16/shard-hashes', isMap(shards), () => ({
    where: pointTo(where, 'shards'),
    found: quoteValue(shards),
    expected: 'a map of digests by package name',
  }));
  if (!hasShards || !isMap(shards)) return digests;
  for (const [name, digest] of Object.entries(shards)) {
    const isDigest = digest instanceof Uint8Array && digest.byteLength === DIGEST_BYTES;
    log.expect('cep16/shard-hashes', isDigest, () => ({
      where: pointTo(where, 'shards', name),
      found: quoteValue(digest),
      expected: 'a binary of 32 bytes: the SHA-256 of the shard',
    }));
    if (isDigest) digests.set(name, Buffer.from(digest).toString('hex'));
  }
  return digests;
}

/** Whether each name that the repodata lists has a shard. What the shards say is compared where they are read. */
function checkNames(shards: JsonObject, repodata: RepodataText, where: string, log: CheckLog): void {
  const missing = [...namesListed(repodata).keys()].filter((name) => !Object.hasOwn(shards, name));
  log.expect('cep16/same-records', missing.length === 0, () => ({
    where: pointTo(where, 'shards'),
    found: `nothing of ${literals(missing)}`,
    expected: 'every package that the repodata lists',
  }));
}

/** File names in `packages` and `packages.conda`, by the package name that they begin with. */
export function namesListed(repodata: RepodataText): ReadonlyMap<string, readonly string[]> {
  const names = new Map<string, string[]>();
  for (const filename of repodata.filenames()) {
    const name = filename.split('-').slice(0, -2).join('-');
    if (name === '') continue;
    const listed = names.get(name);
    if (listed === undefined) names.set(name, [filename]);
    else listed.push(filename);
  }
  return names;
}

function isUrlReference(value: unknown): boolean {
  return typeof value === 'string' && URL.canParse(value, 'https://channel.invalid/noarch/');
}

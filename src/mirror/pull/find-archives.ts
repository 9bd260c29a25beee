import type { MatchSpec } from '../../conda/match-spec/match-spec.js';
import { matchesRecord, needsDetails } from '../../conda/match-spec/matches-record.js';
import type { RepodataRecord } from '../../conda/package-record.js';
import type { JsonObject } from '../../conda/record-details.js';
import { FerryError } from '../../errors.js';
import { isDigest, sha256Digest } from '../../io/digest.js';
import type { LockedArchive, LockedArchives } from '../../provenance/lock-files/locked-archives.js';
import { LockComparison } from '../filters/lock-comparison.js';
import { parseNamedSpec } from '../filters/spec-list.js';
import type { PullFailure, PullOptions } from './options.js';
import { readChannelRecords, type ChannelRecords } from '../read-channel.js';

/** An archive that is to be pulled. */
export interface WantedArchive {
  readonly subdir: string;
  readonly filename: string;
  /** 64 lower-case hex digits. */
  readonly sha256: string;
  /** Lower-case hex, where it has to be that as well. */
  readonly md5?: string | undefined;
  /** In bytes; unknown of what the channel does not list. */
  readonly size?: number | undefined;
  readonly record?: RepodataRecord | undefined;
  /** All that the repodata says of it, where that was asked for. */
  readonly document?: JsonObject | undefined;
  readonly locked?: LockedArchive | undefined;
}

/** What there is of what was asked for. */
export interface FoundArchives {
  /** In the order of the repodata, subdir by subdir; what is locked and not listed comes last. */
  readonly wanted: readonly WantedArchive[];
  /** What is locked and not to be had, and records that cannot be checked. */
  readonly failed: readonly PullFailure[];
}

type FindOptions = Pick<
  PullOptions,
  'channel' | 'specs' | 'lock' | 'subdirs' | 'workers' | 'signal' | 'extract'
>;

/** A record with what is locked of it. */
interface Hit {
  readonly record: RepodataRecord;
  locked?: LockedArchive | undefined;
}

/**
 * Looks up in the channel what is asked for.
 * @throws FerryError `NOT_FOUND` if a spec names nothing, `USAGE`, `MATCH_SPEC_INVALID`, `CHANNEL_NOT_FOUND`
 */
export async function findArchives(options: FindOptions): Promise<FoundArchives> {
  const wishes = options.specs.map((text) => ({ text, ...wishOf(text), found: false }));
  const lock = lockedIn(options);
  const comparisons = new Map([...lock.keys()].map((subdir) => [subdir, comparisonOf(subdir, lock)]));
  const wanted: WantedArchive[] = [];
  const failed: PullFailure[] = [];
  // Only specs look everywhere.
  const subdirs = wishes.length > 0 ? options.subdirs : [...lock.keys()];
  const isEmpty = wishes.length === 0 && lock.size === 0;
  for await (const listed of isEmpty ? [] : readChannelRecords(options.channel, { ...options, subdirs })) {
    const hits = await findInSubdir(listed, wishes, comparisons.get(listed.subdir));
    const documents = new Map<string, JsonObject>();
    if (options.extract === true && hits.size > 0) {
      for await (const { filename, document } of listed.documents((name) => hits.has(name)))
        documents.set(filename, document);
    }
    for (const hit of hits.values()) {
      const archive = wantedOf(hit, documents.get(hit.record.filename));
      if ('error' in archive) failed.push(archive);
      else wanted.push(archive);
    }
  }
  checkMet(wishes, options.channel.url);
  for (const comparison of comparisons.values()) {
    const { lockMissing, lockMismatches } = comparison.finish();
    for (const { locked, found } of lockMismatches) failed.push(mismatch(locked, found));
    for (const locked of lockMissing) {
      const { subdir, filename, sha256 } = locked;
      // A channel may still have what it lists no more; the sha256 is all it takes to know it.
      if (sha256 !== undefined) wanted.push({ subdir, filename, sha256, locked });
      else failed.push({ subdir, filename, error: notListed(locked) });
    }
  }
  return { wanted, failed };
}

/** The error for a locked archive that the channel does not have. */
export function notListed(locked: LockedArchive, cause?: unknown): FerryError {
  const where = locked.channel === undefined ? '' : ` from ${locked.channel}`;
  return new FerryError('NOT_FOUND', `it is locked${where}, and this channel does not list it`, { cause });
}

function mismatch(locked: LockedArchive, found: string | undefined): PullFailure {
  const { subdir, filename, sha256, md5 } = locked;
  const expected = sha256 === undefined ? `md5:${md5 ?? '?'}` : `sha256:${sha256}`;
  const message = `it is locked as ${expected}, and the channel lists ${found ?? 'no hash'}`;
  return { subdir, filename, error: new FerryError('DIGEST_MISMATCH', message) };
}

/** The lock by subdir, as far as these were asked for. @throws FerryError `USAGE` where nothing is left of it */
function lockedIn({ lock, subdirs }: FindOptions): ReadonlyMap<string, LockedArchives> {
  const bySubdir = new Map<string, LockedArchive[]>();
  for (const archive of lock?.archives ?? []) {
    if (subdirs?.includes(archive.subdir) === false) continue;
    bySubdir.set(archive.subdir, [...(bySubdir.get(archive.subdir) ?? []), archive]);
  }
  if (lock !== undefined && lock.archives.length > 0 && bySubdir.size === 0) {
    const others = [...new Set(lock.archives.map(({ subdir }) => subdir))].sort().join(', ');
    throw new FerryError('USAGE', `nothing is locked for ${(subdirs ?? []).join(', ')}, but for ${others}`);
  }
  const ignored = { pypi: 0, elsewhere: 0 };
  return new Map([...bySubdir].sort().map(([subdir, archives]) => [subdir, { archives, ignored }]));
}

function comparisonOf(subdir: string, lock: ReadonlyMap<string, LockedArchives>): LockComparison {
  return new LockComparison(subdir, lock.get(subdir) ?? { archives: [], ignored: { pypi: 0, elsewhere: 0 } });
}

async function findInSubdir(
  { records, details }: ChannelRecords,
  wishes: readonly (Wish & { found: boolean })[],
  comparison: LockComparison | undefined,
): Promise<ReadonlyMap<string, Hit>> {
  const hits = new Map<string, Hit>();
  const candidates = new Set<string>();
  for (const record of records) {
    const locked = comparison?.find(record);
    if (locked !== undefined) hits.set(record.filename, { record, locked });
    for (const wish of wishes) {
      if (!wish.matches(record)) continue;
      if (wish.spec !== undefined) candidates.add(record.filename);
      else {
        wish.found = true;
        hits.set(record.filename, { record, locked });
      }
    }
  }
  // The rest of what they say stands in the text, which is read once more for those that have the right name.
  for await (const record of candidates.size === 0 ? [] : details((filename) => candidates.has(filename))) {
    for (const wish of wishes) {
      if (wish.spec === undefined || !matchesRecord(wish.spec, record)) continue;
      wish.found = true;
      if (!hits.has(record.filename)) hits.set(record.filename, { record });
    }
  }
  return hits;
}

function wantedOf({ record, locked }: Hit, document: JsonObject | undefined): WantedArchive | PullFailure {
  const { filename, size, listedIn: subdir } = record;
  // Old repodata tells the md5 only, and lock files know both.
  const sha256 = record.sha256 ?? locked?.sha256;
  if (sha256 === undefined || size === undefined) {
    const message = `record of \`${filename}\` has no sha256 or size to check it by`;
    return { subdir, filename, error: new FerryError('RECORD_INVALID', message) };
  }
  // That the channel lists it for an md5 does not say that the bytes have it.
  const md5 = locked?.sha256 === undefined ? locked?.md5 : undefined;
  return { subdir, filename, sha256, md5, size, record, document, locked };
}

function checkMet(wishes: readonly { readonly text: string; readonly found: boolean }[], url: string): void {
  const unmet = wishes.filter(({ found }) => !found).map(({ text }) => `\`${text}\``);
  if (unmet.length === 0) return;
  // `list` shortens digests, so that one is easily taken for the whole.
  const isCut = wishes.some(({ text, found }) => !found && /^(?:sha256:)?[\da-f]{12,63}$/.test(text));
  throw new FerryError('NOT_FOUND', `\`${url}\` has nothing for ${unmet.join(', ')}`, {
    hint: isCut ? 'a digest is `sha256:` and 64 digits; list --wide shows them whole' : undefined,
  });
}

/** What somebody asks for; with a spec, all that {@link Wish.matches} lets pass has to be looked at closer. */
interface Wish {
  readonly matches: (record: RepodataRecord) => boolean;
  readonly spec?: MatchSpec;
}

function wishOf(text: string): Wish {
  if (isDigest(text)) {
    return { matches: ({ sha256 }) => sha256 !== undefined && sha256Digest(sha256) === text };
  }
  if (/\.(?:conda|tar\.bz2)$/.test(text)) return { matches: ({ filename }) => filename === text };
  const spec = parseNamedSpec(text);
  if (needsDetails(spec)) return { matches: ({ name }) => spec.name.matches(name), spec };
  return { matches: (record) => matchesRecord(spec, record) };
}

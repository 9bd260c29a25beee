import { join } from 'node:path';
import type { WorkerPool } from '../artifact/worker-pool.js';
import type { ChannelSource } from '../conda/channel-source.js';
import type { MatchSpec } from '../conda/match-spec/match-spec.js';
import { matchesRecord, needsDetails } from '../conda/match-spec/matches-record.js';
import type { RepodataRecord } from '../conda/package-record.js';
import { FerryError, isFerryError } from '../errors.js';
import { writeFileAtomic } from '../io/atomic-file.js';
import { isDigest, sha256Digest, type Digest } from '../io/digest.js';
import { verifyBytes } from '../io/verify.js';
import { parseNamedSpec } from './filters/spec-list.js';
import { readChannelRecords } from './read-channel.js';

/** Options of {@link pullArchives}. */
export interface PullOptions {
  readonly channel: ChannelSource;
  /** Match specs, file names or sha256 digests. */
  readonly specs: readonly string[];
  /** Folder for the archives; made if absent. */
  readonly folder: string;
  readonly subdirs?: readonly string[] | undefined;
  readonly workers: WorkerPool;
  readonly signal?: AbortSignal | undefined;
}

/** An archive that was fetched, its digest checked. */
export interface PulledArchive {
  readonly subdir: string;
  readonly filename: string;
  readonly path: string;
  readonly digest: Digest;
  /** In bytes. */
  readonly size: number;
}

/** An archive that could not be fetched; the others are. */
export interface PullFailure {
  readonly subdir: string;
  readonly filename: string;
  readonly error: FerryError;
}

/**
 * Fetches the archives that the specs name, each checked before it gets its name in `folder`.
 * @returns one by one, those that failed too: `RECORD_INVALID` where a record has no sha256 or size, IntegrityError …
 * @throws FerryError `NOT_FOUND` if a spec names nothing, `USAGE` if two archives have one name, `MATCH_SPEC_INVALID`
 */
export async function* pullArchives(options: PullOptions): AsyncGenerator<PulledArchive | PullFailure> {
  const wishes = options.specs.map((text) => ({ text, ...wishOf(text), found: false }));
  const wanted: RepodataRecord[] = [];
  for await (const { records, details } of readChannelRecords(options.channel, options)) {
    const inSubdir = new Map<string, RepodataRecord>();
    const candidates = new Set<string>();
    for (const record of records) {
      for (const wish of wishes) {
        if (!wish.matches(record)) continue;
        if (wish.spec !== undefined) candidates.add(record.filename);
        else {
          wish.found = true;
          inSubdir.set(record.filename, record);
        }
      }
    }
    // The rest of what they say stands in the text, which is read once more for those that have the right name.
    for await (const record of candidates.size === 0 ? [] : details((filename) => candidates.has(filename))) {
      for (const wish of wishes) {
        if (wish.spec === undefined || !matchesRecord(wish.spec, record)) continue;
        wish.found = true;
        inSubdir.set(record.filename, record);
      }
    }
    wanted.push(...inSubdir.values());
  }
  const unmet = wishes.filter(({ found }) => !found).map(({ text }) => `\`${text}\``);
  if (unmet.length > 0) {
    // `list` shortens digests, so that one is easily taken for the whole.
    const isCut = wishes.some(({ text, found }) => !found && /^(?:sha256:)?[\da-f]{12,63}$/.test(text));
    throw new FerryError('NOT_FOUND', `\`${options.channel.url}\` has nothing for ${unmet.join(', ')}`, {
      hint: isCut ? 'a digest is `sha256:` and 64 digits; list --wide shows them whole' : undefined,
    });
  }
  checkNames(wanted);
  for (const record of wanted) {
    try {
      yield await pullOne(record, options);
    } catch (error) {
      if (!isFerryError(error) || error.code === 'DISK_FULL') throw error;
      yield { subdir: record.listedIn, filename: record.filename, error };
    }
  }
}

/** Archives of two subdirs may have one name, and the folder has room for one. */
function checkNames(records: readonly RepodataRecord[]): void {
  const subdirs = new Map<string, string>();
  for (const { filename, listedIn } of records) {
    const other = subdirs.get(filename);
    if (other !== undefined) {
      throw new FerryError('USAGE', `\`${filename}\` stands in \`${other}\` and in \`${listedIn}\``, {
        hint: `pass --subdir ${other} or --subdir ${listedIn}`,
      });
    }
    subdirs.set(filename, listedIn);
  }
}

async function pullOne(record: RepodataRecord, options: PullOptions): Promise<PulledArchive> {
  const { filename, sha256, size, listedIn: subdir } = record;
  if (sha256 === undefined || size === undefined) {
    throw new FerryError('RECORD_INVALID', `record of \`${filename}\` has no sha256 or size to check it by`);
  }
  const digest = sha256Digest(sha256);
  const body = options.channel.openArchive({ ...record, subdir }, { signal: options.signal });
  const path = join(options.folder, filename);
  await writeFileAtomic(path, verifyBytes(body, { digest, size }, `\`${filename}\``));
  return { subdir, filename, path, digest, size };
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

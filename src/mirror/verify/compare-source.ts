/** What a channel lists against what its source lists. */
import type { ChannelStore } from '../../artifact/channel-store.js';
import type { Ledger } from '../../artifact/ledger.js';
import type { ChannelSource } from '../../conda/channel-source.js';
import type { RepodataRecord } from '../../conda/package-record.js';
import { isFerryError, UnrepresentableError } from '../../errors.js';
import { readChannelRecords } from '../read-channel.js';
import { finding, type Finding } from './findings.js';
import { twinOf } from './places.js';
import type { LookContext } from './verify-context.js';

/**
 * Reads what a source lists in a subdir, by file name.
 * @returns `undefined` where it has no such subdir
 */
export async function readSource(
  source: ChannelSource,
  subdir: string,
  context: Pick<LookContext, 'workers' | 'signal'>,
): Promise<ReadonlyMap<string, RepodataRecord> | undefined> {
  try {
    const { workers, signal } = context;
    for await (const { records } of readChannelRecords(source, { subdirs: [subdir], workers, signal })) {
      return new Map(Array.from(records, (record) => [record.filename, record]));
    }
    return undefined;
  } catch (error) {
    if (isFerryError(error, 'CHANNEL_NOT_FOUND')) return undefined;
    throw error;
  }
}

/** What {@link compareWithSource} compares. */
export interface Comparison {
  readonly subdir: string;
  /** What the channel lists, by file name. */
  readonly listed: ReadonlyMap<string, RepodataRecord>;
  readonly source: ReadonlyMap<string, RepodataRecord>;
  readonly ledger: Ledger | undefined;
  /** `undefined` for an ordinary channel, which holds everything. */
  readonly store: ChannelStore | undefined;
}

/** Compares by digest and not by name; what the schema cannot hold is not missed. */
export function compareWithSource(comparison: Comparison): readonly Finding[] {
  const { subdir, listed, source, ledger } = comparison;
  const findings: Finding[] = [];
  const quarantine = new Map(ledger?.quarantine.map((entry) => [entry.filename, entry.code]));
  const withheld = new Set(ledger?.withheld.map(({ filename }) => filename));
  for (const [filename, record] of source) {
    const here = listed.get(filename);
    if (here === undefined) {
      if (withheld.has(filename) || isWithheld(record, comparison)) continue;
      const code = quarantine.get(filename);
      const why =
        code === undefined ? 'it is not listed here' : `the last mirror run could not have it (${code})`;
      findings.push(finding('NOT_MIRRORED', { subdir, filename }, why, false));
    } else {
      const difference = differenceOf(here, record);
      if (difference !== undefined) {
        findings.push(finding('REPLACED_AT_SOURCE', { subdir, filename }, difference, false));
      }
    }
  }
  const foreign = new Set(ledger?.foreign);
  for (const filename of listed.keys()) {
    if (source.has(filename)) continue;
    const why = foreign.has(filename) ? 'others published it here' : 'the source does not list it';
    findings.push(finding('ONLY_HERE', { subdir, filename }, why, false));
  }
  return findings;
}

function differenceOf(here: RepodataRecord, there: RepodataRecord): string | undefined {
  for (const kind of ['sha256', 'md5'] as const) {
    const [ours, theirs] = [here[kind], there[kind]];
    if (ours === undefined || theirs === undefined) continue;
    return ours === theirs ? undefined : `the source lists ${kind}:${theirs}, this channel ${kind}:${ours}`;
  }
  return undefined;
}

/** @see v1/P6 */
function isWithheld(record: RepodataRecord, { store, source }: Comparison): boolean {
  if (store === undefined) return false;
  try {
    store.packageRepository(record.listedIn, store.schema.placeOf(record));
  } catch (error) {
    if (error instanceof UnrepresentableError) return true;
    throw error;
  }
  return !store.schema.holdsTwins && record.extension === 'tar.bz2' && source.has(twinOf(record));
}

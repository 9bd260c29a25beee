/** What there is to migrate in one subdir: the source's records by artifact, against what the destination lists. */
import { readLedger, type Ledger, type LedgerRole } from '../../artifact/ledger.js';
import type { PackagePlace } from '../../artifact/schema.js';
import type { RepodataRecord } from '../../conda/package-record.js';
import type { Repodata } from '../../conda/repodata/repodata.js';
import { FerryError, isFerryError } from '../../errors.js';
import { compareText } from '../../io/compare-text.js';
import { checkSchema } from '../../artifact/check-schema.js';
import { foreignRecords } from '../foreign-records.js';
import { WantedRecords, type Refused } from '../wanted-records.js';
import { takeSnapshot, type Snapshot } from '../snapshot.js';
import { readPublished, readState, type Published, type SubdirState } from '../state.js';
import type { MigrationContext } from './migration-context.js';

/** One artifact to migrate. */
export interface MigrationItem {
  readonly subdir: string;
  /** Where it is at the source. */
  readonly from: PackagePlace;
  /** Where it goes at the destination. */
  readonly to: PackagePlace;
  /** Records of its archives, one or two. */
  readonly records: readonly RepodataRecord[];
}

/** A subdir with what is known of both ends, before anything is written. */
export interface PreparedSubdir {
  readonly subdir: string;
  readonly snapshot: Snapshot;
  readonly repodata: Repodata;
  /** Ordered by repository, so that one token serves all tags of each. */
  readonly items: readonly MigrationItem[];
  readonly withheld: readonly Refused[];
  /** Records that cannot be used. */
  readonly invalid: readonly Refused[];
  /** The source's ledger, if it vouches for what the source lists. */
  readonly sourceLedger: Ledger | undefined;
  /** Archives that the source keeps and does not list. */
  readonly unlisted: number;
  /** What the destination's ledger says that the channel is. */
  readonly role: LedgerRole;
  readonly state: SubdirState;
  readonly published: Published | undefined;
  /** Records that the destination lists: file name to identity. */
  readonly listed: ReadonlyMap<string, string>;
  readonly warnings: readonly string[];
}

/**
 * Reads both ends of a subdir; `undefined` where the source has no such subdir.
 * @throws FerryError `SCHEMA_CONFLICT`, `FOREIGN_RECORDS`, `LEDGER_INVALID`, `REPODATA_INVALID`, `USAGE` where a part is
 * to be tried again and nothing is published yet
 */
export async function prepareSubdir(
  subdir: string,
  context: MigrationContext,
): Promise<PreparedSubdir | undefined> {
  const { channel, destination, temp, workers, resources, signal, only } = context;
  const answer = await takeSnapshot(channel, subdir, { temp, workers, signal });
  if (answer.status !== 'found') return undefined;
  const snapshot = resources.use(answer.snapshot);
  const { repodata } = snapshot;
  const warnings = repodata.neededChanges().map((change) => `${subdir}: ${change}`);

  const { ledger, isVouched } = await readSourceLedger(subdir, context, warnings);
  const isMirror = isVouched && ledger?.role.kind === 'mirror';
  // Nightly mirroring goes on from the new channel where the old one was a mirror.
  const role: LedgerRole = isMirror ? ledger.role : { kind: 'migrated', source: channel.url };

  const state = await readState(destination, subdir, {
    source: role.source ?? channel.url,
    deep: false,
    signal,
  });
  if (state.trust === 'empty') {
    const hint = 'choose another path: the repositories of the two would mix';
    await checkSchema(destination, subdir, { signal, hint });
  }
  const { latest } = state;
  const published =
    latest === undefined
      ? undefined
      : await readPublished(destination, subdir, latest, { temp, workers, signal });
  if (published !== undefined) resources.use(published);
  checkNotForeign(repodata, published, state, context);
  if (only !== undefined && published === undefined) {
    throw new FerryError(
      'USAGE',
      `nothing of \`${subdir}\` is published at \`${destination.location}\` yet`,
      {
        hint: 'run the migration without --retry-failed; it goes on from what is there',
      },
    );
  }

  // Others' records have stopped the migration above.
  const wanted = new WantedRecords({ store: destination, repodata });
  const { items, invalid } = groupItems(wanted.records(), context);
  return {
    subdir,
    snapshot,
    repodata,
    items,
    withheld: wanted.withheld,
    invalid: [...wanted.invalid, ...invalid],
    sourceLedger: isVouched ? ledger : undefined,
    unlisted: Object.keys(ledger?.kept ?? {}).length,
    role,
    state,
    published,
    listed: new Map(published?.repodata.identities()),
    warnings,
  };
}

/** Whoever migrates may have no right to see that there is no ledger, and needs none. */
async function readSourceLedger(
  subdir: string,
  { source, signal }: MigrationContext,
  warnings: string[],
): Promise<{ readonly ledger: Ledger | undefined; readonly isVouched: boolean }> {
  let ledger: Ledger | undefined;
  try {
    ledger = await readLedger(source, subdir, { signal });
  } catch (error) {
    if (isFerryError(error, 'LEDGER_INVALID')) warnings.push(`${subdir}: the source's ledger cannot be read`);
    else if (!isFerryError(error, 'DENIED') && !isFerryError(error, 'UNAUTHORIZED')) throw error;
  }
  // What the snapshot was just taken of.
  const latest = source.latestOf(source.metadataRepository(subdir, 'repodata.json'));
  const isVouched =
    ledger !== undefined &&
    ledger.schema === source.schema.id &&
    (latest === ledger.repodata || latest === ledger.running?.publishing);
  return { ledger, isVouched };
}

/** What others listed at the destination since then is not dropped. */
function checkNotForeign(
  repodata: Repodata,
  published: Published | undefined,
  state: SubdirState,
  { channel, destination }: MigrationContext,
): void {
  // Where a migration of this very channel was the last to publish, the source took back what it lists no more.
  if (state.ledger?.migrated?.source === channel.url && state.trust !== 'unknown') return;
  const foreign = [...(published?.repodata.filenames() ?? [])].filter((filename) => !repodata.has(filename));
  if (foreign.length === 0) return;
  throw foreignRecords(
    `\`${repodata.subdir}\` of \`${destination.location}\``,
    foreign,
    'the source does not',
    'choose another path: that channel holds more than a migration would leave in it',
  );
}

function groupItems(
  records: Iterable<RepodataRecord>,
  { source, destination, only }: MigrationContext,
): { readonly items: readonly MigrationItem[]; readonly invalid: readonly Refused[] } {
  const groups = new Map<string, { -readonly [Key in keyof MigrationItem]: MigrationItem[Key] }>();
  const invalid: Refused[] = [];
  for (const record of records) {
    const to = destination.schema.placeOf(record);
    const key = `${to.repository}:${to.tag}`;
    try {
      const from = source.schema.placeOf(record);
      const group = groups.get(key) ?? { subdir: record.listedIn, from, to, records: [] };
      group.records = [...group.records, record];
      groups.set(key, group);
    } catch (error) {
      if (!isFerryError(error)) throw error;
      invalid.push({ filename: record.filename, code: error.code, message: error.message });
    }
  }
  // Twins share an artifact: with one of them the other is looked at again.
  const isWanted = ({ subdir, records }: MigrationItem): boolean =>
    only === undefined || records.some(({ filename }) => only.get(subdir)?.has(filename) === true);
  const items = [...groups.values()].filter(isWanted);
  items.sort((a, b) => compareText(`${a.to.repository}:${a.to.tag}`, `${b.to.repository}:${b.to.tag}`));
  return { items, invalid };
}

import { filtersDigest, firstLedger, type Ledger, type Quarantined } from '../../artifact/ledger.js';
import type { Descriptor } from '../../oci/descriptor.js';
import { isArchiveFilename, parseArchiveFilename } from '../../conda/names.js';
import { isFerryError } from '../../errors.js';
import type { Composition } from '../compose.js';
import { makeLedger, seenOf } from '../make-ledger.js';
import type { MigrationContext } from './migration-context.js';
import type { PreparedSubdir } from './prepare-subdir.js';

/** What came of a subdir. */
export interface MigratedState {
  readonly repodata: Descriptor;
  readonly composition: Pick<Composition, 'unchanged'>;
  /** File name to identity of what is listed. */
  readonly there: ReadonlyMap<string, string>;
  readonly quarantine: readonly Quarantined[];
  /** Whether there are shims for clients. */
  readonly shims: boolean;
}

/**
 * The ledger as it is true while the run lasts: of what is listed it vouches only for what a ledger vouched for before.
 */
export function ledgerOfRun(
  prepared: PreparedSubdir,
  { source, destination, channel }: MigrationContext,
): Ledger {
  const { state, subdir, role } = prepared;
  const { repodata: _, source: __, ...rest } = state.ledger ?? firstLedger(destination, subdir, role);
  const isTrusted = state.trust === 'vouched' || state.trust === 'interrupted';
  return {
    ...rest,
    schema: destination.schema.id,
    role,
    migrated: { source: channel.url, schema: source.schema.id },
    ...(isTrusted && state.latest !== undefined ? { repodata: state.latest.digest } : {}),
  };
}

/**
 * Makes the ledger of a migrated subdir. Where the source's says that it is a mirror, so does this one, with the
 * source's source as it was last seen: mirroring goes on from there and fetches nothing again.
 */
export function migratedLedger(
  prepared: PreparedSubdir,
  result: MigratedState,
  context: MigrationContext,
): Ledger {
  const { destination, channel } = context;
  const { role, repodata, state, withheld } = prepared;
  const { there } = result;
  const before = role.kind === 'mirror' ? prepared.sourceLedger : undefined;
  const ofBefore = sortWithheld(before, context);
  const own = new Set(result.quarantine.map(({ filename }) => filename));
  const quarantine = [
    ...(before?.quarantine ?? []).filter(({ filename }) => !own.has(filename)),
    ...result.quarantine,
  ];
  const kept = new Map(
    [...Object.entries(state.ledger?.kept ?? {}), ...prepared.listed].filter(
      ([filename]) => !there.has(filename),
    ),
  );
  // What the old schema could not hold and the new one can is still to be fetched: nothing may look settled.
  const isSettled = before?.running === undefined && ofBefore.representable === 0;
  const ledger = makeLedger({
    store: destination,
    role,
    migrated: { source: channel.url, schema: context.source.schema.id },
    seen: before === undefined ? seenOf(prepared.snapshot) : isSettled ? before.source : undefined,
    subdir: prepared.subdir,
    filters: filtersDigest(destination),
    repodata: result.repodata.digest,
    unchanged: result.composition.unchanged && before?.unchanged !== false,
    complete: quarantine.length === 0 && before?.complete !== false,
    counts: { listed: before?.counts?.listed ?? repodata.recordCount, there: there.size },
    withheld: [...withheld, ...ofBefore.stillWithheld],
    quarantine,
    kept,
    foreign: new Set((before?.foreign ?? []).filter((filename) => there.has(filename))),
    subdirs: before?.subdirs,
  });
  return { ...ledger, sidecars: true, ...(result.shims ? { shims: true } : {}) };
}

/** Records that the source's schema could not hold: neither can the destination's, or now they can be had. */
function sortWithheld(
  before: Ledger | undefined,
  { destination }: MigrationContext,
): { readonly stillWithheld: Ledger['withheld']; readonly representable: number } {
  const all = before?.withheld ?? [];
  const stillWithheld = all.filter(({ filename }) => !isRepresentable(filename, destination));
  return { stillWithheld, representable: all.length - stillWithheld.length };
}

function isRepresentable(filename: string, destination: MigrationContext['destination']): boolean {
  if (!isArchiveFilename(filename)) return false;
  try {
    destination.schema.placeOf(parseArchiveFilename(filename));
    return true;
  } catch (error) {
    if (!isFerryError(error)) throw error;
    return false;
  }
}

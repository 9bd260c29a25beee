import { checkSchema } from '../artifact/check-schema.js';
import { ensureClientShims } from '../artifact/client-shims.js';
import { firstLedger, readLedger, writeLedger, type Ledger } from '../artifact/ledger.js';
import { checkNoRun, checkNotHeld } from '../artifact/run-marks.js';
import { FerryError } from '../errors.js';
import { mergeLog, readMerged, type CommitOptions } from './commit.js';
import { pause, readHead, type Head } from './head.js';
import type { MergedState } from './merge.js';

/** The subdir that makes a folder a channel. @see CEP 26 */
const NOARCH = 'noarch';
const REREAD_PAUSE_MS = 100;

/** A subdir that may be published to. */
export interface OpenSubdir {
  /** What `latest` names. */
  readonly head: Head;
  /** That, with all that is logged. */
  readonly state: MergedState;
  readonly ledger: Ledger | undefined;
  readonly epoch: Ledger['epoch'];
}

/**
 * Reads a subdir, and makes sure that it is one that is published to, or that nobody has anything in.
 * @param options `force`: publish although it is a mirror, or nobody says what it is
 * @throws FerryError `ROLE_MISMATCH`, `SCHEMA_CONFLICT`, `LEDGER_INVALID`, `RUN_UNFINISHED`, `ROLLED_BACK`, `REPODATA_INVALID`,
 * `OPERATION_INVALID`
 */
export async function openSubdir(
  subdir: string,
  options: CommitOptions & { readonly force?: boolean | undefined },
): Promise<OpenSubdir> {
  const { store, signal } = options;
  let ledger = await readLedger(store, subdir, { signal });
  const { head, state } = await readMerged(subdir, { ...options, epoch: ledger?.epoch });
  // A registry on a disk cannot read a tag for a moment while it is written.
  if (ledger === undefined && head.digest !== undefined) {
    await (options.sleep ?? pause)(REREAD_PAUSE_MS, signal);
    ledger = await readLedger(store, subdir, { signal });
  }
  const epoch = ledger?.epoch;
  await checkRole(subdir, ledger, head, options);
  return { head, state, ledger, epoch };
}

async function checkRole(
  subdir: string,
  ledger: Ledger | undefined,
  head: Head,
  { store, signal, force = false }: Parameters<typeof openSubdir>[1],
): Promise<void> {
  if (ledger?.role.kind === 'published') return;
  if (head.digest === undefined) await checkSchema(store, subdir, { signal });
  checkNoRun(ledger, store, subdir);
  checkNotHeld(ledger, store, subdir);
  if (force) return;
  const where = `\`${subdir}\` of \`${store.location}\``;
  if (ledger !== undefined) {
    const { source } = ledger.role;
    throw new FerryError('ROLE_MISMATCH', `${where} is made out of \`${source}\``, {
      hint: 'what is published is better off in a channel of its own; with --force this one is changed, and the mirror then needs --merge',
    });
  }
  if (head.digest === undefined) return;
  throw new FerryError('ROLE_MISMATCH', `${where} was published by another tool`, {
    hint: 'if that tool no longer writes to it, --force makes it a channel that is published to',
  });
}

/**
 * Makes a subdir one that is published to: its ledger says so, clients find what they ask for, and the channel has `noarch`.
 */
export async function establishSubdir(
  subdir: string,
  head: Head,
  options: CommitOptions & { readonly ledger: Ledger | undefined },
): Promise<void> {
  const { store, signal, ledger: known } = options;
  // Of several that begin at once the first one is enough.
  if (known === undefined && (await readLedger(store, subdir, { signal })) === undefined) {
    const ledger = { ...firstLedger(store, subdir, { kind: 'published' }), complete: true };
    await writeLedger(store, ledger, { signal });
  }
  if (head.digest !== undefined) return;
  await ensureClientShims(store, subdir, { signal });
  if (subdir === NOARCH) return;
  const noarch = await readHead(NOARCH, options);
  if (noarch.digest !== undefined) return;
  const shared = { ...options, epoch: undefined };
  await establishSubdir(NOARCH, noarch, { ...shared, ledger: undefined });
  await mergeLog(NOARCH, noarch, { ...shared, creates: true });
}

import type { ChannelStore } from '../artifact/channel-store.js';
import { checkSchema } from '../artifact/check-schema.js';
import { ensureClientShims } from '../artifact/client-shims.js';
import { firstLedger, readLedger, writeLedger } from '../artifact/ledger.js';
import { FerryError } from '../errors.js';
import type { CallOptions } from '../oci/storage.js';
import { mergeLog, type CommitOptions } from './commit.js';
import { pause, readHead, type Head, type HeadOptions } from './head.js';

/** The subdir that makes a folder a channel. @see CEP 26 */
const NOARCH = 'noarch';
const REREAD_PAUSE_MS = 100;

/** Options of {@link checkRole}. */
export interface RoleOptions extends CallOptions, Pick<HeadOptions, 'sleep'> {
  readonly force?: boolean | undefined;
}

/**
 * Makes sure that a subdir is one that is published to, or that nobody has anything in.
 * @param force publish although it is a mirror, or nobody says what it is
 * @returns whether the ledger says so already
 * @throws FerryError `ROLE_MISMATCH`, `SCHEMA_CONFLICT`, `LEDGER_INVALID`
 */
export async function checkRole(
  store: ChannelStore,
  subdir: string,
  head: Head,
  { signal, sleep = pause, force = false }: RoleOptions,
): Promise<boolean> {
  let ledger = await readLedger(store, subdir, { signal });
  // A registry on a disk cannot read a tag for a moment while it is written.
  if (ledger === undefined && head.digest !== undefined) {
    await sleep(REREAD_PAUSE_MS, signal);
    ledger = await readLedger(store, subdir, { signal });
  }
  if (ledger?.role.kind === 'published') return true;
  if (head.digest === undefined) await checkSchema(store, subdir, { signal });
  if (force) return ledger !== undefined;
  const where = `\`${subdir}\` of \`${store.location}\``;
  if (ledger !== undefined) {
    const { source } = ledger.role;
    throw new FerryError('ROLE_MISMATCH', `${where} is made out of \`${source}\``, {
      hint: 'publish to a channel of its own; --force publishes here, and the mirror then needs --merge',
    });
  }
  if (head.digest !== undefined) {
    throw new FerryError('ROLE_MISMATCH', `${where} was published by another tool`, {
      hint: 'if nobody mirrors into it any more, --force makes it a channel that is published to',
    });
  }
  return false;
}

/**
 * Makes a subdir one that is published to: its ledger says so, clients find what they ask for, and the channel has `noarch`.
 */
export async function establishSubdir(
  subdir: string,
  head: Head,
  options: CommitOptions & { readonly isKnown: boolean },
): Promise<void> {
  const { store, signal, isKnown } = options;
  // Of several that begin at once the first one is enough.
  if (!isKnown && (await readLedger(store, subdir, { signal })) === undefined) {
    const ledger = { ...firstLedger(store, subdir, { kind: 'published' }), complete: true };
    await writeLedger(store, ledger, { signal });
  }
  if (head.digest !== undefined) return;
  await ensureClientShims(store, subdir, { signal });
  if (subdir === NOARCH) return;
  const noarch = await readHead(NOARCH, options);
  if (noarch.digest !== undefined) return;
  await establishSubdir(NOARCH, noarch, { ...options, isKnown: false });
  await mergeLog(NOARCH, noarch, { ...options, creates: true });
}

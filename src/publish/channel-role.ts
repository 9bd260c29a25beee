import type { ChannelStore } from '../artifact/channel-store.js';
import { checkSchema } from '../artifact/check-schema.js';
import { ensureClientShims } from '../artifact/client-shims.js';
import { firstLedger, readLedger, writeLedger } from '../artifact/ledger.js';
import { FerryError } from '../errors.js';
import type { CallOptions } from '../oci/storage.js';
import { mergeLog, type CommitOptions } from './commit.js';
import { readHead, type Head } from './head.js';

/** The subdir that makes a folder a channel. @see CEP 26 */
const NOARCH = 'noarch';

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
  { signal, force = false }: CallOptions & { readonly force?: boolean | undefined },
): Promise<boolean> {
  const ledger = await readLedger(store, subdir, { signal });
  if (ledger?.role.kind === 'published') return true;
  if (head.digest === undefined) await checkSchema(store, subdir, { signal });
  if (force) return ledger !== undefined;
  const where = `\`${subdir}\` of \`${store.location}\``;
  if (ledger !== undefined) {
    const { source = 'another channel' } = ledger.role;
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
  if (!isKnown) {
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

/** What a ledger says that forbids to go on: a run that has not ended, or a rollback that holds the channel. */
import type { ChannelStore } from './channel-store.js';
import type { Ledger } from './ledger.js';
import { FerryError } from '../errors.js';

/** Stands as `kind` in the marker of a rollback under way, so that it may be begun again. */
export const ROLLBACK_RUN = 'rollback';

/** Tells whether a rollback was begun and has not ended. */
export function isRollbackRun(ledger: Ledger | undefined): boolean {
  return ledger?.running?.['kind'] === ROLLBACK_RUN;
}

/** Makes sure that nobody is at work in a subdir, or was killed there. @throws FerryError `RUN_UNFINISHED` */
export function checkNoRun(ledger: Ledger | undefined, store: ChannelStore, subdir: string): void {
  const running = ledger?.running;
  if (running === undefined) return;
  const isRollback = isRollbackRun(ledger);
  throw new FerryError(
    'RUN_UNFINISHED',
    `a ${isRollback ? 'rollback' : 'mirror run'} of \`${subdir}\` in \`${store.location}\`, begun ${running.started}, has not ended`,
    {
      hint: isRollback
        ? 'run conda-ferry index CHANNEL --generation TAG again'
        : 'wait for it; if it was killed, run mirror again, and then this',
    },
  );
}

/** Makes sure that no rollback holds a subdir. @throws FerryError `ROLLED_BACK` */
export function checkNotHeld(ledger: Ledger | undefined, store: ChannelStore, subdir: string): void {
  const hold = ledger?.rolled_back;
  if (hold === undefined) return;
  throw new FerryError(
    'ROLLED_BACK',
    `\`${subdir}\` of \`${store.location}\` was rolled back to \`${hold.to}\` at ${hold.at}`,
    { hint: 'pass --resume to publish the newest state of the source again' },
  );
}

/** Makes sure that a subdir is not one that packages are published to. @throws FerryError `ROLE_MISMATCH` */
export function checkNotPublished(ledger: Ledger | undefined, store: ChannelStore, subdir: string): void {
  if (ledger?.role.kind !== 'published') return;
  throw new FerryError(
    'ROLE_MISMATCH',
    `\`${subdir}\` of \`${store.location}\` is published to, and no mirror`,
    {
      hint: 'choose another destination: a mirror has the state of its source and nothing else',
    },
  );
}

import { join } from 'node:path';
import type { ChannelStore } from '../artifact/channel-store.js';
import { FerryError, isFerryError } from '../errors.js';
import { digestHex, digestOf } from '../io/digest.js';
import { acquireDirectoryLock, type DirectoryLock } from '../io/directory-lock.js';
import { encodeJson } from '../oci/manifest.js';
import type { CallOptions } from '../oci/storage.js';

/** What commands that write to a channel are told. */
export interface LockOptions extends CallOptions {
  /**
   * Folder that keeps a second run of the same destination on this machine out, such as `~/.cache/conda-ferry/locks`.
   * @defaultValue none: nobody is kept out
   */
  readonly lockFolder?: string | undefined;
}

/**
 * Keeps other runs of this machine from writing to the same channel, where there is a folder for it; those of other
 * machines are noticed only when they publish.
 * @throws FerryError `LOCK_TIMEOUT` where another run holds it
 */
export async function lockDestination(
  store: ChannelStore,
  { lockFolder, signal }: LockOptions,
): Promise<DirectoryLock | undefined> {
  if (lockFolder === undefined) return undefined;
  const name = digestHex(digestOf(encodeJson({ location: store.location })));
  try {
    return await acquireDirectoryLock(join(lockFolder, name), { timeoutMs: 0, signal });
  } catch (error) {
    if (!isFerryError(error, 'LOCK_TIMEOUT')) throw error;
    throw new FerryError('LOCK_TIMEOUT', `another run is writing to \`${store.location}\``, {
      cause: error,
      hint: 'wait until it ends, or end it; what it moved is not moved again',
    });
  }
}

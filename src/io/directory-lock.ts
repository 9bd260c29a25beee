import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, readdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { FerryError, isSystemError } from '../errors.js';
import { translateDiskError } from './atomic-file.js';
import { isGone, thisProcess, type ProcessIdentity } from './process-identity.js';

const OWNER_FILE = 'owner.json';
/** An owner document has some 300 bytes; more than this is not one. */
const MAX_OWNER_BYTES = 4096;

const DEFAULT_TIMEOUT_MS = 60_000;
/** Six heartbeats: a busy machine misses one or two, hardly six. */
const DEFAULT_STALE_AFTER_MS = 30_000;
const DEFAULT_HEARTBEAT_MS = 5_000;
/** No process that still runs takes a day from judging a lock stale to renaming it. */
const DEFAULT_CLEAN_UP_AFTER_MS = 24 * 60 * 60 * 1000;
const MIN_POLL_MS = 2;
/** Short, so that a waiter finds the gap between two holds of a process that takes the lock again and again. */
const MAX_POLL_MS = 40;
/** A waiter that was itself held up, perhaps together with the holder, has seen no more than this of the time. */
const MAX_STEP_MS = 250;

/** Options of {@link acquireDirectoryLock}. All who share a lock must use the same `staleAfterMs`. */
export interface DirectoryLockOptions {
  readonly signal?: AbortSignal | undefined;
  /** How long to wait for the lock. @defaultValue 60,000 */
  readonly timeoutMs?: number | undefined;
  /** A holder on another machine or in another container is given up after so long without heartbeat. @defaultValue 30,000 */
  readonly staleAfterMs?: number | undefined;
  /** How often the holder shows that it lives. @defaultValue 5,000 */
  readonly heartbeatMs?: number | undefined;
  /** Age at which what killed processes left beside the lock is removed. @defaultValue one day */
  readonly cleanUpAfterMs?: number | undefined;
}

const ownerSchema = z.object({
  token: z.uuid(),
  host: z.string(),
  bootId: z.string().optional(),
  pidNamespace: z.string().optional(),
  pid: z.int().positive(),
  startTime: z.string().optional(),
  since: z.string(),
});

type Owner = z.infer<typeof ownerSchema>;

/** A point in time by two clocks. */
interface Moment {
  readonly monotonicMs: number;
  readonly wallMs: number;
}

interface LockTimes {
  readonly staleAfterMs: number;
  readonly heartbeatMs: number;
  /** Not after the moment at which others could see the lock. */
  readonly since: Moment;
}

/** A held lock; disposing releases it. */
export class DirectoryLock implements AsyncDisposable {
  readonly path: string;
  readonly #token: string;
  readonly #staleAfterMs: number;
  readonly #since: Moment;
  #timer: NodeJS.Timeout | undefined;
  #beat: Promise<void> | undefined;

  /** Use {@link acquireDirectoryLock}. */
  constructor(path: string, token: string, times: LockTimes) {
    this.path = path;
    this.#token = token;
    this.#staleAfterMs = times.staleAfterMs;
    this.#since = times.since;
    this.#timer = setInterval(() => {
      this.#beat ??= this.#touch().finally(() => (this.#beat = undefined));
    }, times.heartbeatMs).unref();
  }

  /**
   * Checks on disk that the lock is still ours, as it may not be after the process or the machine slept. To be
   * called right before the step that the lock guards.
   * @throws FerryError `LOCK_LOST`
   */
  async assertHeld(): Promise<void> {
    if (this.#timer === undefined) throw new FerryError('LOCK_LOST', `lock \`${this.path}\` was released`);
    const sighting = await look(this.path);
    if (sighting?.identity === this.#token) return;
    const by = sighting === undefined ? 'another process' : describeHolder(sighting);
    throw new FerryError('LOCK_LOST', `lock \`${this.path}\` was taken over by ${by}`);
  }

  /** Releases the lock; one that was lost is left to its new owner. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#timer === undefined) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    await this.#beat;
    if ((await look(this.path))?.identity !== this.#token) return;
    // Between the look and this rename another process may have taken over; `bury` fails then, as it must.
    if (!(await bury(this.path, this.#token))) return;
    // Nobody can have judged a shorter hold stale, so nobody is about to bury by this token. The wall clock counts
    // too because the other stands still while a machine sleeps.
    const heldMs = Math.max(performance.now() - this.#since.monotonicMs, Date.now() - this.#since.wallMs);
    if (heldMs < this.#staleAfterMs / 2) await removeQuietly(gravePath(this.path, this.#token));
  }

  async #touch(): Promise<void> {
    try {
      if ((await look(this.path))?.identity !== this.#token) return;
      const now = new Date();
      await utimes(join(this.path, OWNER_FILE), now, now);
    } catch {
      // A heartbeat that fails is one that others do not see; `assertHeld` tells the holder what came of it.
    }
  }
}

/**
 * Acquires a lock that keeps out other processes, containers and machines that share the disk, and that a killed
 * holder does not keep: `await using lock = await acquireDirectoryLock('/srv/channel/.lock', { signal })`.
 *
 * The lock is the directory `path` with `owner.json` in it, whose modification time is the heartbeat. A lock whose
 * process is known to be dead is taken over at once; any other when its heartbeat stood still for `staleAfterMs` by
 * the waiter's own clock, so that clocks of different machines need not agree. Folders above are made as needed.
 * @throws FerryError `LOCK_TIMEOUT`, the message says who holds it; `DISK_FULL`
 */
export async function acquireDirectoryLock(
  path: string,
  options: DirectoryLockOptions = {},
): Promise<DirectoryLock> {
  const { signal, timeoutMs = DEFAULT_TIMEOUT_MS, staleAfterMs = DEFAULT_STALE_AFTER_MS } = options;
  const { heartbeatMs = DEFAULT_HEARTBEAT_MS, cleanUpAfterMs = DEFAULT_CLEAN_UP_AFTER_MS } = options;
  signal?.throwIfAborted();
  const token = randomUUID();
  const candidate = `${path}.new-${token}`;
  const self = await thisProcess();
  const startMs = performance.now();
  let lastSeen: { readonly state: string; readonly atMs: number; readonly stillMs: number } | undefined;
  let pollMs = MIN_POLL_MS;
  try {
    for (;;) {
      const sighting = await look(path);
      if (sighting === undefined) {
        const since = { monotonicMs: performance.now(), wallMs: Date.now() };
        const owner = { ...self, token, since: new Date(since.wallMs).toISOString() };
        if (await moveIn(candidate, path, owner)) {
          const lock = new DirectoryLock(path, token, { staleAfterMs, heartbeatMs, since });
          await cleanUp(path, cleanUpAfterMs);
          return lock;
        }
      } else {
        const state = `${sighting.identity} ${sighting.heartbeat}`;
        const atMs = performance.now();
        const before = lastSeen?.state === state ? lastSeen : { atMs, stillMs: 0 };
        lastSeen = { state, atMs, stillMs: before.stillMs + Math.min(atMs - before.atMs, MAX_STEP_MS) };
        if (lastSeen.stillMs >= staleAfterMs || (await isAbandoned(path, sighting, self))) {
          if (await bury(path, sighting.identity)) continue;
          await cleanUp(path, cleanUpAfterMs);
        }
      }
      if (performance.now() - startMs >= timeoutMs) {
        const holder = sighting === undefined ? '' : `, held by ${describeHolder(sighting)}`;
        throw new FerryError('LOCK_TIMEOUT', `no lock \`${path}\` within ${String(timeoutMs)} ms${holder}`);
      }
      const restMs = timeoutMs - (performance.now() - startMs);
      const waitMs = Math.max(1, Math.min(pollMs * (0.5 + Math.random() / 2), restMs));
      await delay(waitMs, undefined, { signal }).catch(() => signal?.throwIfAborted());
      pollMs = Math.min(MAX_POLL_MS, pollMs * 1.5);
    }
  } catch (error) {
    await removeQuietly(candidate);
    throw translateDiskError(error, path);
  }
}

/** What is seen at the lock's name. */
interface Sighting {
  /** Tells one hold of the lock from every other; safe in a file name. */
  readonly identity: string;
  readonly heartbeat: string;
  readonly owner: Owner | undefined;
}

/**
 * Whether the holder died with the lock in its hands. The lock is looked at again once the holder is known to be dead:
 * it may have released it, and its grave with it, and ended between the first look and the question.
 */
async function isAbandoned(
  path: string,
  { owner, identity }: Sighting,
  self: ProcessIdentity,
): Promise<boolean> {
  if (owner === undefined || !(await isGone(owner, self))) return false;
  return (await look(path))?.identity === identity;
}

/** Looks at the lock; `undefined` where it is free. Opens the file, since network disks then ask their server. */
async function look(path: string): Promise<Sighting | undefined> {
  let file;
  try {
    file = await open(join(path, OWNER_FILE), 'r');
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return lookWithoutOwner(path);
    throw error;
  }
  try {
    const { mtimeNs } = await file.stat({ bigint: true });
    const buffer = Buffer.alloc(MAX_OWNER_BYTES);
    const { bytesRead } = await file.read(buffer, 0, MAX_OWNER_BYTES, 0);
    const bytes = buffer.subarray(0, bytesRead);
    const owner = parseOwner(bytes.toString('utf8'));
    const identity = owner?.token ?? createHash('sha256').update(bytes).digest('hex');
    return { identity, heartbeat: String(mtimeNs), owner };
  } finally {
    await file.close();
  }
}

/** A lock of ours always has an owner; this is for directories that something else made or half removed. */
async function lookWithoutOwner(path: string): Promise<Sighting | undefined> {
  try {
    // An empty directory is as good as none: renaming a directory onto it works.
    if ((await readdir(path)).length === 0) return undefined;
    const { ino, mtimeNs } = await stat(path, { bigint: true });
    return { identity: `unknown-${String(ino)}-${String(mtimeNs)}`, heartbeat: '', owner: undefined };
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return undefined;
    throw error;
  }
}

function parseOwner(text: string): Owner | undefined {
  try {
    return ownerSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

/**
 * Takes the lock if it is free. A bare mkdir would do so too, but leave a moment, or after a kill forever, in which
 * the lock has no owner that could be found dead. So the directory is built under a private name, with its owner in
 * it, and renamed: a rename onto a directory that is not empty fails, hence of several only one gets through.
 */
async function moveIn(candidate: string, path: string, owner: Owner): Promise<boolean> {
  try {
    await mkdir(candidate, { recursive: true });
    await writeFile(join(candidate, OWNER_FILE), JSON.stringify(owner));
    await rename(candidate, path);
  } catch (error) {
    if (!isTaken(error) && !isSystemError(error, 'ENOENT')) throw error;
  }
  // Asked in either case: a network disk may say "no such file" of a rename that it did and was asked again, and
  // somebody may have tidied the candidate away.
  return (await look(path))?.identity === owner.token;
}

/**
 * Renames a lock that is over, `true` where it was there. The name is made from the token of the hold that was judged
 * stale, and stays taken for a day: so one of two reapers wins, and the other, however slow, cannot rename the fresh
 * lock that stands in its place by then.
 */
async function bury(path: string, identity: string): Promise<boolean> {
  try {
    await rename(path, gravePath(path, identity));
    return true;
  } catch (error) {
    if (isTaken(error) || isSystemError(error, 'ENOENT')) return false;
    throw error;
  }
}

function gravePath(path: string, identity: string): string {
  return `${path}.stale-${identity}`;
}

/** Whether a rename failed because a directory stands there; Windows has no code of its own for that. */
function isTaken(error: unknown): boolean {
  return isSystemError(
    error,
    'ENOTEMPTY',
    'EEXIST',
    ...(process.platform === 'win32' ? ['EPERM', 'EACCES'] : []),
  );
}

/** Removes what killed processes left beside the lock. Best effort: it may belong to another user. */
async function cleanUp(path: string, olderThanMs: number): Promise<void> {
  const folder = dirname(path);
  const prefixes = ['new', 'stale', 'trash'].map((kind) => `${basename(path)}.${kind}-`);
  try {
    for (const name of await readdir(folder)) {
      if (!prefixes.some((prefix) => name.startsWith(prefix))) continue;
      // Not mtime, which a rename leaves as it is: a lock may be a week old when it is found stale.
      const { ctimeMs } = await stat(join(folder, name));
      if (Date.now() - ctimeMs <= olderThanMs) continue;
      // Renamed before it is emptied, so that no slow waiter moves a candidate without its owner onto the lock.
      const trash = `${path}.trash-${randomUUID()}`;
      await rename(join(folder, name), trash);
      await removeQuietly(trash);
    }
  } catch {
    // Another process tidies up too, or may do what this one may not.
  }
}

async function removeQuietly(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true }).catch(() => undefined);
}

function describeHolder({ owner }: Sighting): string {
  if (owner === undefined) return 'an unknown process';
  return `process ${String(owner.pid)} on \`${owner.host}\` since ${owner.since}`;
}

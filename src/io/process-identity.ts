import { readFile, readlink } from 'node:fs/promises';
import { hostname } from 'node:os';
import { isSystemError } from '../errors.js';

/** What tells a process apart from every other one, as far as the system lets it be told. */
export interface ProcessIdentity {
  readonly host: string;
  readonly bootId?: string | undefined;
  readonly pidNamespace?: string | undefined;
  readonly pid: number;
  /** In ticks since the machine started, as the system writes it. */
  readonly startTime?: string | undefined;
}

let identity: Promise<ProcessIdentity> | undefined;

/** Identity of this process, read once: nothing of it changes while a process lives. */
export async function thisProcess(): Promise<ProcessIdentity> {
  identity ??= readThisProcess();
  return identity;
}

async function readThisProcess(): Promise<ProcessIdentity> {
  const [bootId, pidNamespace, status] = await Promise.all([
    readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => undefined),
    readlink('/proc/self/ns/pid').catch(() => undefined),
    processStatus('self'),
  ]);
  const startTime = status?.startTime;
  return { host: hostname(), bootId: bootId?.trim(), pidNamespace, pid: process.pid, startTime };
}

/** Tells whether a process is known to run no more; where that cannot be known from here, no. */
export async function isGone(owner: ProcessIdentity, self: ProcessIdentity): Promise<boolean> {
  // Two machines may share a host name, so another boot id does not mean that this one was started anew.
  if (owner.host !== self.host || owner.bootId !== self.bootId) return false;
  // A process id means nothing outside its namespace, and on Linux there always are namespaces.
  if (owner.pidNamespace !== self.pidNamespace) return false;
  if (self.pidNamespace === undefined && process.platform === 'linux') return false;
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    return isSystemError(error, 'ESRCH');
  }
  const status = await processStatus(String(owner.pid));
  if (status === undefined) return false;
  return status.isDead || (owner.startTime !== undefined && owner.startTime !== status.startTime);
}

/** Reads state (field 3) and start time (field 22); fields count from behind the program's name in parentheses. */
async function processStatus(
  pid: string,
): Promise<{ isDead: boolean; startTime: string | undefined } | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  // A killed process that nobody waits for stays as a zombie, as it does in many a container.
  return { isDead: fields[0] === 'Z' || fields[0] === 'X', startTime: fields[19] };
}

/**
 * What Redis tells of the run that a queue is at: what it is about, by which version, and how far it has come. Workers read
 * it before they take a job; it holds no secrets.
 */
import { z } from 'zod';
import { FerryError } from '../errors.js';
import { untilAborted } from '../io/single-flight.js';
import { visibleText } from '../io/visible-text.js';
import type { QueueRedis } from './queue-redis.js';

/** Source and destination, as the command line of a worker can open them; see `cli/queue-ends.ts`. */
export type RunEnds = Readonly<Record<string, string | boolean>>;

const runSchema = z.object({
  id: z.string(),
  version: z.string(),
  ends: z.record(z.string(), z.union([z.string(), z.boolean()])),
  host: z.string(),
  pid: z.number(),
  startedAt: z.string(),
});

/** What a run is about. `id` such as `m3k9x2ab`, `version` that of conda-ferry, `startedAt` ISO 8601 in UTC. */
export interface RunDescription extends z.infer<typeof runSchema> {
  readonly ends: RunEnds;
}

/**
 * How far a run is. `planning`: what is there is looked at; `carrying`: jobs are there, or come; `publishing`; `stopping`: no
 * tag is begun any more; the others are ends.
 */
export type RunState =
  'planning' | 'carrying' | 'publishing' | 'stopping' | 'done' | 'interrupted' | 'cancelled' | 'failed';

/** Numbers of a run; archives count from its beginning. */
export interface RunProgress {
  /** Which time it plans, from 1. */
  readonly pass: number;
  /** Subdir whose archives are under way. */
  readonly subdir?: string | undefined;
  readonly archives: number;
  readonly archivesDone: number;
  readonly archivesFailed: number;
  readonly bytesDone: number;
  /** Requests of all workers, by side. */
  readonly requests: { readonly source: number; readonly destination: number };
}

const progressSchema = z.object({
  pass: z.number(),
  subdir: z.string().optional(),
  archives: z.number(),
  archivesDone: z.number(),
  archivesFailed: z.number(),
  bytesDone: z.number(),
  requests: z.object({ source: z.number(), destination: z.number() }),
});

/** What is asked of the coordinator. */
export type RunRequest = 'cancel';

/** A run as Redis tells it. */
export interface RunRecord {
  readonly run: RunDescription;
  readonly state: RunState;
  readonly progress: RunProgress | undefined;
  /** Why it failed. */
  readonly error: string | undefined;
  readonly request: RunRequest | undefined;
}

const STATES: readonly RunState[] = [
  'planning',
  'carrying',
  'publishing',
  'stopping',
  'done',
  'interrupted',
  'cancelled',
  'failed',
];

/** Whether a run has come to its end. */
export function isOver(state: RunState): boolean {
  return state === 'done' || state === 'interrupted' || state === 'cancelled' || state === 'failed';
}

/** Begins the record of a run; that of the one before is forgotten. */
export async function beginRun(queue: QueueRedis, run: RunDescription): Promise<void> {
  const key = queue.key('run');
  await queue.redis
    .multi()
    .del(key)
    .hset(key, { run: JSON.stringify(run), state: 'planning' })
    .exec();
}

/** Sets fields of the record, unless it is another run's; where Redis has lost it, it is there again. */
const NOTE_SCRIPT = `
local run = redis.call('HGET', KEYS[1], 'run')
if run and run ~= ARGV[1] then return 0 end
return redis.call('HSET', KEYS[1], 'run', unpack(ARGV))`;

/** What {@link noteRun} notes. */
export interface RunNote {
  /** The run whose coordinator notes it: nothing of another run is touched. @defaultValue whatever run is there */
  readonly run?: RunDescription | undefined;
  /** Has to be there where the record may have to be made anew. */
  readonly state?: RunState;
  readonly progress?: RunProgress;
  readonly error?: string;
}

/** Notes how far a run has come. */
export async function noteRun(queue: QueueRedis, note: RunNote, signal?: AbortSignal): Promise<void> {
  const { run, state, progress, error } = note;
  const fields = {
    ...(state === undefined ? {} : { state }),
    ...(progress === undefined ? {} : { progress: JSON.stringify(progress) }),
    ...(error === undefined ? {} : { error }),
  };
  signal?.throwIfAborted();
  const key = queue.key('run');
  if (run !== undefined) {
    const values = [JSON.stringify(run), ...Object.entries(fields).flat()];
    await untilAborted(queue.redis.eval(NOTE_SCRIPT, 1, key, ...values), signal);
  } else if (Object.keys(fields).length > 0) await untilAborted(queue.redis.hset(key, fields), signal);
}

/** Asks the coordinator for something; it looks every few seconds. */
export async function askRun(queue: QueueRedis, request: RunRequest): Promise<void> {
  await queue.redis.hset(queue.key('run'), { request });
}

/**
 * Reads the record; `undefined` where there was no run yet.
 * @throws FerryError `VERSION_MISMATCH` for a record that another version wrote and this one cannot read
 */
export async function readRun(queue: QueueRedis, signal?: AbortSignal): Promise<RunRecord | undefined> {
  signal?.throwIfAborted();
  const fields = await untilAborted(queue.redis.hgetall(queue.key('run')), signal);
  const { run, state, progress, error, request } = fields;
  if (run === undefined) return undefined;
  const description = runSchema.safeParse(parseJson(run));
  const known = STATES.find((one) => one === state);
  if (!description.success || known === undefined) {
    throw new FerryError('VERSION_MISMATCH', `the run in the queue \`${queue.name}\` cannot be read`, {
      hint: 'install the same version of conda-ferry on all machines',
    });
  }
  const numbers = progressSchema.safeParse(parseJson(progress));
  return {
    run: description.data,
    state: known,
    progress: numbers.success ? numbers.data : undefined,
    error,
    request: request === 'cancel' ? 'cancel' : undefined,
  };
}

/** @throws FerryError `VERSION_MISMATCH` where a worker is of another version than the coordinator that looks at it */
export function checkWorker({ version, host }: Pick<RunDescription, 'version' | 'host'>, own: string): void {
  if (version === own) return;
  throw new FerryError(
    'VERSION_MISMATCH',
    `a worker on ${visibleText(host, 100)} is conda-ferry ${visibleText(version, 40)}, and this coordinator is ${own}`,
    { hint: 'install the same version of conda-ferry on all machines' },
  );
}

/** @throws FerryError `VERSION_MISMATCH` where a run is of another version than the worker that would take part */
export function checkVersion({ version, host }: Pick<RunDescription, 'version' | 'host'>, own: string): void {
  if (version === own) return;
  throw new FerryError(
    'VERSION_MISMATCH',
    `the coordinator on ${host} is conda-ferry ${version}, and this worker is ${own}`,
    { hint: 'install the same version of conda-ferry on all machines' },
  );
}

function parseJson(text: string | undefined): unknown {
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/**
 * Docker's credential helpers: programs `docker-credential-<name>` that keep secrets in a keychain, or make them
 * from a cloud login.
 * @see https://github.com/docker/docker-credential-helpers, README, "Development"
 */
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { FerryError } from '../../errors.js';
import { SingleFlight } from '../../io/single-flight.js';
import type { Credential } from './credential.js';
import { findProgram, runProgram, type Environment } from './helper-process.js';
import { printable } from './printable.js';

const MAX_OUTPUT_BYTES = 64 * 1024;
/** A helper may ask the user to unlock a keychain; nobody waits longer for that. */
const DEFAULT_TIMEOUT_MS = 30_000;
/** Half a minute of a busy keychain or cloud is over by then, as a rule. */
const DEFAULT_RETRY_DELAY_MS = 5_000;
/** Tokens that helpers make live for an hour (Google) to twelve (Amazon). */
const FOUND_FOR_MS = 60 * 60 * 1000;
/** Somebody may log in meanwhile. */
const ABSENT_FOR_MS = 60 * 1000;

/** The user name that stands for "the secret is an identity token". */
const TOKEN_USER = '<token>';
const NOT_FOUND_MESSAGE = 'credentials not found in native keychain';

/** What {@link createCredentialHelpers} needs. */
export interface CredentialHelperOptions {
  /** For the helpers; its `PATH` says where they are. */
  readonly environment: Environment;
  /** Time limit of one run. @defaultValue 30,000 */
  readonly timeoutMs?: number | undefined;
  /** Pause before a failed `get` is tried once more. @defaultValue 5,000 */
  readonly retryDelayMs?: number | undefined;
  readonly sleep?: ((ms: number, signal: AbortSignal | undefined) => Promise<void>) | undefined;
  /** Monotonic clock in milliseconds. */
  readonly now?: (() => number) | undefined;
}

/**
 * The helpers of one environment, by name (`ecr-login` for `docker-credential-ecr-login`) and server (`ghcr.io`,
 * `https://index.docker.io/v1/`). All throw `CREDENTIALS_UNREADABLE`; a helper that is not installed is an error,
 * never "no credentials": else a secret meant for one registry may be asked of, or sent to, another.
 * @see CVE-2021-41092
 */
export interface CredentialHelpers {
  /** Result kept for an hour, "none" for a minute; one run at a time for a helper and server. */
  readonly get: (name: string, server: string, signal?: AbortSignal) => Promise<Credential | undefined>;
  /** Throws `UNSUPPORTED` for a bearer token, which the protocol does not know. */
  readonly store: (
    name: string,
    server: string,
    credential: Credential,
    signal?: AbortSignal,
  ) => Promise<void>;
  /** `false` where the helper had nothing to erase and said so. */
  readonly erase: (name: string, server: string, signal?: AbortSignal) => Promise<boolean>;
  /** Server to user name. */
  readonly list: (name: string, signal?: AbortSignal) => Promise<ReadonlyMap<string, string>>;
}

type Verb = 'get' | 'store' | 'erase' | 'list';

const answerSchema = z.looseObject({ Username: z.string().nullish(), Secret: z.string().nullish() });
const listSchema = z.record(z.string(), z.string()).nullable();

/** Makes the helpers of an environment; results are kept as long as the returned object. */
export function createCredentialHelpers(options: CredentialHelperOptions): CredentialHelpers {
  const { retryDelayMs = DEFAULT_RETRY_DELAY_MS, now = () => performance.now() } = options;
  const sleep = options.sleep ?? (async (ms, signal) => delay(ms, undefined, { signal }));
  const flights = new SingleFlight<Credential | undefined>();
  const kept = new Map<string, { readonly credential: Credential | undefined; readonly untilMs: number }>();

  const getTwice = async (name: string, server: string, signal?: AbortSignal) => {
    try {
      return await getOnce(options, name, server, signal);
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof HelperFailure) || !error.mayPass) throw error;
    }
    await sleep(retryDelayMs, signal).catch((error: unknown) => {
      signal?.throwIfAborted();
      throw error;
    });
    return getOnce(options, name, server, signal);
  };

  return {
    async get(name, server, signal) {
      const key = keyOf(name, server);
      const before = kept.get(key);
      if (before !== undefined && now() < before.untilMs) return before.credential;
      return flights.do(
        key,
        async () => {
          const credential = await getTwice(name, server, signal);
          const forMs = credential === undefined ? ABSENT_FOR_MS : FOUND_FOR_MS;
          kept.set(key, { credential, untilMs: now() + forMs });
          return credential;
        },
        signal,
      );
    },

    async store(name, server, credential, signal) {
      const { Username, Secret } = storable(name, credential);
      const input = JSON.stringify({ ServerURL: server, Username, Secret });
      await run(options, name, 'store', input, signal, [Secret, input]);
      kept.delete(keyOf(name, server));
    },

    async erase(name, server, signal) {
      const answer = await run(options, name, 'erase', server, signal);
      kept.delete(keyOf(name, server));
      return answer !== undefined;
    },

    async list(name, signal) {
      const answer = await run(options, name, 'list', '', signal);
      const listed = listSchema.safeParse(parseJson(answer ?? 'null'));
      if (!listed.success) throw new HelperFailure(name, 'list', 'does not answer as helpers do', true);
      return new Map(Object.entries(listed.data ?? {}));
    },
  };
}

/** A failure of a helper; `mayPass` where trying again makes sense. */
class HelperFailure extends FerryError {
  readonly mayPass: boolean;

  constructor(name: string, verb: Verb, what: string, mayPass: boolean, hint?: string) {
    super('CREDENTIALS_UNREADABLE', `credential helper \`${programOf(name)} ${verb}\` ${what}`, { hint });
    this.mayPass = mayPass;
  }
}

async function getOnce(
  options: CredentialHelperOptions,
  name: string,
  server: string,
  signal: AbortSignal | undefined,
): Promise<Credential | undefined> {
  const text = await run(options, name, 'get', server, signal);
  if (text === undefined) return undefined;
  const answer = answerSchema.safeParse(parseJson(text));
  if (!answer.success) throw new HelperFailure(name, 'get', 'does not answer as helpers do', true);
  const username = answer.data.Username ?? '';
  const secret = answer.data.Secret ?? '';
  if (secret === '') {
    // Some helpers say "none" that way.
    if (username === '') return undefined;
    throw new HelperFailure(name, 'get', 'gives a user name without a secret', true);
  }
  return username === TOKEN_USER
    ? { kind: 'refresh', token: secret }
    : { kind: 'basic', username, password: secret };
}

/** Runs a helper; its stdout, or `undefined` where it says that it has no such credential. */
async function run(
  options: CredentialHelperOptions,
  name: string,
  verb: Verb,
  input: string,
  signal: AbortSignal | undefined,
  secrets: readonly string[] = [],
): Promise<string | undefined> {
  signal?.throwIfAborted();
  if (!/^[A-Za-z0-9._-]+$/.test(name)) {
    throw new HelperFailure(name, verb, 'has a name that no helper can have', false);
  }
  const { environment, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  const path = await findProgram(programOf(name), environment);
  if (path === undefined) {
    const hint = `install \`${programOf(name)}\`, or take it out of the credential file`;
    throw new HelperFailure(name, verb, 'is not on the PATH', false, hint);
  }
  const limits = { environment, input, timeoutMs, maxOutputBytes: MAX_OUTPUT_BYTES, signal };
  const result = await runProgram(path, [verb], limits).catch((error: unknown) => {
    signal?.throwIfAborted();
    const why = error instanceof Error && 'code' in error ? ` (${printable(String(error.code))})` : '';
    throw new HelperFailure(name, verb, `cannot be started${why}`, true);
  });
  // Whoever did not answer in all that time waits for something that will not come the next time either.
  if (result.killed === 'time')
    throw new HelperFailure(name, verb, `did not end within ${String(timeoutMs)} ms`, false);
  if (result.killed === 'output') throw new HelperFailure(name, verb, 'writes more than a helper may', false);
  if (result.exitCode === 0) return result.stdout;
  if (lastLine(result.stdout) === NOT_FOUND_MESSAGE) return undefined;
  const end =
    result.exitCode === undefined ? 'was killed' : `failed with exit code ${String(result.exitCode)}`;
  const message = printable(messageOf(result), secrets);
  throw new HelperFailure(name, verb, message === '' ? end : `${end}: ${message}`, true);
}

/** Helpers write errors to stdout, other programs to stderr. What looks like an answer may hold a secret. */
function messageOf({ stdout, stderr }: { readonly stdout: string; readonly stderr: string }): string {
  const text = stdout.trim();
  return text === '' || /[{}]/.test(text) ? stderr.trim() : text;
}

function lastLine(text: string): string | undefined {
  return text.trim().split('\n').at(-1)?.trim();
}

function storable(name: string, credential: Credential): { Username: string; Secret: string } {
  switch (credential.kind) {
    case 'basic':
      return { Username: credential.username, Secret: credential.password };
    case 'refresh':
      return { Username: TOKEN_USER, Secret: credential.token };
    case 'bearer':
      throw new FerryError(
        'UNSUPPORTED',
        `credential helper \`${programOf(name)}\` cannot keep a bearer token`,
      );
  }
}

function programOf(name: string): string {
  return `docker-credential-${printable(name)}`;
}

function keyOf(name: string, server: string): string {
  return `${name} ${server}`;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Its error would quote the text.
    return undefined;
  }
}

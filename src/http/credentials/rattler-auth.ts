import { isIP } from 'node:net';
import { join } from 'node:path';
import { z } from 'zod';
import { FerryError } from '../../errors.js';
import type { Credential } from './credential.js';
import type { Environment } from './helper-process.js';
import { printableKey } from './printable.js';

/** A token that goes into the path of a channel's URL, as `/t/<token>/`. */
export interface CondaToken {
  readonly kind: 'conda-token';
  readonly token: string;
}

/** The credential file of rattler, pixi and rattler-build. */
export interface RattlerAuthFile {
  /** For messages. */
  readonly name: string;
  readonly entries: Readonly<Record<string, unknown>>;
}

const fileSchema = z.record(z.string(), z.unknown());
const entrySchema = z.union([
  z.looseObject({ BearerToken: z.string() }),
  z.looseObject({ CondaToken: z.string() }),
  z.looseObject({ BasicHTTP: z.looseObject({ username: z.string(), password: z.string() }) }),
]);
const KNOWN_KINDS = ['BearerToken', 'CondaToken', 'BasicHTTP'];

/** Where that file is: `$RATTLER_AUTH_FILE`, then `~/.rattler/credentials.json`. */
export function rattlerAuthPaths(environment: Environment, home: string): readonly string[] {
  const own = environment['RATTLER_AUTH_FILE'];
  return [...(own ? [own] : []), join(home, '.rattler', 'credentials.json')];
}

/**
 * Parses `{"*.prefix.dev": {"BearerToken": "…"}, "conda.anaconda.org": {"CondaToken": "…"}, "conda.example":
 * {"BasicHTTP": {"username": "…", "password": "…"}}}`; text without anything in it holds no credentials.
 * @throws FerryError `CREDENTIALS_UNREADABLE`
 * @see rattler_networking, `authentication_storage`
 */
export function parseRattlerAuth(source: string, name: string): RattlerAuthFile {
  let document: unknown;
  try {
    document = source.trim() === '' ? {} : JSON.parse(source);
  } catch {
    // Without the cause, which would quote the text.
    throw new FerryError(
      'CREDENTIALS_UNREADABLE',
      `credential file \`${name}\` cannot be read: it is not JSON`,
    );
  }
  if (!fileSchema.safeParse(document).success) {
    const message = `credential file \`${name}\` cannot be read: it is no JSON object`;
    throw new FerryError('CREDENTIALS_UNREADABLE', message);
  }
  return { name, entries: document as Record<string, unknown> };
}

/**
 * The credential of a host name, without port: of the entry that is called so, else of `*.` and the longest end of
 * it; `*.prefix.dev` counts for `prefix.dev` too. Kinds that an ordinary channel cannot use (`S3Credentials`,
 * `OAuth`, whatever comes) are passed over.
 * @throws FerryError `CREDENTIALS_UNREADABLE`
 */
export function findInRattlerAuth(file: RattlerAuthFile, host: string): Credential | CondaToken | undefined {
  for (const key of keysFor(host.toLowerCase())) {
    if (!Object.hasOwn(file.entries, key)) continue;
    const credential = readEntry(file.entries[key], file.name, key);
    if (credential !== undefined) return credential;
  }
  return undefined;
}

function keysFor(host: string): readonly string[] {
  // An address has no parent domains.
  if (isIP(host) !== 0 || host.startsWith('[')) return [host];
  const labels = host.split('.');
  return [host, ...labels.map((_, i) => `*.${labels.slice(i).join('.')}`)];
}

function readEntry(value: unknown, name: string, key: string): Credential | CondaToken | undefined {
  const isKnown =
    typeof value === 'object' && value !== null && KNOWN_KINDS.some((kind) => Object.hasOwn(value, kind));
  if (!isKnown) return undefined;
  const entry = entrySchema.safeParse(value);
  if (!entry.success) {
    const message = `credential file \`${name}\`: entry \`${printableKey(key)}\` is not of its kind's form`;
    throw new FerryError('CREDENTIALS_UNREADABLE', message);
  }
  const { data } = entry;
  if ('BearerToken' in data) return { kind: 'bearer', token: data.BearerToken as string };
  if ('CondaToken' in data) return { kind: 'conda-token', token: data.CondaToken as string };
  const { username, password } = data.BasicHTTP as { username: string; password: string };
  return { kind: 'basic', username, password };
}

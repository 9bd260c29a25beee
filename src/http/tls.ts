import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { rootCertificates } from 'node:tls';
import { FerryError, isSystemError } from '../errors.js';

/** How to trust, and prove oneself to, one origin. PEM texts. */
export interface TlsSettings {
  /** Certificate authorities trusted besides the usual ones. */
  readonly ca?: readonly string[] | undefined;
  /** Client certificate with its key; goes to this origin and to no other. */
  readonly client?: { readonly cert: string; readonly key: string } | undefined;
  /** Trust anybody. */
  readonly insecure?: boolean | undefined;
}

/** Finds the settings of an origin such as `https://ghcr.io`; `undefined` where there is nothing special. */
export type FindTlsSettings = (origin: string) => TlsSettings | undefined;

/** Options of a TLS connection, as Node's `tls.connect` takes them. */
export interface TlsConnectOptions {
  readonly ca?: string[];
  readonly cert?: string;
  readonly key?: string;
  readonly rejectUnauthorized?: boolean;
}

/** Makes connection options of settings: authorities are added to the usual ones, not put in their place. */
export function tlsConnectOptions(settings: TlsSettings | undefined): TlsConnectOptions {
  if (settings === undefined) return {};
  const { ca = [], client, insecure } = settings;
  return {
    ...(ca.length === 0 ? {} : { ca: [...rootCertificates, ...ca] }),
    ...(client === undefined ? {} : { cert: client.cert, key: client.key }),
    ...(insecure === true ? { rejectUnauthorized: false } : {}),
  };
}

/**
 * Reads `certs.d` folders as Docker and Podman do: `<folder>/<host[:port]>/` with `*.crt` (authorities) and pairs of
 * `*.cert` and `*.key` (client certificate).
 * @param folders such as `['/etc/docker/certs.d']`; the first that knows the host counts
 * @throws FerryError `CREDENTIALS_UNREADABLE` for a file that cannot be read, or a certificate without its key
 * @see containers-certs.d(5)
 */
export function readCertsFolder(folders: readonly string[], host: string): TlsSettings | undefined {
  for (const parent of folders) {
    const folder = join(parent, host);
    const names = listFolder(folder);
    if (names === undefined) continue;
    const ca = names.filter((name) => name.endsWith('.crt')).map((name) => readText(join(folder, name)));
    const cert = names.find((name) => name.endsWith('.cert'));
    if (cert === undefined) return { ca };
    const key = cert.replace(/\.cert$/, '.key');
    if (!names.includes(key)) {
      throw new FerryError('CREDENTIALS_UNREADABLE', `\`${join(folder, cert)}\` has no \`${key}\` beside it`);
    }
    return { ca, client: { cert: readText(join(folder, cert)), key: readText(join(folder, key)) } };
  }
  return undefined;
}

function listFolder(folder: string): string[] | undefined {
  try {
    return readdirSync(folder).sort();
  } catch (cause) {
    if (isSystemError(cause, 'ENOENT', 'ENOTDIR')) return undefined;
    throw unreadable(folder, cause);
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

function unreadable(path: string, cause: unknown): FerryError {
  return new FerryError('CREDENTIALS_UNREADABLE', `\`${path}\` cannot be read`, { cause });
}

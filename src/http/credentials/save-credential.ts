import { chown, lstat, mkdir, readlink, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { FerryError, isFerryError, isSystemError } from '../../errors.js';
import { writeFileAtomic } from '../../io/atomic-file.js';
import { acquireDirectoryLock } from '../../io/directory-lock.js';
import { encodeAuth, helperFor, keysFor, parseAuthFile, type AuthFile } from './auth-file.js';
import { readCredentialFile } from './credential-file.js';
import type { CredentialHelpers } from './credential-helper.js';
import type { Credential } from './credential.js';
import { parseCredentialKey, parseLoginHost, serverNameOf } from './registry-host.js';

/** No file system follows more links than that. */
const MAX_LINKS = 40;
/** The fields of an entry that are secrets; all others stay. */
const SECRET_FIELDS = new Set(['auth', 'username', 'password', 'identitytoken', 'registrytoken']);

/** Options of {@link saveCredential} and {@link eraseCredential}. */
export interface SaveCredentialOptions {
  /** Asked where the file names one for the registry. */
  readonly helpers: CredentialHelpers;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Keeps a login in Docker's `config.json` or Podman's `auth.json`, as `docker login` does: under `host` (`ghcr.io`,
 * `127.0.0.1:5000`), or in the helper that the file names, beside which the entry is empty. Everything else in the
 * file stays; a link to a file is followed. The file is for its owner's eyes only.
 *
 * Runs at the same time, of any process of this project, lose nothing of each other.
 * @throws FerryError `CREDENTIALS_UNREADABLE` where the file or helper cannot be used; `REFERENCE_INVALID` for a bad
 * host; `UNSUPPORTED` for a bearer token and a helper; `DISK_FULL`, `LOCK_TIMEOUT`
 */
export async function saveCredential(
  file: string,
  host: string,
  credential: Credential,
  options: SaveCredentialOptions,
): Promise<void> {
  const name = parseLoginHost(host);
  const entry = entryOf(credential);
  const path = await followLinks(file);
  const helper = helperFor(await read(path), [name]);
  if (helper !== undefined)
    await options.helpers.store(helper, serverNameOf(name), credential, options.signal);
  await change(path, options.signal, ({ auths }) => {
    const key = serverNameOf(name);
    const others = Object.entries(auths).filter(([other]) => !isSameRegistry(other, name));
    const rest = Object.entries(objectOf(auths, name)).filter(([field]) => !SECRET_FIELDS.has(field));
    const added = Object.fromEntries([...rest, ...(helper === undefined ? Object.entries(entry) : [])]);
    return Object.fromEntries([...others, [key, added]]);
  });
}

/**
 * Takes a login out of the file, and out of the helper that the file names; `false` where there was none. Podman's
 * entries for single namespaces stay.
 * @throws FerryError as {@link saveCredential}
 */
export async function eraseCredential(
  file: string,
  host: string,
  options: SaveCredentialOptions,
): Promise<boolean> {
  const name = parseLoginHost(host);
  const path = await followLinks(file);
  const found = await read(path);
  const helper = helperFor(found, [name]);
  const isErased =
    helper !== undefined && (await options.helpers.erase(helper, serverNameOf(name), options.signal));
  if (keysFor(found.auths, [name], undefined).length === 0) return isErased;
  await change(path, options.signal, ({ auths }) =>
    Object.fromEntries(Object.entries(auths).filter(([key]) => !isSameRegistry(key, name))),
  );
  return true;
}

function entryOf(credential: Credential): Record<string, string> {
  switch (credential.kind) {
    case 'basic':
      return { auth: encodeAuth(credential.username, credential.password) };
    case 'refresh':
      return { identitytoken: credential.token };
    case 'bearer':
      return { registrytoken: credential.token };
  }
}

/** The registry's entry so far; nothing where there is none or it is broken, since it is replaced. */
function objectOf(auths: AuthFile['auths'], host: string): object {
  const [key] = keysFor(auths, [host], undefined);
  const entry = key === undefined ? undefined : auths[key];
  return typeof entry === 'object' && entry !== null && !Array.isArray(entry) ? entry : {};
}

function isSameRegistry(key: string, host: string): boolean {
  const parsed = parseCredentialKey(key);
  return parsed.host === host && parsed.path === undefined;
}

/** Reads the file, changes `auths` and writes it, while no other process of this project does. */
async function change(
  path: string,
  signal: AbortSignal | undefined,
  changeAuths: (file: AuthFile) => Record<string, unknown>,
): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await using lock = await acquireDirectoryLock(`${path}.ferry-lock`, { signal });
    const file = await read(path);
    // A key that is there keeps its place, as the user's diff tool likes it.
    const document = { ...file.document, auths: changeAuths(file) };
    const owner = await stat(path).catch(() => undefined);
    // As docker writes it: tabs, and no end of line.
    const bytes = Buffer.from(JSON.stringify(document, undefined, '\t'), 'utf8');
    await writeFileAtomic(path, bytes, { mode: 0o600, beforeRename: () => lock.assertHeld() });
    // A login as root must not lock the owner of the file out.
    if (owner !== undefined && owner.uid !== process.getuid?.())
      await chown(path, owner.uid, owner.gid).catch(() => undefined);
  } catch (error) {
    signal?.throwIfAborted();
    throw isFerryError(error) ? error : cannotWrite(path, error);
  }
}

async function read(path: string): Promise<AuthFile> {
  return parseAuthFile((await readCredentialFile(path)) ?? '', `credential file \`${path}\``);
}

/** The file that a chain of links ends at, there or not: replacing a link would part it from its file. */
async function followLinks(file: string): Promise<string> {
  let path = resolve(file);
  for (let links = 0; links < MAX_LINKS; links += 1) {
    try {
      if (!(await lstat(path)).isSymbolicLink()) return path;
      path = resolve(dirname(path), await readlink(path));
    } catch (error) {
      if (isSystemError(error, 'ENOENT')) return path;
      throw cannotWrite(path, error);
    }
  }
  throw new FerryError('CREDENTIALS_UNREADABLE', `credential file \`${file}\` is a link that leads nowhere`);
}

function cannotWrite(path: string, cause: unknown): FerryError {
  return new FerryError('CREDENTIALS_UNREADABLE', `credential file \`${path}\` cannot be written`, { cause });
}

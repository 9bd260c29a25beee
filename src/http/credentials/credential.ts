/** What proves to a server who is asking. Never printed; see `io/redact.ts`. */
export type Credential =
  /** A user name with its password or personal token. */
  | { readonly kind: 'basic'; readonly username: string; readonly password: string }
  /** A refresh token (Docker's `identitytoken`), good only for fetching bearer tokens. @see OAuth 2.0, section 6 */
  | { readonly kind: 'refresh'; readonly token: string }
  /** A token that goes into `Authorization: Bearer` as it is (Docker's `registrytoken`). */
  | { readonly kind: 'bearer'; readonly token: string };

/** A user name and its password. */
type BasicCredential = Pick<Extract<Credential, { readonly kind: 'basic' }>, 'username' | 'password'>;

/** Encodes `user`, `pass` as `dXNlcjpwYXNz`. @see RFC 7617, section 2 */
export function encodeBasic({ username, password }: BasicCredential): string {
  return Buffer.from(`${username}:${password}`, 'utf8').toString('base64');
}

/** `Basic dXNlcjpwYXNz`, the value of an `Authorization` header. */
export function basicAuthorization(credential: BasicCredential): string {
  return `Basic ${encodeBasic(credential)}`;
}

/** Whose budget requests with this credential count against; nothing of it is secret. */
export function identityOf(credential: Credential | undefined): string | undefined {
  if (credential === undefined) return undefined;
  return credential.kind === 'basic' ? credential.username : credential.kind;
}

/** What a credential is looked up for. */
export interface CredentialPlace {
  /** Scheme, host and port, such as `https://ghcr.io` or `http://127.0.0.1:5000`. */
  readonly origin: string;
  /** Such as `org/conda-forge/noarch/zlib`; some credential files tell repositories apart. */
  readonly repository?: string | undefined;
}

/**
 * Finds the credential for a place; `undefined` where there is none, which means anonymous.
 * @throws FerryError `CREDENTIALS_UNREADABLE` where there should be one that cannot be had
 */
export type FindCredential = (
  place: CredentialPlace,
  signal?: AbortSignal,
) => Promise<Credential | undefined>;

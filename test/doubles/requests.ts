import { IMAGE_MANIFEST } from '#ferry/oci/media-types.js';
import type { RegistryDouble } from '../support/double/registry-double.js';
import { digestOf } from '../support/double/registry-state.js';

/** Headers of a request. */
export type Headers = Readonly<Record<string, string>>;

/** What is looked at in an answer. */
export interface Seen {
  readonly status: number;
  readonly headers: globalThis.Headers;
  readonly text: string;
}

/** Sends a request as it is: nothing is followed, nothing repeated. */
export async function ask(
  url: string,
  init: { method?: string; headers?: Headers; body?: string | Buffer<ArrayBuffer> } = {},
): Promise<Seen> {
  const response = await fetch(url, { redirect: 'manual', ...init });
  return { status: response.status, headers: response.headers, text: await response.text() };
}

/** The first error's code of a registry's answer. */
export function codeOf({ text }: Seen): string | undefined {
  const { errors } = JSON.parse(text) as { errors: { code: string }[] };
  return errors[0]?.code;
}

/** Asks for a token and returns the answer's header of authorization. */
export async function tokenFor(
  origin: string,
  scope: string,
  user?: { readonly username: string; readonly password: string },
): Promise<Headers> {
  const headers: Headers =
    user === undefined
      ? {}
      : { authorization: `Basic ${Buffer.from(`${user.username}:${user.password}`).toString('base64')}` };
  const { text } = await ask(`${origin}/token?scope=${encodeURIComponent(scope)}`, { headers });
  const { token } = JSON.parse(text) as { token: string };
  return { authorization: `Bearer ${token}` };
}

/** Pushes the bytes as a blob by POST and PUT. @returns the answer to the PUT */
export async function putBlob(
  { origin }: RegistryDouble,
  repository: string,
  bytes: Buffer<ArrayBuffer>,
  headers: Headers = {},
): Promise<Seen> {
  const start = await ask(`${origin}/v2/${repository}/blobs/uploads/`, { method: 'POST', headers });
  if (start.status !== 202) return start;
  const location = new URL(start.headers.get('location') ?? '', origin);
  location.searchParams.set('digest', digestOf(bytes));
  return ask(location.href, { method: 'PUT', headers, body: bytes });
}

/** Pushes an artifact of one blob. @returns the answer to the manifest, with its digest */
export async function putArtifact(
  double: RegistryDouble,
  repository: string,
  tag: string,
  options: { headers?: Headers; more?: Readonly<Record<string, unknown>> } = {},
): Promise<Seen & { digest: string }> {
  const { headers = {}, more = {} } = options;
  const blob = Buffer.from('{}');
  const pushed = await putBlob(double, repository, blob, headers);
  if (pushed.status !== 201) return { ...pushed, digest: '' };
  const config = { mediaType: 'application/vnd.example.config', digest: digestOf(blob), size: 2 };
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: IMAGE_MANIFEST,
    config,
    layers: [config],
    ...more,
  });
  const answer = await ask(`${double.origin}/v2/${repository}/manifests/${tag}`, {
    method: 'PUT',
    headers: { ...headers, 'content-type': IMAGE_MANIFEST },
    body: manifest,
  });
  return { ...answer, digest: digestOf(Buffer.from(manifest)) };
}

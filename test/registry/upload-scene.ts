import { RegistryClient } from '#ferry/registry/registry-client.js';
import type { RepositoryClient } from '#ferry/registry/repository-client.js';
import type { UploadManners } from '#ferry/registry/upload-session.js';
import { contentOf } from '../contracts/artifacts.js';
import { openTestClient, type TestClient } from '../support/http.js';
import {
  startScriptedServer,
  type Answer,
  type Row,
  type ScriptedServer,
} from '../support/scripted-server.js';

export const blob = contentOf('the bytes of a blob');
export const QUERY = `digest=${encodeURIComponent(blob.descriptor.digest)}`;
export const START = 'POST /v2/a/b/blobs/uploads/';
export const SINGLE = `${START}?${QUERY}`;
export const PUT = `PUT /session?${QUERY}`;
export const HEAD = `HEAD /v2/a/b/blobs/${blob.descriptor.digest}`;
export const ABANDON = 'DELETE /session';

export const started: Answer = { status: 202, headers: { location: '/session' } };
export const created: Answer = { status: 201 };
export const absent: Answer = { status: 404 };
export const present: Answer = { headers: { 'content-length': blob.descriptor.size } };
export const digestInvalid = JSON.stringify({
  errors: [{ code: 'DIGEST_INVALID', message: 'provided digest did not match' }],
});

/** A repository `a/b` at a server that knows what it will be asked. */
export interface Scene {
  readonly server: ScriptedServer;
  readonly repository: RepositoryClient;
  readonly registry: RegistryClient;
  readonly client: TestClient;
}

/** A scene where only what `uploads` says is known of the registry. */
export async function sceneWith(uploads: Partial<UploadManners>, ...rows: Row[]): Promise<Scene> {
  const server = await startScriptedServer(...rows);
  const client = openTestClient({
    findCredential: () => Promise.resolve({ kind: 'basic', username: 'user', password: 'password' }),
  });
  const registry = new RegistryClient({ host: server.host, send: client.send, uploads, ...client.retry });
  return { server, client, registry, repository: registry.repository('a/b') };
}

/** A scene at a registry that takes no blob with the first request. */
export async function sceneOf(...rows: Row[]): Promise<Scene> {
  return sceneWith({ singlePost: 'no' }, ...rows);
}

/** The same row that many times. */
export function times(count: number, ...row: Row): Row[] {
  return Array.from({ length: count }, () => row);
}

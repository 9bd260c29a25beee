import { expect, test } from 'vitest';
import { openerOf } from '#ferry/io/bytes.js';
import type { ReplacedManifest } from '#ferry/oci/storage.js';
import { RegistryClient } from '#ferry/registry/registry-client.js';
import type { RepositoryClient } from '#ferry/registry/repository-client.js';
import { artifactOf, pushArtifact, rejection, type Artifact } from '../contracts/artifacts.js';
import type { FaultKind } from '../support/double/fault-rules.js';
import type { RequestPredicate } from '../support/double/faults.js';
import type { RegistryDoubleOptions } from '../support/double/options.js';
import { useRegistryDouble, type RegistryDouble } from '../support/double/registry-double.js';
import { openTestClient } from '../support/http.js';

const NAME = 'org/noarch/repodata.json';
const [old, ours, theirs] = ['old', 'ours', 'theirs'].map((text) => artifactOf(text)) as [
  Artifact,
  Artifact,
  Artifact,
];
const OLD = old.manifest.descriptor.digest;
const OURS = ours.manifest.descriptor.digest;
const THEIRS = theirs.manifest.descriptor.digest;
const PUT = 'PUT latest';
const HEAD = 'HEAD latest';

const puts: RequestPredicate = ({ method, path }) => method === 'PUT' && path.endsWith('/manifests/latest');

interface Scene {
  readonly double: RegistryDouble;
  readonly repository: RepositoryClient;
  /** Pauses of all layers; none of them is waited for. */
  readonly pausesMs: readonly number[];
  /** Requests to the tag since the scene began, as `PUT latest`. */
  readonly toTag: () => string[];
  /** What the tag names. */
  readonly latest: () => string | undefined;
  /** Writes as another program does. */
  readonly meddle: () => void;
  readonly move: (replaces: ReplacedManifest, signal?: AbortSignal) => Promise<void>;
}

/** A repository with all three artifacts, whose `latest` is the old one. */
async function sceneOf(options: RegistryDoubleOptions = {}, tags = ['latest']): Promise<Scene> {
  const double = await useRegistryDouble(options);
  const client = openTestClient();
  const registry = new RegistryClient({ host: double.host, send: client.send, ...client.retry });
  const repository = registry.repository(NAME);
  await pushArtifact(repository, old, tags);
  await pushArtifact(repository, theirs);
  await pushArtifact(repository, ours);
  double.reset();
  const { descriptor, bytes } = ours.manifest;
  return {
    double,
    repository,
    pausesMs: client.pausesMs,
    toTag: () =>
      double.requests.map(({ method, path }) => `${method} ${path.slice(path.lastIndexOf('/') + 1)}`),
    latest: () => double.repositories.get(NAME)?.tags.get('latest'),
    meddle: () => double.repositories.get(NAME)?.tags.set('latest', THEIRS),
    move: (replaces, signal) =>
      repository.push(descriptor, openerOf(bytes), { tags: ['latest'], replaces, signal }),
  };
}

test('an answer that comes makes it one request', async () => {
  const { move, toTag, latest } = await sceneOf();
  await move(OLD);
  expect(toTag()).toEqual([PUT]);
  expect(latest()).toBe(OURS);
});

test.each<FaultKind>(['reset-after', '502-after'])('stored, and the answer lost (%s): done', async (kind) => {
  const { double, move, toTag, latest } = await sceneOf();
  double.faultNext(puts, kind);
  await move(OLD);
  expect(toTag()).toEqual([PUT, HEAD]);
  expect(latest()).toBe(OURS);
});

test.each<FaultKind>(['reset-before', '502', '500', '503'])(
  'not stored, and the answer lost (%s): written again',
  async (kind) => {
    const { double, move, toTag, latest } = await sceneOf();
    double.faultNext(puts, kind, 2);
    await move(OLD);
    expect(toTag()).toEqual([PUT, HEAD, PUT, HEAD, PUT]);
    expect(latest()).toBe(OURS);
  },
);

test('a first write is written again while there is nothing', async () => {
  const { double, move, toTag, latest } = await sceneOf({}, []);
  double.faultNext(puts, 'reset-before');
  await move('nothing');
  expect(toTag()).toEqual([PUT, HEAD, PUT]);
  expect(latest()).toBe(OURS);
});

test.each<[string, ReplacedManifest, string[]]>([
  ['of what it was made of', OLD, ['latest']],
  ['of nothing', 'nothing', []],
])("another's content in place %s is not overwritten", async (_, replaces, tags) => {
  const { double, move, meddle, toTag, latest } = await sceneOf({}, tags);
  double.faultNext((head) => {
    if (!puts(head)) return false;
    meddle();
    return true;
  }, 'reset-before');
  expect(await rejection(move(replaces))).toMatchObject({
    code: 'TAG_MOVED',
    message: `\`${NAME}:latest\` was written by somebody else`,
    cause: { code: 'NETWORK' },
  });
  expect(toTag().filter((line) => line.startsWith('PUT'))).toEqual([PUT]);
  expect(latest()).toBe(THEIRS);
});

test('ours that was stored, and replaced before we looked, stays replaced', async () => {
  const { double, move, latest, meddle } = await sceneOf();
  double.faultNext(puts, 'reset-after');
  double.faultNext((head) => {
    if (head.method !== 'HEAD') return false;
    meddle();
    return true;
  }, '502');
  expect(await rejection(move(OLD))).toMatchObject({ code: 'TAG_MOVED' });
  expect(latest()).toBe(THEIRS);
});

test('a tag that vanished is somebody’s doing too', async () => {
  const { double, move, latest } = await sceneOf();
  double.faultNext((head) => {
    if (puts(head)) double.repositories.get(NAME)?.tags.delete('latest');
    return puts(head);
  }, '502');
  expect(await rejection(move(OLD))).toMatchObject({ code: 'TAG_MOVED' });
  expect(latest()).toBeUndefined();
});

test.each(['sha512', 'absent'] as const)(
  'where the digest in headers is %s, bytes tell what became of it',
  async (digestHeader) => {
    const { double, repository, move, latest } = await sceneOf({ digestHeader });
    const replaces = (await repository.fetchManifest('latest'))?.descriptor.digest ?? 'nothing';
    double.faultNext(puts, 'reset-before');
    double.faultNext(puts, 'reset-after');
    await move(replaces);
    expect(latest()).toBe(OURS);
  },
);

test.each<FaultKind>(['429', '429-seconds', '429-body', '403-secondary'])(
  'what a rate limit (%s) turned away is sent again without looking',
  async (kind) => {
    const { double, move, toTag, latest } = await sceneOf();
    double.faultNext(puts, kind);
    await move(OLD);
    expect(toTag()).toEqual([PUT, PUT]);
    expect(latest()).toBe(OURS);
  },
);

test('a rate limit that does not end is not tried for longer than any', async () => {
  const { double, move, toTag } = await sceneOf();
  double.faultNext(puts, '429', 100);
  expect(await rejection(move(OLD))).toMatchObject({ code: 'RATE_LIMITED' });
  expect(toTag()).toEqual(Array.from({ length: 8 }, () => PUT));
});

test('gives up after eight attempts', async () => {
  const { double, move, toTag } = await sceneOf();
  double.faultNext(puts, 'reset-before', 100);
  expect(await rejection(move(OLD))).toMatchObject({ code: 'NETWORK' });
  expect(toTag().filter((line) => line === PUT)).toHaveLength(8);
});

test('a refusal is final', async () => {
  const { double, move, toTag } = await sceneOf();
  double.faultNext(puts, 'blob-unknown');
  expect(await rejection(move(OLD))).toMatchObject({ code: 'MANIFEST_BLOB_UNKNOWN' });
  expect(toTag()).toEqual([PUT]);
});

test('missing rights are final', async () => {
  const user = { username: 'reader', password: 'secret', rights: { '': ['pull'] } } as const;
  const double = await useRegistryDouble({ auth: { kind: 'token', users: [user] } });
  const client = openTestClient({ findCredential: () => Promise.resolve({ kind: 'basic', ...user }) });
  const registry = new RegistryClient({ host: double.host, send: client.send, ...client.retry });
  const { descriptor, bytes } = ours.manifest;
  const moving = registry
    .repository(NAME)
    .push(descriptor, openerOf(bytes), { tags: ['latest'], replaces: 'nothing' });
  expect(['UNAUTHORIZED', 'DENIED']).toContain(((await rejection(moving)) as { code: string }).code);
  expect(double.lines.filter((line) => !line.includes('/token'))).not.toContainEqual(
    expect.stringMatching(/^(?:HEAD|GET) /),
  );
});

test('an abort ends it with its own reason, and nothing is written after it', async () => {
  const { double, move, toTag } = await sceneOf();
  const controller = new AbortController();
  const reason = new Error('that will do');
  double.faultNext((head) => {
    if (puts(head)) controller.abort(reason);
    return puts(head);
  }, 'reset-before');
  expect(await rejection(move(OLD, controller.signal))).toBe(reason);
  expect(toTag()).toEqual([PUT]);
});

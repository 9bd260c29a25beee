import { execFile } from 'node:child_process';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { openLayoutRegistry } from '#ferry/image-layout/layout-registry.js';
import { TempFolder } from '#ferry/io/temp-folder.js';
import { IMAGE_MANIFEST } from '#ferry/oci/media-types.js';
import { RegistryClient } from '#ferry/registry/registry-client.js';
import { artifactOf, contentOf, pushArtifact, pushContent, tagsOf } from '../contracts/artifacts.js';
import { FIXTURE_CHANNEL } from '../support/channels.js';
import { oras, skopeo } from '../support/clients.js';
import { ask } from '../support/ask.js';
import {
  passingContent,
  serveDistribution,
  serveLayouts,
  type DistributionServer,
} from '../support/distribution-server.js';
import { ROOT, runFerry } from '../support/ferry.js';
import { openTestClient } from '../support/http.js';
import { peer } from '../support/peers.js';
import { startMemoryRegistry } from '../support/registries/docker.js';

const run = promisify(execFile);
const NAME = 'conformance/read-only';
const TAGS = ['tagtest0', 'test1', 'test2', 'test3'];
const PLAIN = '--plain-http';
/** Kept after the run; git ignores it. */
const REPORTS = join(ROOT, '.interop', 'distribution-conformance');

/** What only a registry can pass that is written to. */
const WRITING = ['Push', 'Content Management'];

const artifact = artifactOf('layer');
let temp: TempFolder;
let root: string;
let server: DistributionServer;

beforeAll(async () => {
  temp = await TempFolder.create();
  root = join(temp.path, 'layouts');
  const { code, stderr } = await runFerry(['mirror', FIXTURE_CHANNEL, `oci-layout:${root}`, '--quiet']);
  expect([code, stderr]).toEqual([0, '']);
  const repository = openLayoutRegistry(root).repository(NAME);
  await pushArtifact(repository, artifact, TAGS);
  server = await serveLayouts(root);
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await temp[Symbol.asyncDispose]();
});

/** A test of the suite, as its report has it. */
interface SuiteCase {
  readonly name: string;
  readonly result: 'passed' | 'skipped' | 'failed';
}

async function runSuite(): Promise<readonly SuiteCase[]> {
  await rm(REPORTS, { recursive: true, force: true });
  await mkdir(REPORTS, { recursive: true });
  const env = {
    ...process.env,
    OCI_ROOT_URL: `http://${server.host}`,
    OCI_NAMESPACE: NAME,
    OCI_TEST_PULL: '1',
    OCI_TEST_CONTENT_DISCOVERY: '1',
    OCI_TEST_PUSH: '0',
    OCI_TEST_CONTENT_MANAGEMENT: '0',
    OCI_MANIFEST_DIGEST: artifact.manifest.descriptor.digest,
    OCI_BLOB_DIGEST: artifact.blobs[1]?.descriptor.digest,
    OCI_TAG_NAME: TAGS[0],
    OCI_TAG_LIST: TAGS.join(','),
  };
  // Whatever it ends with, the report says what was wrong.
  await run(peer('conformance'), [], { cwd: REPORTS, env }).catch(() => undefined);
  const report = await readFile(join(REPORTS, 'junit.xml'), 'utf8');
  console.log(`the suite's reports are in ${REPORTS}`);
  return [...report.matchAll(/<testcase name="([^"]*)"[^>]*?(?:\/>|>(.*?)<\/testcase>)/gs)].map(
    ([, name = '', inside = '']) => ({
      name,
      result: inside.includes('<failure') ? 'failed' : inside.includes('<skipped') ? 'skipped' : 'passed',
    }),
  );
}

test('what the specification asks of a registry that is read is there', async () => {
  const cases = await runSuite();
  const reading = cases.filter(({ name }) => !WRITING.some((part) => name.includes(` ${part} `)));
  expect(reading.filter(({ result }) => result === 'failed')).toEqual([]);
  // What fills a registry, and empties it, is not for one that is filled already.
  const skipped = reading.filter(({ result }) => result === 'skipped').map(({ name }) => name);
  expect(skipped.filter((name) => !/ (?:Setup|Teardown) /.test(name))).toEqual([]);
  expect(reading.filter(({ result }) => result === 'passed').length).toBeGreaterThanOrEqual(14);
});

describe('clients of others', () => {
  test('read a mirrored channel', async () => {
    const registry = openLayoutRegistry(root);
    const names = (await registry.repositories()).filter((name) => !name.startsWith('conformance/'));
    expect(names.length).toBeGreaterThan(10);
    const listed = (await oras(['repo', 'ls', PLAIN, server.host])).toString('utf8').trim().split('\n');
    expect(listed).toEqual([...names, NAME].sort());
    for (const name of names) {
      const url = `${server.host}/${name}`;
      const tags = await tagsOf(registry.repository(name));
      const seen = (await oras(['repo', 'tags', PLAIN, url])).toString('utf8').trim().split('\n');
      expect(seen.sort(), name).toEqual(tags);
      const stored = await registry.repository(name).fetchManifest(tags[0] ?? '');
      const fetched = await oras(['manifest', 'fetch', PLAIN, '--output', '-', `${url}:${tags[0] ?? ''}`]);
      expect(fetched.equals(stored?.bytes ?? Buffer.alloc(0)), name).toBe(true);
    }
  });

  test('copy an artifact whole, with what refers to it', async () => {
    const repository = openLayoutRegistry(root).repository('attached/thing');
    const subject = artifactOf('subject');
    await pushArtifact(repository, subject, ['1.0']);
    const [config] = subject.blobs;
    const referrer = contentOf(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: IMAGE_MANIFEST,
        artifactType: 'application/vnd.example.sbom',
        config: config?.descriptor,
        layers: [],
        subject: subject.manifest.descriptor,
      }),
      IMAGE_MANIFEST,
    );
    await pushContent(repository, referrer);
    const url = `${server.host}/attached/thing:1.0`;
    const discover = ['discover', PLAIN, '--format', 'json', url];
    const found = JSON.parse((await oras(discover)).toString('utf8')) as { manifests: { digest: string }[] };
    expect(found.manifests.map(({ digest }) => digest)).toEqual([referrer.descriptor.digest]);

    const copies = join(temp.path, 'copies');
    const copy = ['copy', '--recursive', '--no-tty', '--from-plain-http', '--to-oci-layout'];
    await oras([...copy, url, `${join(copies, 'oras')}:1.0`]);
    await skopeo('copy', '--src-tls-verify=false', `docker://${url}`, `oci:${join(copies, 'skopeo')}:1.0`);
    for (const name of ['oras', 'skopeo']) {
      const copied = openLayoutRegistry(copies).repository(name);
      expect((await copied.resolve('1.0'))?.digest, name).toBe(subject.manifest.descriptor.digest);
    }
    const attached = openLayoutRegistry(copies).repository('oras');
    expect(await attached.exists(referrer.descriptor)).toBe(true);
  });
});

test('a registry behind is read through, asked little, and not taken for empty when it is gone', async () => {
  const registry = await startMemoryRegistry();
  const sent: string[] = [];
  const { send } = openTestClient({
    onRequest: ({ method, url }) => sent.push(`${method} ${url.pathname}`),
  });
  const store = new RegistryClient({ host: registry.host, send });
  let now = 0;
  const gateway = await serveDistribution({
    resolveRepository: (name) => ({ repository: store.repository(name) }),
    content: passingContent,
    now: () => now,
  });
  onTestFinished(async () => {
    await gateway[Symbol.asyncDispose]();
    await registry[Symbol.asyncDispose]();
  });
  const subject = artifactOf('one', 'two');
  await pushArtifact(store.repository('behind/thing'), subject, ['1.0']);
  sent.length = 0;
  const url = `${gateway.host}/behind/thing`;
  const copies = join(temp.path, 'behind');
  const copy = ['copy', '--no-tty', '--from-plain-http', '--to-oci-layout'];
  await oras([...copy, `${url}:1.0`, `${join(copies, 'oras')}:1.0`]);
  const copied = openLayoutRegistry(copies).repository('oras');
  expect((await copied.resolve('1.0'))?.digest).toBe(subject.manifest.descriptor.digest);
  // The manifest and each of its blobs, once.
  expect(sent.sort()).toEqual(
    [
      'GET /v2/behind/thing/manifests/1.0',
      ...subject.blobs.map(({ descriptor }) => `GET /v2/behind/thing/blobs/${descriptor.digest}`),
    ].sort(),
  );

  await registry[Symbol.asyncDispose]();
  now = 60_000;
  const { digest } = subject.manifest.descriptor;
  expect((await ask(`http://${url.replace('/', '/v2/')}/manifests/${digest}`)).status).toBe(200);
  for (const path of ['manifests/1.0', 'manifests/2.0', 'tags/list', `referrers/${digest}`]) {
    const { status, headers } = await ask(`http://${url.replace('/', '/v2/')}/${path}`);
    expect([status, headers['retry-after']], path).toEqual([503, '10']);
  }
});

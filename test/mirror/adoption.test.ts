import { createHash } from 'node:crypto';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { pack } from 'tar-stream';
import { openHttpClient } from '#ferry/http/client.js';
import { openerOf } from '#ferry/io/bytes.js';
import { describe as describeBytes, type Descriptor } from '#ferry/oci/descriptor.js';
import { RegistryClient } from '#ferry/registry/registry-client.js';
import { condaPackage, tarBz2Package } from '../../fixtures/build/archive.mjs';
import { writeChannel } from '../../fixtures/build/channel.mjs';
import { faultsOf, listedRecords } from '../support/audit.js';
import { startRegistry, type TestRegistry } from '../support/docker-registry.js';
import { failuresOf, mirrorFolder, registryStore, writesOf } from '../support/stores.js';
import { tempFolder } from '../support/temp.js';

/** A mirror as conda-oci-mirror leaves it: v0/X2 to v0/X6, one package layer per artifact, no ledger. */

let registry: TestRegistry;
beforeAll(async () => {
  registry = await startRegistry();
});
afterAll(async () => registry[Symbol.asyncDispose]());

function packages() {
  const spec = (name: string, version: string) =>
    ({ name, version, build: '0', subdir: 'noarch', index: { noarch: 'generic' } }) as const;
  return [
    condaPackage(spec('alone', '1.0')),
    condaPackage(spec('twins', '1.0')),
    tarBz2Package(spec('twins', '1.0')),
    condaPackage(spec('twins', '2.0')),
    tarBz2Package(spec('twins', '2.0')),
    condaPackage(spec('hole', '1.0')),
    condaPackage(spec('hole', '2.0')),
    condaPackage(spec('stale', '1.0')),
    tarBz2Package(spec('_under', '1.0')),
  ];
}

test('v0/X2: a mirror of conda-oci-mirror is adopted; its holes are found and filled', async () => {
  const source = await tempFolder();
  await writeChannel(source, { noarch: packages() });
  const view = registryStore(registry, 'adopted');
  const client = openHttpClient({ userAgent: 'test' });
  const store = new RegistryClient({ host: registry.host, send: client.send });
  const noarch = `${view.path}noarch`;
  // `hole` was never pushed, one tag of `twins` has the .conda, the other the .tar.bz2, `stale` holds other bytes.
  await pushForeign(store, noarch, 'alone', source, 'alone-1.0-0.conda');
  await pushForeign(store, noarch, 'twins', source, 'twins-1.0-0.conda');
  await pushForeign(store, noarch, 'twins', source, 'twins-2.0-0.tar.bz2');
  await pushForeign(store, noarch, 'zzz_under', source, '_under-1.0-0.tar.bz2');
  await pushForeign(store, noarch, 'stale', source, 'stale-1.0-0.conda', 'alone-1.0-0.conda');
  await pushRepodata(store, noarch, await readFile(join(source, 'noarch', 'repodata.json')));
  expect(await faultsOf(view.reader, noarch)).toHaveLength(5);

  const report = await mirrorFolder(source, registryStore(registry, 'adopted'));
  expect(failuresOf(report)).toEqual({});
  expect(report.subdirs[0]).toMatchObject({ listed: 9, there: 4, added: 5, publishedAs: 'unchanged' });
  expect(await faultsOf(view.reader, noarch)).toEqual([]);

  // The merged twins are what a mirror from nothing would have written.
  const fresh = registryStore(registry, 'fresh');
  await mirrorFolder(source, fresh);
  for (const tag of ['1.0-0', '2.0-0']) {
    const adopted = await view.reader.manifest(`${noarch}/twins`, tag);
    expect(adopted?.digest).toBe((await fresh.reader.manifest(`${fresh.path}noarch/twins`, tag))?.digest);
  }

  const second = registryStore(registry, 'adopted');
  await mirrorFolder(source, second);
  expect(writesOf(second)).toEqual([]);
  expect(second.requests.length).toBeLessThanOrEqual(3);
  await client[Symbol.asyncDispose]();
});

test('v0/X8: packages that the other tool published and the source yanked since are not lost silently', async () => {
  const source = await tempFolder();
  await writeChannel(source, { noarch: packages() });
  const view = registryStore(registry, 'yanked');
  const client = openHttpClient({ userAgent: 'test' });
  const store = new RegistryClient({ host: registry.host, send: client.send });
  const noarch = `${view.path}noarch`;
  await pushRepodata(store, noarch, await readFile(join(source, 'noarch', 'repodata.json')));
  await rm(source, { recursive: true });
  const [first, ...others] = packages();
  if (first === undefined) throw new Error('no packages');
  // Named in `removed`: the source took it back on purpose.
  await writeChannel(source, { noarch: [{ ...first, removed: true }, ...others] });
  expect(await readdir(join(source, 'noarch'))).toContain(first.filename);
  await mirrorFolder(source, registryStore(registry, 'yanked'));
  expect((await listedRecords(view.reader, noarch))?.map(({ name }) => name)).not.toContain('alone');
  await client[Symbol.asyncDispose]();
});

const EMPTY: Descriptor = describeBytes('application/vnd.unknown.config.v1+json', new Uint8Array(0));

async function pushForeign(
  store: RegistryClient,
  channel: string,
  leaf: string,
  source: string,
  filename: string,
  bytesOf = filename,
): Promise<void> {
  const repository = store.repository(`${channel}/${leaf}`);
  const stem = filename.replace(/\.(conda|tar\.bz2)$/, '');
  const [build = '', version = ''] = stem.split('-').reverse();
  const archive = await readFile(join(source, 'noarch', bytesOf));
  const index = Buffer.from(JSON.stringify({ name: leaf, version, build }, undefined, 2));
  const created = { creationTime: '2024.05.01.10.00' };
  const title = 'org.opencontainers.image.title';
  const layer = (mediaType: string, bytes: Uint8Array, annotations: Record<string, string>) => ({
    descriptor: describeBytes(mediaType, bytes, { ...annotations, ...created }),
    bytes,
  });
  const layers = [
    layer(`application/vnd.conda.package.${filename.endsWith('.conda') ? 'v2' : 'v1'}`, archive, {
      [title]: filename,
      'org.conda.md5': createHash('md5').update(archive).digest('hex'),
    }),
    layer('application/vnd.conda.info.v1.tar+gzip', gzipSync(await tarOf(index)), {
      [title]: `${stem}/info.tar.gz`,
    }),
    layer('application/vnd.conda.info.index.v1+json', index, { [title]: `${stem}/info/index.json` }),
  ];
  await pushAll(repository, layers, `${version}-${build}`);
}

async function pushRepodata(store: RegistryClient, channel: string, bytes: Uint8Array): Promise<void> {
  const annotations = { 'org.opencontainers.image.title': 'repodata.json', creationTime: '2024.05.01.10.00' };
  const descriptor = describeBytes('application/vnd.conda.repodata.v1+json', bytes, annotations);
  await pushAll(store.repository(`${channel}/repodata.json`), [{ descriptor, bytes }], 'latest');
}

async function pushAll(
  repository: ReturnType<RegistryClient['repository']>,
  layers: readonly { readonly descriptor: Descriptor; readonly bytes: Uint8Array }[],
  tag: string,
): Promise<void> {
  await repository.push(EMPTY, openerOf(new Uint8Array(0)));
  for (const { descriptor, bytes } of layers) await repository.push(descriptor, openerOf(bytes));
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: EMPTY,
      layers: layers.map(({ descriptor }) => descriptor),
      annotations: {},
    }),
  );
  const root = describeBytes('application/vnd.oci.image.manifest.v1+json', manifest);
  await repository.push(root, openerOf(manifest), { tags: [tag] });
}

async function tarOf(index: Uint8Array): Promise<Buffer> {
  const tar = pack();
  tar.entry({ name: 'index.json' }, Buffer.from(index));
  tar.finalize();
  const chunks: Uint8Array[] = [];
  for await (const chunk of tar) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks);
}

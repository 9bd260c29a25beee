/** A channel of many artifacts in a registry, put there without any archive being packed. */
import { createHash } from 'node:crypto';
import { oci, schemaV0 } from '../dist/index.js';

/** The channel's path in the registry. */
export const CHANNEL = 'bench/check';
const CONCURRENCY = 16;
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const BLOB = 'application/octet-stream';
const ARCHIVE = Buffer.from('the archive of all packages');
const INFO = Buffer.from('the info of all packages');

/** @typedef {{ name: string, version: string, build: string, filename: string }} BenchPackage */

/**
 * The packages of the channel, the same each time.
 * @param {number} count
 * @param {number} buildsPerName
 * @returns {BenchPackage[]}
 */
export function benchPackages(count, buildsPerName) {
  return Array.from({ length: count }, (_, i) => {
    const name = `pkg-${String(Math.floor(i / buildsPerName))}`;
    const build = String(i % buildsPerName);
    return { name, version: '1.0', build, filename: `${name}-1.0-${build}.conda` };
  });
}

/**
 * Fills a registry: packages with an index layer each, and one archive and one info layer that all of them share.
 * @param {string} host
 * @param {readonly BenchPackage[]} packages
 */
export async function fillChannel(host, packages) {
  const client = oci.openHttpClient({ userAgent: 'conda-ferry-bench' });
  const registry = new oci.RegistryClient({ host, send: client.send });
  /** @type {Map<string, Promise<unknown>>} */
  const shared = new Map();
  const queue = packages[Symbol.iterator]();
  const lane = async () => {
    for (const item of queue) {
      const repository = registry.repository(`${CHANNEL}/noarch/${item.name}`);
      const common = shared.get(item.name) ?? pushAll(repository, [schemaV0.configBytes, ARCHIVE, INFO]);
      shared.set(item.name, common);
      await common;
      await pushPackage(repository, item);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, lane));
  await pushRepodata(registry.repository(`${CHANNEL}/noarch/repodata.json`), packages);
  await client[Symbol.asyncDispose]();
}

/**
 * @param {oci.Repository} repository
 * @param {BenchPackage} item
 */
async function pushPackage(repository, { name, version, build, filename }) {
  const index = Buffer.from(JSON.stringify({ name, version, build, subdir: 'noarch', depends: [] }));
  await pushAll(repository, [index]);
  const md5 = createHash('md5').update(ARCHIVE).digest('hex');
  const manifest = schemaV0.packageManifest({
    packages: [{ filename, extension: 'conda', ...oci.describe(BLOB, ARCHIVE), md5 }],
    info: oci.describe(BLOB, INFO),
    index: oci.describe(BLOB, index),
  });
  await pushManifest(repository, manifest, `${version}-${build}`);
}

/**
 * @param {oci.Repository} repository
 * @param {readonly BenchPackage[]} packages
 */
async function pushRepodata(repository, packages) {
  const sha256 = createHash('sha256').update(ARCHIVE).digest('hex');
  const records = packages.map(({ filename, name, version, build }) => {
    const record = { name, version, build, build_number: 0, depends: [], subdir: 'noarch' };
    return [filename, { ...record, sha256, md5: null, size: ARCHIVE.byteLength }];
  });
  const repodata = Buffer.from(
    JSON.stringify({
      info: { subdir: 'noarch' },
      packages: {},
      'packages.conda': Object.fromEntries(records),
    }),
  );
  await pushAll(repository, [schemaV0.configBytes, repodata]);
  const layer = oci.describe('application/vnd.conda.repodata.v1+json', repodata);
  await pushManifest(repository, schemaV0.metadataManifest([layer]), 'latest');
}

/**
 * @param {oci.Repository} repository
 * @param {readonly Uint8Array[]} blobs
 */
async function pushAll(repository, blobs) {
  await Promise.all(blobs.map((bytes) => repository.push(oci.describe(BLOB, bytes), oci.openerOf(bytes))));
}

/**
 * @param {oci.Repository} repository
 * @param {object} manifest
 * @param {string} tag
 */
async function pushManifest(repository, manifest, tag) {
  const bytes = Buffer.from(JSON.stringify(manifest));
  await repository.push(oci.describe(MANIFEST, bytes), oci.openerOf(bytes), { tags: [tag] });
}

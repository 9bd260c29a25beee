/** `node mirror-small-bare.mjs REGISTRY FOLDER CONCURRENCY`: the same uploads, computed beforehand, and nothing else. */
import { argv, cpuUsage, stdout } from 'node:process';
import { Agent, request } from 'undici';
import { ChannelStore, DirectoryChannel, mirrorChannel, oci, schemaV0 } from '../dist/index.js';

const [host = '', folder = '', concurrencyText = '8'] = argv.slice(2);
const concurrency = Number(concurrencyText);

/** @typedef {{ readonly digest: string, readonly bytes: Uint8Array }} Blob */
/** @typedef {{ readonly repository: string, readonly tag: string, readonly manifest: Uint8Array, readonly blobs: readonly Blob[], readonly isFirst: boolean }} Upload */

const uploads = await prepare();
const agent = new Agent({ connections: 32, pipelining: 1, keepAliveTimeout: 30_000 });
/** @type {Map<string, Promise<void> | undefined>} */
const configs = new Map();
let requests = 0;
let next = 0;
const cpuBefore = cpuUsage();
const start = performance.now();
await Promise.all(Array.from({ length: concurrency }, lane));
const seconds = (performance.now() - start) / 1000;
const { user, system } = cpuUsage(cpuBefore);
const cpuSeconds = (user + system) / 1e6;
stdout.write(JSON.stringify({ seconds, cpuSeconds, requests }));
await agent.destroy();

async function lane() {
  for (;;) {
    const upload = uploads[next];
    next += 1;
    if (upload === undefined) return;
    const pushed = upload.blobs.map((blob) => pushBlob(upload.repository, blob));
    // The config comes with a repository's first tag; a manifest that is faster than it would be refused.
    if (upload.isFirst) configs.set(upload.repository, pushed[0]);
    await Promise.all([...pushed, configs.get(upload.repository)]);
    await send(
      'PUT',
      `/v2/${upload.repository}/manifests/${upload.tag}`,
      upload.manifest,
      'application/vnd.oci.image.manifest.v1+json',
    );
  }
}

/**
 * @param {string} repository
 * @param {Blob} blob
 */
async function pushBlob(repository, blob) {
  const session = await send('POST', `/v2/${repository}/blobs/uploads/`);
  const location = new URL(String(session.headers['location']), `http://${host}`);
  location.searchParams.set('digest', blob.digest);
  await send('PUT', location.pathname + location.search, blob.bytes, 'application/octet-stream');
}

/**
 * @param {'POST' | 'PUT'} method
 * @param {string} path
 * @param {Uint8Array} [body]
 * @param {string} [type]
 */
async function send(method, path, body, type) {
  requests += 1;
  const headers = type === undefined ? {} : { 'content-type': type };
  const response = await request(`http://${host}${path}`, {
    dispatcher: agent,
    method,
    headers,
    body: body ?? null,
  });
  await response.body.dump();
  if (response.statusCode >= 300)
    throw new Error(`${method} ${path} answered ${String(response.statusCode)}`);
  return response;
}

/** Packs the channel in memory and lists what a first mirror has to send. @returns {Promise<Upload[]>} */
async function prepare() {
  const registry = new oci.MemoryRegistry();
  const destination = new ChannelStore(registry, 'bench/bare', schemaV0);
  await mirrorChannel({ source: new DirectoryChannel(folder), destination, subdirs: ['noarch'] });
  /** @type {Upload[]} */
  const found = [];
  for (const name of await registry.repositories()) {
    if (/repodata(?:_ledger)?\.json$/.test(name)) continue;
    const repository = registry.repository(name);
    for await (const tag of repository.tags()) {
      const stored = await repository.fetchManifest(tag);
      if (stored === undefined) continue;
      const { config, layers } = oci.parseImageManifest(stored.bytes);
      const isFirst = found.at(-1)?.repository !== name;
      const blobs = [];
      for (const descriptor of isFirst ? [config, ...layers] : layers) {
        const chunks = [];
        for await (const chunk of repository.fetch(descriptor)) chunks.push(chunk);
        blobs.push({ digest: descriptor.digest, bytes: Buffer.concat(chunks) });
      }
      found.push({ repository: name, tag, manifest: stored.bytes, blobs, isFirst });
    }
  }
  return found;
}

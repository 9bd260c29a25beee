/**
 * `node publish-bare.mjs REGISTRY`: reads the repodata as it is, and sends the same bytes to another repository, in the
 * requests that a push makes for it, and does nothing else: what the registry takes for itself.
 */
import { createHash, randomBytes } from 'node:crypto';
import { argv, stdout } from 'node:process';
import { Agent, request } from 'undici';

const [host = ''] = argv.slice(2);
const agent = new Agent({ connections: 4, pipelining: 1, keepAliveTimeout: 30_000 });
const SOURCE = 'bench/publish/linux-64/repodata.json';
const TARGET = 'bench/bare/linux-64/repodata.json';
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';

const { body } = await send('GET', `/v2/${SOURCE}/manifests/latest`);
/** @type {{ config: { digest: string }, layers: { digest: string, size: number }[] }} */
const manifest = JSON.parse(body.toString('utf8'));
// Other bytes than those before, since a registry is faster with what it has.
/** @type {{ readonly bytes: Buffer, readonly digest: string }[]} */
const layers = [];
for (const { digest } of manifest.layers) {
  const bytes = (await send('GET', `/v2/${SOURCE}/blobs/${digest}`)).body;
  const changed = Buffer.concat([bytes, randomBytes(16)]);
  layers.push({ bytes: changed, digest: `sha256:${createHash('sha256').update(changed).digest('hex')}` });
}
await pushBlob(Buffer.from('{}'));

const start = performance.now();
// What a push reads: the compressed form.
await send('GET', `/v2/${SOURCE}/manifests/latest`);
await send('GET', `/v2/${SOURCE}/blobs/${manifest.layers.at(-1)?.digest ?? ''}`);
for (const { bytes, digest } of layers) await pushBlob(bytes, digest);
const written = JSON.stringify({
  ...manifest,
  layers: manifest.layers.map((layer, i) => ({
    ...layer,
    digest: layers[i]?.digest,
    size: layers[i]?.bytes.byteLength,
  })),
});
await send('PUT', `/v2/${TARGET}/manifests/latest`, Buffer.from(written), MANIFEST);
stdout.write(JSON.stringify({ seconds: (performance.now() - start) / 1000 }));
await agent.destroy();

/**
 * @param {Buffer} bytes
 * @param {string} [digest]
 */
async function pushBlob(bytes, digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`) {
  const session = await send('POST', `/v2/${TARGET}/blobs/uploads/`);
  const location = new URL(String(session.headers['location']), `http://${host}`);
  location.searchParams.set('digest', digest);
  await send('PUT', location.pathname + location.search, bytes, 'application/octet-stream');
}

/**
 * @param {'GET' | 'POST' | 'PUT'} method
 * @param {string} path
 * @param {Uint8Array} [content]
 * @param {string} [type]
 */
async function send(method, path, content, type) {
  const response = await request(`http://${host}${path}`, {
    dispatcher: agent,
    method,
    headers: type === undefined ? { accept: MANIFEST } : { 'content-type': type },
    body: content ?? null,
  });
  const body = Buffer.from(await response.body.arrayBuffer());
  if (response.statusCode >= 300)
    throw new Error(`${method} ${path} answered ${String(response.statusCode)}`);
  return { headers: response.headers, body };
}

/** `node check-bare.mjs REGISTRY CONCURRENCY ARTIFACTS BUILDS`: fetches the same manifests, and nothing else. */
import { argv, resourceUsage, stdout } from 'node:process';
import { Agent, request } from 'undici';
import { benchPackages, CHANNEL } from './check-channel.mjs';

const [host = '', concurrency = '8', artifacts = '0', builds = '1'] = argv.slice(2);
const agent = new Agent({ connections: 32, pipelining: 1, keepAliveTimeout: 30_000 });
const queue = benchPackages(Number(artifacts), Number(builds))[Symbol.iterator]();
let requests = 0;

const start = performance.now();
await Promise.all(Array.from({ length: Number(concurrency) }, lane));
const seconds = (performance.now() - start) / 1000;
stdout.write(JSON.stringify({ seconds, requests, residentBytes: resourceUsage().maxRSS * 1024 }));
await agent.destroy();

async function lane() {
  for (const { name, version, build } of queue) {
    const path = `/v2/${CHANNEL}/noarch/${name}/manifests/${version}-${build}`;
    const response = await request(`http://${host}${path}`, {
      dispatcher: agent,
      headers: { accept: 'application/vnd.oci.image.manifest.v1+json' },
    });
    await response.body.arrayBuffer();
    if (response.statusCode !== 200) throw new Error(`GET ${path} answered ${String(response.statusCode)}`);
    requests += 1;
  }
}

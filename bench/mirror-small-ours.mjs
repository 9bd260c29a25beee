/** `node mirror-small-ours.mjs REGISTRY SOURCE`: one mirror run as the command makes it, timed from within. */
import { argv, cpuUsage, resourceUsage, stdout } from 'node:process';
import { letHeapGrow } from '#ferry/cli/heap-growth.js';
import { ChannelStore, HttpChannel, mirrorChannel, oci, schemaV0 } from '../dist/index.js';

letHeapGrow();
const [host = '', source = ''] = argv.slice(2);
let requests = 0;
const options = { userAgent: 'conda-ferry-bench' };
const reading = oci.openHttpClient(options);
const writing = oci.openHttpClient({
  ...options,
  onRequest: ({ url }) => {
    if (!/\/repodata(?:_ledger)?\.json\//.test(url.pathname)) requests += 1;
  },
});
const destination = new ChannelStore(
  new oci.RegistryClient({ host, send: writing.send }),
  'bench/ours',
  schemaV0,
);

const cpuBefore = cpuUsage();
const start = performance.now();
const report = await mirrorChannel({
  source: new HttpChannel(new URL(source), reading.send),
  destination,
  subdirs: ['noarch'],
});
const seconds = (performance.now() - start) / 1000;
const { user, system } = cpuUsage(cpuBefore);
const cpuSeconds = (user + system) / 1e6;
const residentBytes = resourceUsage().maxRSS * 1024;
if (report.subdirs.some(({ failed }) => failed.length > 0)) throw new Error('archives failed');
stdout.write(JSON.stringify({ seconds, cpuSeconds, residentBytes, requests }));
await Promise.all([reading[Symbol.asyncDispose](), writing[Symbol.asyncDispose]()]);

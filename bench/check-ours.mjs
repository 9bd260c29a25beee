/** `node check-ours.mjs REGISTRY [index]`: one check of the channel, timed from within; with index layers if asked. */
import { argv, resourceUsage, stdout } from 'node:process';
import { check, ChannelStore, oci, schemaV0 } from '../dist/index.js';
import { CHANNEL } from './check-channel.mjs';

const [host = '', depth] = argv.slice(2);
let requests = 0;
const client = oci.openHttpClient({
  userAgent: 'conda-ferry-bench',
  onRequest: () => {
    requests += 1;
  },
});
const store = new ChannelStore(new oci.RegistryClient({ host, send: client.send }), CHANNEL, schemaV0);

const start = performance.now();
const report = await check(
  { kind: 'channel', store },
  { name: `oci://${host}/${CHANNEL}`, index: depth === 'index' },
);
const seconds = (performance.now() - start) / 1000;
if (report.counts.error > 0 || report.unchecked.length > 0)
  throw new Error(JSON.stringify(report.findings[0]));
const residentBytes = resourceUsage().maxRSS * 1024;
stdout.write(JSON.stringify({ seconds, requests, residentBytes, artifacts: report.checked.artifacts }));
await client[Symbol.asyncDispose]();

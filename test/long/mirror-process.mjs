/**
 * One run of the mirror in a process of its own, to be killed: as the command line's, with checkpoints every moment.
 * Arguments: source, host of the registry, path of the channel, schema, JSON of filters.
 */
import { argv, exit } from 'node:process';
import { ChannelStore } from '../../dist/artifact/channel-store.js';
import { schemaV0 } from '../../dist/artifact/schema-v0.js';
import { schemaV1 } from '../../dist/artifact/schema-v1.js';
import { HttpChannel } from '../../dist/channel/http-channel.js';
import { openHttpClient } from '../../dist/http/client.js';
import { parseFilters } from '../../dist/mirror/filters/filters.js';
import { mirrorChannel } from '../../dist/mirror/mirror.js';
import { openRegistry } from '../../dist/registry/open-registry.js';

const CHECKPOINT_MS = 150;

const [source = '', host = '', path = '', schema = '', filters = '{}'] = argv.slice(2);
const client = openHttpClient({ userAgent: 'conda-ferry-test' });
const registry = openRegistry(host, { userAgent: 'conda-ferry-test' });
const report = await mirrorChannel({
  source: new HttpChannel(new URL(source), client.send),
  destination: new ChannelStore(registry, path, schema === 'v1' ? schemaV1 : schemaV0),
  subdirs: ['noarch'],
  filters: parseFilters(JSON.parse(filters)),
  checkpointMs: CHECKPOINT_MS,
});
await registry[Symbol.asyncDispose]();
await client[Symbol.asyncDispose]();
const failed = report.subdirs.flatMap((subdir) => subdir.failed);
for (const { filename, code, message } of failed) console.error(`${filename} ${code} ${message}`);
if (failed.length > 0) exit(1);

/**
 * The coordinator of a mirror by queue in a process of its own, to be killed: as the command line's, with checkpoints every
 * moment. Arguments: source, host of the registry, path of the channel, URL of Redis. Says what it warns of on stderr.
 */
import { argv, exit } from 'node:process';
import { ChannelStore } from '../../dist/artifact/channel-store.js';
import { schemaV0 } from '../../dist/artifact/schema-v0.js';
import { HttpChannel } from '../../dist/channel/http-channel.js';
import { VERSION } from '../../dist/cli/version.js';
import { openHttpClient } from '../../dist/http/client.js';
import { mirrorByQueue } from '../../dist/queue/coordinate.js';
import { openQueueRedis } from '../../dist/queue/queue-redis.js';
import { openRegistry } from '../../dist/registry/open-registry.js';

const CHECKPOINT_MS = 150;

const [source = '', host = '', path = '', url = ''] = argv.slice(2);
const warning = (/** @type {string} */ text) => console.error(text);
const client = openHttpClient({ userAgent: 'conda-ferry-test' });
const registry = openRegistry(host, { userAgent: 'conda-ferry-test' });
const queue = await openQueueRedis({ url, onTrouble: warning });
const { report } = await mirrorByQueue(
  {
    source: new HttpChannel(new URL(source), client.send),
    destination: new ChannelStore(registry, path, schemaV0),
    subdirs: ['noarch'],
    checkpointMs: CHECKPOINT_MS,
    reporter: { warning },
  },
  {
    queue,
    version: VERSION,
    ends: { source, destination: `oci://${host}/${path}`, schema: 'v0', plainHttp: true },
  },
);
await queue[Symbol.asyncDispose]();
await registry[Symbol.asyncDispose]();
await client[Symbol.asyncDispose]();
const failed = report.subdirs.flatMap((subdir) => subdir.failed);
for (const { filename, code, message } of failed) console.error(`${filename} ${code} ${message}`);
if (failed.length > 0) exit(1);

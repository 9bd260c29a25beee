/** `node publish-prepare.mjs REGISTRY RECORDS`: fills a channel that is published to with so many records. */
import { createHash } from 'node:crypto';
import { argv, stdout } from 'node:process';
import { firstLedger, writeLedger } from '#ferry/artifact/ledger.js';
import { mergeMarkAnnotation } from '#ferry/artifact/merge-mark.js';
import { LATEST, pushMetadata } from '#ferry/artifact/metadata-artifact.js';
import { WorkerPool } from '#ferry/artifact/worker-pool.js';
import { Listing } from '#ferry/publish/listing.js';
import { ChannelStore, oci, schemaV0 } from '../dist/index.js';
import { generateRepodata } from './repodata-generator.mjs';

const [host = '', records = '0'] = argv.slice(2);
const SUBDIR = 'linux-64';
const client = oci.openHttpClient({ userAgent: 'conda-ferry-bench' });
const store = new ChannelStore(
  new oci.RegistryClient({ host, send: client.send }),
  'bench/publish',
  schemaV0,
);
const workers = new WorkerPool();

const generated = Buffer.concat([...generateRepodata({ records: Number(records) })]);
await publish(SUBDIR, Listing.parse(generated, SUBDIR).write());
await publish('noarch', Listing.empty('noarch').write());
await workers[Symbol.asyncDispose]();
await client[Symbol.asyncDispose]();

/**
 * @param {string} subdir
 * @param {Uint8Array} bytes
 */
async function publish(subdir, bytes) {
  const zst = await workers.run('compress', { bytes, level: 3 });
  const mediaType = 'application/vnd.conda.repodata.v1+json';
  const layers = [
    { mediaType, title: 'repodata.json', bytes },
    { mediaType: `${mediaType}+zst`, title: 'repodata.json.zst', bytes: zst },
  ];
  // As many operations as a busy month has, before somebody compacts them.
  const operations = Array.from({ length: 1000 }, (_, i) => {
    const random = createHash('sha256').update(String(i)).digest('hex').slice(0, 12);
    return `op-20260101t000000000z-${random}`;
  });
  const annotations = mergeMarkAnnotation({ epoch: 0, operations, revisions: {} });
  await pushMetadata(store, subdir, 'repodata.json', layers, { tags: [LATEST], annotations });
  const ledger = { ...firstLedger(store, subdir, { kind: 'published' }), complete: true };
  await writeLedger(store, ledger);
  if (subdir === SUBDIR) stdout.write(JSON.stringify({ jsonBytes: bytes.length, zstBytes: zst.length }));
}

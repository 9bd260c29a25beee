// A process that writes into a layout: layout-writer.mjs ROOT REPOSITORY PREFIX COUNT pushes COUNT manifests, tagged
// PREFIX-0, PREFIX-1, …, four at once.
import { openLayoutRegistry } from '#ferry/image-layout/layout-registry.js';
import { openerOf } from '#ferry/io/bytes.js';
import { forEachConcurrently } from '#ferry/io/pool.js';
import { describe } from '#ferry/oci/descriptor.js';
import { encodeJson } from '#ferry/oci/manifest.js';
import { IMAGE_MANIFEST } from '#ferry/oci/media-types.js';

const [root = '', name = '', prefix = '', count = '0'] = process.argv.slice(2);
const repository = openLayoutRegistry(root).repository(name);

const config = encodeJson({});
const configDescriptor = describe('application/vnd.example.config.v1+json', config);
await repository.push(configDescriptor, openerOf(config));

await forEachConcurrently(Array(Number(count)).keys(), { concurrency: 4 }, async (i) => {
  const tag = `${prefix}-${String(i)}`;
  const manifest = encodeJson({
    schemaVersion: 2,
    mediaType: IMAGE_MANIFEST,
    config: configDescriptor,
    layers: [],
    annotations: { tag },
  });
  await repository.push(describe(IMAGE_MANIFEST, manifest), openerOf(manifest), { tags: [tag] });
});

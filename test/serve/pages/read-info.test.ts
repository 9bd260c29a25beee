import { randomBytes } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { writeInfoLayer } from '#ferry/artifact/info-layer.js';
import { makePackageArtifact } from '#ferry/artifact/package-artifact.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import { writeUstar } from '#ferry/artifact/ustar.js';
import { readInfo, type InfoMember } from '#ferry/conda/archive/read-info.js';
import { parseArchiveFilename } from '#ferry/conda/names.js';
import { openerOf } from '#ferry/io/bytes.js';
import { digestHex, digestOf } from '#ferry/io/digest.js';
import { copyGraph } from '#ferry/oci/copy-graph.js';
import { MemoryRegistry } from '#ferry/oci/memory-store.js';
import {
  describeArtifact,
  readStoredInfo,
  shownInfoOf,
  type ShownInfo,
} from '#ferry/serve/pages/read-info.js';
import { condaPackage } from '../../../fixtures/build/archive.mjs';
import { rejection } from '../../contracts/artifacts.js';
import { wrappedScene } from '../../support/publishing.js';

const archive = condaPackage({
  name: 'ferry',
  version: '1!1.0',
  build: 'h1_0',
  subdir: 'noarch',
  index: { noarch: 'generic' },
  about: { summary: 'A ferry' },
  runExports: { weak: ['ferry >=1.0'] },
  payloadFiles: { 'share/ferry': 'hello\n' },
  infoFiles: { 'info/recipe/meta.yaml': 'about: ferries\n', 'info/test/large.bin': 'x'.repeat(1000) },
});
const SHA256 = digestHex(digestOf(archive.bytes));

const textsOf = (info: ShownInfo | undefined) =>
  Object.fromEntries([...(info ?? [])].map(([path, bytes]) => [path, Buffer.from(bytes).toString()]));

/** A store with one archive, whose info layer is what is given. */
async function storeWith(infoLayer: Uint8Array): Promise<ChannelStore> {
  const store = new ChannelStore(new MemoryRegistry(), 'ch', schemaV0);
  const bytes = Buffer.from('archive');
  const name = parseArchiveFilename('a-1-0.conda');
  const artifact = makePackageArtifact(schemaV0, [
    {
      name,
      layer: {
        filename: 'a-1-0.conda',
        extension: 'conda',
        digest: digestOf(bytes),
        size: bytes.length,
        md5: '',
      },
      info: { indexJson: Buffer.from('{}'), infoLayer, innerStem: undefined },
      open: openerOf(bytes),
    },
  ]);
  const place = schemaV0.placeOf(name);
  const repository = store.packageRepository('noarch', place);
  await copyGraph(artifact, repository, artifact.descriptor, { tags: [place.tag] });
  return store;
}

const member = (path: string, size: number): InfoMember & { readonly type: 'file' } => ({
  path,
  type: 'file',
  mode: 0o644,
  bytes: Buffer.alloc(size, 'x'),
});

describe('an info layer that is not to be trusted', () => {
  const about = member('about.json', 10);

  test.each([
    ['is no gzip', Buffer.from('no gzip'), 'ARCHIVE_CORRUPT'],
    ['ends early', writeInfoLayer([about]).subarray(0, 40), 'ARCHIVE_CORRUPT'],
    ['is a bomb', gzipSync(Buffer.alloc(40_000_000)), 'ARCHIVE_LIMIT_EXCEEDED'],
    ['is too large to be moved', randomBytes(17 * 1024 * 1024), 'ARCHIVE_LIMIT_EXCEEDED'],
    [
      'has the same member again and again',
      gzipSync(writeUstar(Array.from({ length: 20 }, () => member('about.json', 1_000_000))), { level: 0 }),
      'ARCHIVE_LIMIT_EXCEEDED',
    ],
  ])('is refused where it %s', async (_what, layer, code) => {
    const store = await storeWith(layer);
    expect(await rejection(readStoredInfo(store, 'noarch', 'a-1-0.conda'))).toMatchObject({ code });
  });

  test('has members that are passed over: other files, links, what is too large', async () => {
    const link: InfoMember = { path: 'index.json', type: 'symlink', target: 'about.json' };
    const layer = writeInfoLayer([about, link, member('run_exports.json', 2_000_000), member('other', 5)]);
    const info = await readStoredInfo(await storeWith(layer), 'noarch', 'a-1-0.conda');
    expect(textsOf(info)).toEqual({ 'about.json': 'x'.repeat(10) });
  });

  test('is not read on when nobody waits any more', async () => {
    const store = await storeWith(writeInfoLayer([about]));
    const signal = AbortSignal.abort(new Error('gone'));
    expect(await rejection(readStoredInfo(store, 'noarch', 'a-1-0.conda', { signal }))).toMatchObject({
      message: 'gone',
    });
  });
});

describe.each([schemaV0, schemaV1])('the info layer of an artifact in schema $id', (schema) => {
  test('gives what a page shows, as the archive has it', async () => {
    const scene = await wrappedScene((registry) => registry, schema);
    await scene.push([archive]);
    const { store } = scene.view();
    const info = await readStoredInfo(store, 'noarch', archive.filename, { sha256: SHA256 });
    const { members } = await readInfo({ bytes: archive.bytes }, 'conda');
    expect(textsOf(info)).toEqual(textsOf(shownInfoOf(members)));
    expect([...(info?.keys() ?? [])].sort()).toEqual([
      'about.json',
      'files',
      'index.json',
      'paths.json',
      'recipe/meta.yaml',
      'run_exports.json',
    ]);
    expect(describeArtifact(store, 'noarch', archive.filename)).toMatch(
      /^oci:\/\/memory\/ch\/noarch\/c?ferry:/,
    );
  });

  test('is of no other archive than the one that is meant', async () => {
    const scene = await wrappedScene((registry) => registry, schema);
    await scene.push([archive]);
    const { store } = scene.view();
    const other = { sha256: 'ab'.repeat(32) };
    expect(await readStoredInfo(store, 'noarch', archive.filename, other)).toBeUndefined();
    expect(await readStoredInfo(store, 'noarch', 'ferry-1!1.0-h1_0.tar.bz2')).toBeUndefined();
    expect(await readStoredInfo(store, 'noarch', 'nothing-1-0.conda')).toBeUndefined();
  });
});

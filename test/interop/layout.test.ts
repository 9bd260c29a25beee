import { execFile } from 'node:child_process';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openLayoutRegistry } from '#ferry/image-layout/layout-registry.js';
import { TempFolder } from '#ferry/io/temp-folder.js';
import { copyGraph } from '#ferry/oci/copy-graph.js';
import { MemoryRegistry } from '#ferry/oci/memory-store.js';
import { IMAGE_MANIFEST } from '#ferry/oci/media-types.js';
import { contentOf, essence, pushArtifact, readAll, tagsOf, type Artifact } from '../contracts/artifacts.js';

const run = promisify(execFile);

let temp: TempFolder;
let root: string;

beforeEach(async () => {
  temp = await TempFolder.create();
  root = join(temp.path, 'channel');
});

afterEach(async () => {
  await temp[Symbol.asyncDispose]();
});

/** An artifact as a conda package makes one, small. */
function condaArtifact(text: string): Artifact {
  const config = contentOf('{}', 'application/vnd.unknown.config.v1+json');
  const layers = [
    contentOf(`archive ${text}`, 'application/vnd.conda.package.v2'),
    contentOf(`info ${text}`, 'application/vnd.conda.info.v1.tar+gzip'),
    contentOf(JSON.stringify({ name: text }), 'application/vnd.conda.info.index.v1+json'),
  ];
  const manifest = contentOf(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: IMAGE_MANIFEST,
      config: config.descriptor,
      layers: layers.map(({ descriptor }, i) => ({
        ...descriptor,
        annotations: { 'org.opencontainers.image.title': `file-${String(i)}` },
      })),
    }),
    IMAGE_MANIFEST,
  );
  return { blobs: [config, ...layers], manifest };
}

/** An image that any tool understands, since some refuse to copy layers they do not know. */
function plainImage(text: string): Artifact {
  const layer = contentOf(text, 'application/vnd.oci.image.layer.v1.tar');
  const config = contentOf(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      rootfs: { type: 'layers', diff_ids: [layer.descriptor.digest] },
    }),
    'application/vnd.oci.image.config.v1+json',
  );
  const manifest = contentOf(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: IMAGE_MANIFEST,
      config: config.descriptor,
      layers: [layer.descriptor],
    }),
    IMAGE_MANIFEST,
  );
  return { blobs: [config, layer], manifest };
}

describe('skopeo', () => {
  test('reads the manifests of a layout of ours', async () => {
    const repository = openLayoutRegistry(root).repository('noarch/x');
    const [one, two] = [condaArtifact('one'), condaArtifact('two')];
    await pushArtifact(repository, one, ['1.0-0']);
    await pushArtifact(repository, two, ['2.0-0', 'latest']);
    for (const [tag, { manifest }] of [['1.0-0', one] as const, ['latest', two] as const]) {
      const { stdout } = await run('skopeo', ['inspect', '--raw', `oci:${join(root, 'noarch/x')}:${tag}`]);
      expect(stdout).toBe(Buffer.from(manifest.bytes).toString());
    }
  });

  test('copies a conda artifact out of a layout of ours', async () => {
    const artifact = condaArtifact('one');
    await pushArtifact(openLayoutRegistry(root).repository('noarch/x'), artifact, ['1.0-0']);
    const copies = openLayoutRegistry(join(temp.path, 'copies'));
    await run('mkdir', ['-p', copies.location]);
    const from = `oci:${join(root, 'noarch/x')}:1.0-0`;
    await run('skopeo', [
      '--insecure-policy',
      'copy',
      '--preserve-digests',
      from,
      `oci:${copies.location}/y:copy`,
    ]);
    const copy = copies.repository('y');
    expect(essence(await copy.resolve('copy'))).toEqual(artifact.manifest.descriptor);
    for (const { descriptor, bytes } of artifact.blobs) {
      expect((await readAll(copy.fetch(descriptor))).equals(bytes)).toBe(true);
    }
  });

  test('and we write into one layout in turn', async () => {
    const registry = openLayoutRegistry(root);
    const repository = registry.repository('noarch/x');
    const [ours, theirs, last] = [plainImage('ours'), plainImage('theirs'), plainImage('last')];
    await pushArtifact(repository, ours, ['ours']);
    await pushArtifact(registry.repository('noarch/source'), theirs, ['theirs']);
    const target = `oci:${join(root, 'noarch/x')}`;
    const from = `oci:${join(root, 'noarch/source')}:theirs`;
    await run('skopeo', ['--insecure-policy', 'copy', '--preserve-digests', from, `${target}:theirs`]);
    await pushArtifact(repository, last, ['last']);
    expect(await tagsOf(repository)).toEqual(['last', 'ours', 'theirs']);
    for (const [tag, { manifest }] of Object.entries({ ours, theirs, last })) {
      expect(essence(await repository.resolve(tag))).toEqual(manifest.descriptor);
      const { stdout } = await run('skopeo', ['inspect', '--raw', `${target}:${tag}`]);
      expect(stdout).toBe(Buffer.from(manifest.bytes).toString());
    }
  });

  test('makes a layout that can be copied from', async () => {
    const image = plainImage('from skopeo');
    await pushArtifact(openLayoutRegistry(root).repository('noarch/x'), image, ['1']);
    const made = join(temp.path, 'made');
    await run('mkdir', ['-p', made]);
    const from = `oci:${join(root, 'noarch/x')}:1`;
    await run('skopeo', ['--insecure-policy', 'copy', '--preserve-digests', from, `oci:${made}/image:v1`]);
    // Some versions write no media type.
    const path = join(made, 'image', 'index.json');
    const { mediaType: _, ...rest } = JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>;
    await cp(join(made, 'image'), join(made, 'older'), { recursive: true });
    await writeFile(join(made, 'older', 'index.json'), JSON.stringify(rest));
    const registry = openLayoutRegistry(made);
    expect(await registry.repositories()).toEqual(['image', 'older']);
    for (const name of ['image', 'older']) {
      const destination = new MemoryRegistry().repository('copy');
      const root = await registry.repository(name).resolve('v1');
      expect(root?.digest).toBe(image.manifest.descriptor.digest);
      if (root !== undefined) await copyGraph(registry.repository(name), destination, root, { tags: ['v1'] });
      expect((await destination.fetchManifest('v1'))?.bytes).toEqual(image.manifest.bytes);
    }
  });
});

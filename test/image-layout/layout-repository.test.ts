import { lstat, mkdir, readdir, readFile, rename, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openLayoutRegistry } from '#ferry/image-layout/layout-registry.js';
import type { LayoutRepository } from '#ferry/image-layout/layout-repository.js';
import { openerOf, type OpenBytes } from '#ferry/io/bytes.js';
import { digestHex } from '#ferry/io/digest.js';
import { TempFolder } from '#ferry/io/temp-folder.js';
import type { Descriptor } from '#ferry/oci/descriptor.js';
import { IMAGE_INDEX } from '#ferry/oci/media-types.js';
import {
  artifactOf,
  contentOf,
  essence,
  indexOf,
  pushArtifact,
  pushContent,
  readAll,
  rejection,
  tagsOf,
} from '../contracts/artifacts.js';

const REF_NAME = 'org.opencontainers.image.ref.name';

let temp: TempFolder;
let root: string;

beforeEach(async () => {
  temp = await TempFolder.create();
  root = join(temp.path, 'channel');
});

afterEach(async () => {
  await temp[Symbol.asyncDispose]();
});

function open(name = 'noarch/foo'): LayoutRepository {
  return openLayoutRegistry(root).repository(name);
}

function blobPath(descriptor: Descriptor, name = 'noarch/foo'): string {
  return join(root, name, 'blobs', 'sha256', digestHex(descriptor.digest));
}

async function readIndex(name = 'noarch/foo'): Promise<{ manifests: Record<string, unknown>[] }> {
  return JSON.parse(await readFile(join(root, name, 'index.json'), 'utf8')) as {
    manifests: Record<string, unknown>[];
  };
}

/** Changes `index.json` as another tool would. */
async function rewriteIndex(
  change: (manifests: unknown[]) => unknown[],
  members: object = {},
): Promise<void> {
  const { manifests, ...rest } = await readIndex();
  const path = join(root, 'noarch/foo', 'index.json');
  await writeFile(
    `${path}.other`,
    JSON.stringify({ ...rest, ...members, manifests: change(manifests) }, null, 2),
  );
  await rename(`${path}.other`, path);
}

const unreadable: OpenBytes = () => {
  throw new Error('nobody should read this');
};

describe('on disk', () => {
  test('is an image layout and nothing more', async () => {
    const artifact = artifactOf('a layer');
    await pushArtifact(open(), artifact, ['1.0-0', 'latest']);
    const folder = join(root, 'noarch', 'foo');
    expect((await readdir(folder)).sort()).toEqual(['blobs', 'index.json', 'oci-layout']);
    expect(await readFile(join(folder, 'oci-layout'), 'utf8')).toBe('{"imageLayoutVersion":"1.0.0"}');
    expect(await readIndex()).toEqual({
      schemaVersion: 2,
      mediaType: IMAGE_INDEX,
      manifests: ['1.0-0', 'latest'].map((tag) => ({
        ...artifact.manifest.descriptor,
        annotations: { [REF_NAME]: tag },
      })),
    });
    const names = [...artifact.blobs, artifact.manifest].map(({ descriptor }) =>
      digestHex(descriptor.digest),
    );
    expect((await readdir(join(folder, 'blobs', 'sha256'))).sort()).toEqual(names.sort());
    const { mode } = await stat(blobPath(artifact.manifest.descriptor));
    // The owner may write, or else some disks would not let the file be deleted.
    expect(mode & 0o700).toBe(0o600);
  });

  test('an untagged manifest is listed bare until its first tag', async () => {
    const repository = open();
    const { blobs, manifest } = artifactOf('a layer');
    await pushArtifact(repository, { blobs, manifest });
    await pushArtifact(repository, { blobs, manifest });
    expect((await readIndex()).manifests).toEqual([manifest.descriptor]);
    await repository.tag(manifest.descriptor, 'latest');
    expect((await readIndex()).manifests).toEqual([
      { ...manifest.descriptor, annotations: { [REF_NAME]: 'latest' } },
    ]);
  });

  test('what a moved tag leaves behind is listed bare', async () => {
    const repository = open();
    const [old, fresh] = [artifactOf('old'), artifactOf('new')];
    await pushArtifact(repository, old, ['latest']);
    await pushArtifact(repository, fresh, ['latest']);
    expect((await readIndex()).manifests).toEqual([
      { ...fresh.manifest.descriptor, annotations: { [REF_NAME]: 'latest' } },
      old.manifest.descriptor,
    ]);
  });

  test('a blob that is there is not read again', async () => {
    const repository = open();
    const blob = contentOf('there');
    await pushContent(repository, blob);
    await repository.push(blob.descriptor, unreadable);
  });

  test('a blob of the wrong size is not there, and is replaced', async () => {
    const repository = open();
    const blob = contentOf('whole');
    await pushContent(repository, blob);
    await writeFile(blobPath(blob.descriptor), 'who');
    expect(await repository.exists(blob.descriptor)).toBe(false);
    await pushContent(repository, blob);
    expect((await readAll(repository.fetch(blob.descriptor))).toString()).toBe('whole');
  });

  test('a reader notices a blob that went bad', async () => {
    const repository = open();
    const blob = contentOf('right');
    await pushContent(repository, blob);
    await writeFile(blobPath(blob.descriptor), 'wrong');
    await expect(readAll(repository.fetch(blob.descriptor))).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
    });
  });

  test('a failed push leaves no temporary file', async () => {
    const repository = open();
    const blob = contentOf('right');
    await rejection(repository.push(blob.descriptor, openerOf(Buffer.from('wrong'))));
    expect(await readdir(join(root, 'noarch/foo/blobs/sha256'))).toEqual([]);
  });

  test('old temporary files of killed processes go, young ones stay', async () => {
    const repository = open();
    await pushContent(repository, contentOf('a blob'));
    const blobs = join(root, 'noarch/foo/blobs/sha256');
    await writeFile(join(blobs, '.tmp-old'), '');
    await writeFile(join(blobs, '.tmp-young'), '');
    const longAgo = new Date(Date.now() - 25 * 60 * 60 * 1000);
    await utimes(join(blobs, '.tmp-old'), longAgo, longAgo);
    await pushArtifact(repository, artifactOf('a layer'));
    expect((await readdir(blobs)).filter((name) => name.startsWith('.'))).toEqual(['.tmp-young']);
  });

  test('a manifest whose listing was cut off by a kill is not there, and is healed by the next push', async () => {
    const repository = open();
    const artifact = artifactOf('a layer');
    for (const content of artifact.blobs) await pushContent(repository, content);
    await writeFile(blobPath(artifact.manifest.descriptor), artifact.manifest.bytes);
    expect(await repository.exists(artifact.manifest.descriptor)).toBe(false);
    await pushContent(repository, artifact.manifest, ['latest']);
    expect(await repository.exists(artifact.manifest.descriptor)).toBe(true);
    expect(await tagsOf(repository)).toEqual(['latest']);
  });

  test('a push that may mount opens nothing, and gets the same file', async () => {
    const registry = openLayoutRegistry(root);
    const blob = contentOf('shared by a push');
    await pushContent(registry.repository('noarch/from'), blob);
    const open: OpenBytes = () => {
      throw new Error('it was opened');
    };
    await registry.repository('noarch/foo').push(blob.descriptor, open, { mountFrom: 'noarch/from' });
    const [here, there] = await Promise.all([
      stat(blobPath(blob.descriptor)),
      stat(blobPath(blob.descriptor, 'noarch/from')),
    ]);
    expect(here.ino).toBe(there.ino);
  });

  test('a mounted blob is the same file', async () => {
    const registry = openLayoutRegistry(root);
    const blob = contentOf('shared');
    await pushContent(registry.repository('noarch/from'), blob);
    expect(await registry.repository('noarch/foo').mount(blob.descriptor, 'noarch/from')).toBe(true);
    const [one, other] = [blobPath(blob.descriptor, 'noarch/from'), blobPath(blob.descriptor)];
    expect((await lstat(one)).ino).toBe((await lstat(other)).ino);
  });
});

describe('reading', () => {
  test('makes no directory', async () => {
    const registry = openLayoutRegistry(root);
    const repository = registry.repository('noarch/foo');
    const { descriptor } = contentOf('absent');
    expect(await registry.repositories()).toEqual([]);
    expect(await repository.resolve('latest')).toBeUndefined();
    expect(await repository.exists(descriptor)).toBe(false);
    expect(await tagsOf(repository)).toEqual([]);
    await repository.delete(descriptor);
    await repository.delete(artifactOf('absent').manifest.descriptor);
    await rejection(repository.tag(artifactOf('absent').manifest.descriptor, 'latest'));
    expect(await repository.mount(descriptor, 'noarch/bar')).toBe(false);
    await registry[Symbol.asyncDispose]();
    expect(await readdir(temp.path)).toEqual([]);
  });

  test('sees what another process changed', async () => {
    const [ours, theirs] = [open(), open()];
    for (let i = 0; i < 50; i += 1) {
      const artifact = artifactOf(`version ${String(i)}`);
      await pushArtifact(theirs, artifact, ['latest']);
      expect(essence(await ours.resolve('latest'))).toEqual(artifact.manifest.descriptor);
    }
  });

  test('reads an index once for many questions', async () => {
    const repository = open();
    const { manifest } = artifactOf('a layer');
    await pushArtifact(repository, artifactOf('a layer'), ['latest']);
    const bare = Array.from({ length: 50_000 }, (_, i) => ({
      mediaType: manifest.descriptor.mediaType,
      digest: `sha256:${i.toString(16).padStart(64, '0')}`,
      size: 1,
      annotations: { [REF_NAME]: `tag-${String(i)}` },
    }));
    await rewriteIndex((manifests) => [...bare, ...manifests]);
    const path = join(root, 'noarch/foo/index.json');
    const earlier = new Date(Date.now() - 10_000);
    await utimes(path, earlier, earlier);
    await repository.resolve('latest');
    // In place and with the same times: only a reader that did not look into the file misses it.
    await writeFile(path, Buffer.alloc((await stat(path)).size, ' '));
    await utimes(path, earlier, earlier);
    for (let i = 0; i < 1000; i += 1) {
      expect(essence(await repository.resolve('latest'))).toEqual(manifest.descriptor);
    }
  });

  test('a listed manifest whose blob is missing does not resolve', async () => {
    const repository = open();
    await pushArtifact(repository, artifactOf('a layer'), ['latest']);
    const absent = artifactOf('absent').manifest.descriptor;
    await rewriteIndex((manifests) => [...manifests, { ...absent, annotations: { [REF_NAME]: 'sparse' } }]);
    expect(await repository.resolve('sparse')).toBeUndefined();
    expect(await repository.resolve(absent.digest)).toBeUndefined();
    expect(await tagsOf(repository)).toEqual(['latest', 'sparse']);
  });

  test('finds manifests that only a nested index lists', async () => {
    const repository = open();
    const artifact = artifactOf('deep');
    await pushArtifact(repository, artifact);
    const inner = indexOf(artifact.manifest);
    await pushContent(repository, inner);
    const outer = indexOf(inner);
    await pushContent(repository, outer, ['nested']);
    await rewriteIndex((manifests) =>
      manifests.filter((entry) => Object.hasOwn(entry as object, 'annotations')),
    );
    expect((await readIndex()).manifests).toHaveLength(1);
    for (const { descriptor } of [artifact.manifest, inner, outer]) {
      expect(essence(await repository.resolve(descriptor.digest))).toEqual(descriptor);
      expect(await repository.exists(descriptor)).toBe(true);
    }
    expect(await repository.resolve(contentOf('no manifest').descriptor.digest)).toBeUndefined();
  });

  test.each([
    ['no JSON', '{"manifests":'],
    ['no index', '{"schemaVersion":2}'],
    ['another version', '{"schemaVersion":1,"manifests":[]}'],
  ])('refuses an index.json that is %s', async (_, text) => {
    await mkdir(join(root, 'noarch/foo'), { recursive: true });
    await writeFile(join(root, 'noarch/foo/index.json'), text);
    await expect(open().resolve('latest')).rejects.toMatchObject({ code: 'LAYOUT_INVALID' });
  });

  test.each(['{"imageLayoutVersion":"2.0.0"}', '{}', 'x'])(
    'refuses an oci-layout file of %s',
    async (text) => {
      await pushArtifact(open(), artifactOf('a layer'), ['latest']);
      await writeFile(join(root, 'noarch/foo/oci-layout'), text);
      await expect(open().resolve('latest')).rejects.toMatchObject({ code: 'LAYOUT_INVALID' });
      await expect(pushArtifact(open(), artifactOf('another'), ['2'])).rejects.toMatchObject({
        code: 'LAYOUT_INVALID',
      });
    },
  );
});

describe('beside other tools', () => {
  test('keeps entries and members that it does not know', async () => {
    const repository = open();
    const [one, two] = [artifactOf('one'), artifactOf('two')];
    await pushArtifact(repository, one, ['1']);
    await pushArtifact(repository, two);
    const strange = [
      { mediaType: 'text/plain', digest: 'md5:d41d8cd98f00b204e9800998ecf8427e', size: 0 },
      { note: 'no descriptor at all' },
      'not even an object',
      { ...one.manifest.descriptor, annotations: { [REF_NAME]: 'docker.io/library/foo:1.0', 'x.y': 'z' } },
      { ...two.manifest.descriptor, platform: { os: 'linux', architecture: 'arm64' }, 'x-new': [1] },
    ];
    await rewriteIndex((manifests) => [...strange, ...manifests], { annotations: { a: 'b' }, 'x-member': 1 });
    await repository.tag(two.manifest.descriptor, '2');
    await repository.tag(one.manifest.descriptor, '1b');
    const index = await readIndex();
    expect(index).toMatchObject({ annotations: { a: 'b' }, 'x-member': 1 });
    expect(index.manifests.slice(0, strange.length)).toEqual(strange);
    expect(await tagsOf(repository)).toEqual(['1', '1b', '2']);
  });

  test('a displaced entry keeps what others wrote into it', async () => {
    const repository = open();
    const [old, fresh] = [artifactOf('old'), artifactOf('new')];
    await pushArtifact(repository, old);
    await rewriteIndex(() => [
      { ...old.manifest.descriptor, 'x-new': 1, annotations: { [REF_NAME]: 'latest', 'x.y': 'z' } },
    ]);
    await pushArtifact(repository, fresh, ['latest']);
    expect((await readIndex()).manifests).toEqual([
      { ...fresh.manifest.descriptor, annotations: { [REF_NAME]: 'latest' } },
      { ...old.manifest.descriptor, 'x-new': 1, annotations: { 'x.y': 'z' } },
    ]);
  });

  test('of a name that is there twice the last counts, and moving it leaves one', async () => {
    const repository = open();
    const [one, two, three] = [artifactOf('one'), artifactOf('two'), artifactOf('three')];
    for (const artifact of [one, two]) await pushArtifact(repository, artifact);
    await rewriteIndex((manifests) =>
      manifests.map((entry) => ({ ...(entry as object), annotations: { [REF_NAME]: 'twice' } })),
    );
    expect(essence(await repository.resolve('twice'))).toEqual(two.manifest.descriptor);
    await pushArtifact(repository, three, ['twice']);
    expect((await readIndex()).manifests).toEqual([
      { ...three.manifest.descriptor, annotations: { [REF_NAME]: 'twice' } },
      one.manifest.descriptor,
      two.manifest.descriptor,
    ]);
  });

  test('a name that is there twice can be set to the one that counts already', async () => {
    const repository = open();
    const [one, two] = [artifactOf('one'), artifactOf('two')];
    for (const artifact of [one, two]) await pushArtifact(repository, artifact);
    await rewriteIndex((manifests) =>
      manifests.map((entry) => ({ ...(entry as object), annotations: { [REF_NAME]: 'twice' } })),
    );
    await repository.tag(one.manifest.descriptor, 'twice');
    expect(essence(await repository.resolve('twice'))).toEqual(one.manifest.descriptor);
    expect(essence(await repository.resolve(two.manifest.descriptor.digest))).toEqual(
      two.manifest.descriptor,
    );
  });

  test('an index without media type is read', async () => {
    const repository = open();
    const { blobs, manifest } = artifactOf('a layer');
    await pushArtifact(repository, { blobs, manifest }, ['latest']);
    const path = join(root, 'noarch/foo/index.json');
    const { manifests } = await readIndex();
    await writeFile(path, JSON.stringify({ schemaVersion: 2, manifests }));
    expect(essence(await open().resolve('latest'))).toEqual(manifest.descriptor);
  });
});

describe('links', () => {
  test.each([
    ['a folder on the way', 'noarch', 'noarch'],
    ['the repository', 'noarch/foo', 'foo'],
    ['its blobs', 'noarch/foo/blobs', 'foo/blobs'],
    ['its blobs of one algorithm', 'noarch/foo/blobs/sha256', 'foo/blobs/sha256'],
  ])('%s being one is refused for reading and writing', async (_, link) => {
    const outside = join(temp.path, 'outside');
    await mkdir(outside);
    await mkdir(join(root, link, '..'), { recursive: true });
    await symlink(outside, join(root, link));
    const repository = open();
    const blob = contentOf('a blob');
    const refused = { code: 'LAYOUT_INVALID' };
    await expect(repository.exists(blob.descriptor)).rejects.toMatchObject(refused);
    await expect(readAll(repository.fetch(blob.descriptor))).rejects.toMatchObject(refused);
    await expect(pushContent(repository, blob)).rejects.toMatchObject(refused);
    await expect(repository.resolve('latest')).rejects.toMatchObject(refused);
    await expect(repository.delete(blob.descriptor)).rejects.toMatchObject(refused);
    expect(await readdir(outside)).toEqual([]);
  });

  test('a blob or index.json being one is refused', async () => {
    await pushArtifact(open(), artifactOf('a layer'), ['latest']);
    const secret = join(temp.path, 'secret');
    await writeFile(secret, 'secret');
    const { descriptor } = contentOf('secret');
    await symlink(secret, blobPath(descriptor));
    expect(await open().exists(descriptor)).toBe(false);
    await expect(readAll(open().fetch(descriptor))).rejects.toMatchObject({ code: 'LAYOUT_INVALID' });
    const index = join(root, 'noarch/foo/index.json');
    await rename(index, join(temp.path, 'index.json'));
    await symlink(join(temp.path, 'index.json'), index);
    await expect(open().resolve('latest')).rejects.toMatchObject({ code: 'LAYOUT_INVALID' });
  });

  test('the root may be one', async () => {
    await mkdir(join(temp.path, 'real'));
    await symlink(join(temp.path, 'real'), root);
    await pushArtifact(open(), artifactOf('a layer'), ['latest']);
    expect(await openLayoutRegistry(root).repositories()).toEqual(['noarch/foo']);
  });
});

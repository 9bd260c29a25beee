import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openLayoutRegistry } from '#ferry/image-layout/layout-registry.js';
import type { LayoutRepository } from '#ferry/image-layout/layout-repository.js';
import { digestHex } from '#ferry/io/digest.js';
import { TempFolder } from '#ferry/io/temp-folder.js';
import type { Descriptor } from '#ferry/oci/descriptor.js';
import { IMAGE_MANIFEST } from '#ferry/oci/media-types.js';
import { artifactOf, contentOf, indexOf, pushArtifact, pushContent, tagsOf } from '../contracts/artifacts.js';
import { entryOf, referrerOf, referrersOf, SIGNATURE } from '../contracts/referrer-contract.js';

const REF_NAME = 'org.opencontainers.image.ref.name';
const subject = artifactOf('a subject').manifest.descriptor;
const one = referrerOf(subject, 'one', SIGNATURE);

let temp: TempFolder;
let folder: string;

beforeEach(async () => {
  temp = await TempFolder.create();
  folder = join(temp.path, 'a');
});
afterEach(async () => {
  await temp[Symbol.asyncDispose]();
});

function open(): LayoutRepository {
  return openLayoutRegistry(temp.path).repository('a');
}

const indexPath = (): string => join(folder, 'index.json');
const blobPath = ({ digest }: Descriptor): string => join(folder, 'blobs', 'sha256', digestHex(digest));

async function readEntries(): Promise<unknown[]> {
  return (JSON.parse(await readFile(indexPath(), 'utf8')) as { manifests: unknown[] }).manifests;
}

describe('referrers of a layout', () => {
  test('are found by a new reader, and in what another process wrote since', async () => {
    await pushArtifact(open(), one);
    const reader = open();
    expect(await referrersOf(reader, subject)).toEqual([entryOf(one, 'one', SIGNATURE)]);
    const two = referrerOf(subject, 'two');
    await pushArtifact(open(), two);
    expect(await referrersOf(reader, subject)).toHaveLength(2);
  });

  test('are found below an index', async () => {
    await pushArtifact(open(), one);
    await pushContent(open(), indexOf(one.manifest), ['index']);
    const entries = await readEntries();
    const document = { schemaVersion: 2, manifests: entries.slice(1) };
    expect(entries).toHaveLength(2);
    await writeFile(indexPath(), JSON.stringify(document));
    expect(await referrersOf(open(), subject)).toEqual([entryOf(one, 'one', SIGNATURE)]);
  });

  test('are none among manifests that are missing or unreadable, nor in a layout that is not there', async () => {
    expect(await referrersOf(open(), subject)).toEqual([]);
    const lost = referrerOf(subject, 'lost');
    await pushArtifact(open(), one);
    await pushArtifact(open(), lost);
    await rm(blobPath(lost.manifest.descriptor));
    const odd = contentOf('<html>', IMAGE_MANIFEST);
    await writeFile(blobPath(odd.descriptor), odd.bytes);
    const manifests = [...(await readEntries()), odd.descriptor, 'no descriptor'];
    await writeFile(indexPath(), JSON.stringify({ schemaVersion: 2, manifests }));
    const repository = open();
    expect(await referrersOf(repository, subject)).toEqual([entryOf(one, 'one', SIGNATURE)]);
    // Sparse layouts fill up later.
    await pushArtifact(repository, lost);
    expect(await referrersOf(repository, subject)).toHaveLength(2);
  });
});

describe('untag in a layout', () => {
  test('leaves the manifest listed, and what another tool wrote beside the tag', async () => {
    await pushArtifact(open(), one, ['a']);
    const annotations = { [REF_NAME]: 'b', 'org.example.note': 'kept' };
    const manifests = [{ ...one.manifest.descriptor, annotations, platform: { os: 'linux' } }];
    await writeFile(indexPath(), JSON.stringify({ schemaVersion: 2, manifests }));
    await open().untag('b');
    expect(await readEntries()).toEqual([
      { ...one.manifest.descriptor, annotations: { 'org.example.note': 'kept' }, platform: { os: 'linux' } },
    ]);
    expect(await open().exists(one.manifest.descriptor)).toBe(true);
  });

  test('removes a tag that another tool wrote twice, and writes nothing for one that is absent', async () => {
    await pushArtifact(open(), one, ['a', 'b']);
    const entries = await readEntries();
    await writeFile(indexPath(), JSON.stringify({ schemaVersion: 2, manifests: [...entries, entries[0]] }));
    const repository = open();
    await repository.untag('a');
    expect(await tagsOf(repository)).toEqual(['b']);
    const before = await readFile(indexPath(), 'utf8');
    await repository.untag('a');
    expect(await readFile(indexPath(), 'utf8')).toBe(before);
  });
});

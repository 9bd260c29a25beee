import { describe, expect, test } from 'vitest';
import { deleteTags } from '#ferry/oci/delete-tags.js';
import type { Descriptor } from '#ferry/oci/descriptor.js';
import { IMAGE_INDEX, IMAGE_MANIFEST } from '#ferry/oci/media-types.js';
import { isReferrersTag } from '#ferry/oci/referrers.js';
import type { Repository } from '#ferry/oci/storage.js';
import {
  CONFIG,
  contentOf,
  indexOf,
  pushArtifact,
  pushContent,
  pushNew,
  tagsOf,
  type Artifact,
  type Content,
} from './artifacts.js';
import type { Subject } from './subject.js';

export const SIGNATURE = 'application/vnd.example.signature.v1';

/** A manifest that names `subject`, of that type if one is given, else of that of its config. */
export function referrerOf(subject: Descriptor, text: string, artifactType?: string): Artifact {
  const config = contentOf('{}', CONFIG);
  const layer = contentOf(text);
  const manifest = contentOf(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: IMAGE_MANIFEST,
      ...(artifactType === undefined ? {} : { artifactType }),
      config: config.descriptor,
      layers: [layer.descriptor],
      subject,
      annotations: { 'org.example.text': text },
    }),
    IMAGE_MANIFEST,
  );
  return { blobs: [config, layer], manifest };
}

/** The entry that a list of referrers has of it. */
export function entryOf(referrer: Artifact, text: string, artifactType = CONFIG): Descriptor {
  return { ...referrer.manifest.descriptor, artifactType, annotations: { 'org.example.text': text } };
}

export async function referrersOf(
  repository: Repository,
  subject: Descriptor,
  artifactType?: string,
): Promise<Descriptor[]> {
  const found: Descriptor[] = [];
  for await (const referrer of repository.referrers?.(subject, { artifactType }) ?? []) found.push(referrer);
  return found.sort((a, b) => (a.digest < b.digest ? -1 : 1));
}

function sorted(...descriptors: Descriptor[]): Descriptor[] {
  return descriptors.sort((a, b) => (a.digest < b.digest ? -1 : 1));
}

/** Tags that people gave, without those under which a registry's referrers are kept. */
async function ownTagsOf(repository: Repository): Promise<string[]> {
  return (await tagsOf(repository)).filter((tag) => !isReferrersTag(tag));
}

/** Referrers, and removing single tags. */
export function describeReferrers(subject: Subject): void {
  describe('referrers', () => {
    test('are listed with artifactType and annotations', async () => {
      const repository = subject.newRepository();
      if (repository.referrers === undefined) return;
      const { manifest } = await pushNew(repository, 'a subject', ['1.0']);
      expect(await referrersOf(repository, manifest.descriptor)).toEqual([]);
      const signature = referrerOf(manifest.descriptor, 'signed', SIGNATURE);
      const other = referrerOf(manifest.descriptor, 'other');
      await pushArtifact(repository, signature);
      await pushArtifact(repository, other, ['other']);
      expect(await referrersOf(repository, manifest.descriptor)).toEqual(
        sorted(entryOf(signature, 'signed', SIGNATURE), entryOf(other, 'other')),
      );
      expect(await ownTagsOf(repository)).toEqual(['1.0', 'other']);
    });

    test('are filtered by type', async () => {
      const repository = subject.newRepository();
      if (repository.referrers === undefined) return;
      const { manifest } = await pushNew(repository, 'a subject', []);
      const signature = referrerOf(manifest.descriptor, 'signed', SIGNATURE);
      const other = referrerOf(manifest.descriptor, 'other');
      await pushArtifact(repository, signature);
      await pushArtifact(repository, other);
      const { descriptor } = manifest;
      expect(await referrersOf(repository, descriptor, SIGNATURE)).toEqual([
        entryOf(signature, 'signed', SIGNATURE),
      ]);
      expect(await referrersOf(repository, descriptor, CONFIG)).toEqual([entryOf(other, 'other')]);
      expect(await referrersOf(repository, descriptor, 'text/none')).toEqual([]);
    });

    test('may refer to what is not there, and an index may refer too', async () => {
      const repository = subject.newRepository();
      if (repository.referrers === undefined) return;
      const absent = contentOf('never pushed', IMAGE_MANIFEST).descriptor;
      const child = await pushNew(repository, 'a child', []);
      const document: object = {
        ...(JSON.parse(Buffer.from(indexOf(child.manifest).bytes).toString()) as object),
        subject: absent,
      };
      const index = contentOf(JSON.stringify({ ...document, artifactType: SIGNATURE }), IMAGE_INDEX);
      await pushContent(repository, index);
      expect(await referrersOf(repository, absent)).toEqual([
        { ...index.descriptor, artifactType: SIGNATURE },
      ]);
      expect(await referrersOf(repository, child.manifest.descriptor)).toEqual([]);
    });

    test('are listed once, however often they are pushed and tagged', async () => {
      const repository = subject.newRepository();
      if (repository.referrers === undefined) return;
      const { manifest } = await pushNew(repository, 'a subject', []);
      const signature = referrerOf(manifest.descriptor, 'signed', SIGNATURE);
      await pushArtifact(repository, signature, ['a', 'b']);
      await pushArtifact(repository, signature);
      await repository.tag(signature.manifest.descriptor, 'c');
      expect(await referrersOf(repository, manifest.descriptor)).toHaveLength(1);
    });

    test('are all listed if they are pushed at once, or one after the other', async () => {
      const repository = subject.newRepository();
      if (repository.referrers === undefined) return;
      const { manifest } = await pushNew(repository, 'a subject', []);
      const texts = Array.from({ length: 12 }, (_, i) => `referrer ${i}`);
      const all = texts.map((text) => referrerOf(manifest.descriptor, text, SIGNATURE));
      if (subject.capabilities.takesReferrersAtOnce === false) {
        for (const referrer of all) await pushArtifact(repository, referrer);
      } else await Promise.all(all.map((referrer) => pushArtifact(repository, referrer)));
      expect(await referrersOf(repository, manifest.descriptor)).toEqual(
        sorted(...all.map((referrer, i) => entryOf(referrer, texts[i] ?? '', SIGNATURE))),
      );
    });

    test('are no longer listed when they are deleted', async () => {
      const repository = subject.newRepository();
      if (repository.referrers === undefined || repository.delete === undefined) return;
      const { manifest } = await pushNew(repository, 'a subject', []);
      const [one, two] = [referrerOf(manifest.descriptor, 'one'), referrerOf(manifest.descriptor, 'two')];
      await pushArtifact(repository, one);
      await pushArtifact(repository, two);
      await repository.delete(one.manifest.descriptor);
      expect(await referrersOf(repository, manifest.descriptor)).toEqual([entryOf(two, 'two')]);
      await repository.delete(two.manifest.descriptor);
      expect(await referrersOf(repository, manifest.descriptor)).toEqual([]);
      await pushArtifact(repository, one);
      expect(await referrersOf(repository, manifest.descriptor)).toEqual([entryOf(one, 'one')]);
    });
  });

  describe('untag', () => {
    test('removes a tag and leaves what it named, or says that it cannot', async () => {
      const repository = subject.newRepository();
      if (repository.untag === undefined) return;
      const { manifest } = await pushNew(repository, 'with two tags', ['a', 'b']);
      if (subject.capabilities.untags === false) {
        await expect(repository.untag('a')).rejects.toMatchObject({ code: 'UNSUPPORTED' });
        expect(await tagsOf(repository)).toEqual(['a', 'b']);
        return;
      }
      await repository.untag('a');
      expect(await tagsOf(repository)).toEqual(['b']);
      await repository.untag('a');
      await repository.untag('b');
      expect(await tagsOf(repository)).toEqual([]);
      expect(await repository.exists(manifest.descriptor)).toBe(true);
      await repository.tag(manifest.descriptor, 'c');
      expect(await tagsOf(repository)).toEqual(['c']);
    });

    test.each(['', 'a/b', `sha256:${'0'.repeat(64)}`])('refuses %j', async (bad) => {
      const repository = subject.newRepository();
      if (repository.untag === undefined) return;
      await pushNew(repository, 'tagged well', ['good']);
      await expect(repository.untag(bad)).rejects.toMatchObject({ code: 'REFERENCE_INVALID' });
    });
  });

  describe('deleteTags', () => {
    test('deletes what only these tags name, and never what another one shares', async () => {
      const repository = subject.newRepository();
      if (repository.delete === undefined) return;
      const doomed = await pushNew(repository, 'doomed', ['old', 'older']);
      const shared = await pushNew(repository, 'shared', ['1.0', 'latest']);
      const result = await deleteTags(repository, ['old', 'older', '1.0', 'absent']);
      expect(result.deleted.map(({ descriptor, tags }) => [descriptor.digest, [...tags].sort()])).toEqual([
        [doomed.manifest.descriptor.digest, ['old', 'older']],
      ]);
      expect(await repository.exists(doomed.manifest.descriptor)).toBe(false);
      expect(await repository.exists(shared.manifest.descriptor)).toBe(true);
      if (subject.capabilities.untags === false) {
        expect(result).toMatchObject({ untagged: [], kept: [{ tag: '1.0', reason: 'shared' }] });
        expect(await tagsOf(repository)).toEqual(['1.0', 'latest']);
      } else {
        expect(result).toMatchObject({ untagged: ['1.0'], kept: [] });
        expect(await tagsOf(repository)).toEqual(['latest']);
      }
    });

    test('leaves what a staying index lists or a staying manifest refers to', async () => {
      const repository = subject.newRepository();
      if (repository.delete === undefined) return;
      const child = await pushNew(repository, 'a child', ['child']);
      const inner: Content = indexOf(child.manifest);
      await pushContent(repository, inner);
      // Not `index`: distribution 3 lists no tag of that name, since a folder of its own is called so.
      await pushContent(repository, indexOf(inner), ['bundle']);
      const signed = await pushNew(repository, 'signed', ['signed']);
      await pushArtifact(repository, referrerOf(signed.manifest.descriptor, 'signature'), ['signature']);
      const result = await deleteTags(repository, ['child', 'signed']);
      expect(result.deleted).toEqual([]);
      expect([...result.untagged, ...result.kept.map(({ tag }) => tag)].sort()).toEqual(['child', 'signed']);
      for (const { reason } of result.kept) expect(reason).toBe('needed');
      for (const { manifest } of [child, signed])
        expect(await repository.exists(manifest.descriptor)).toBe(true);
    });

    test('deletes a referrer, which the list of referrers does not hold', async () => {
      const repository = subject.newRepository();
      if (repository.delete === undefined || repository.referrers === undefined) return;
      const { manifest } = await pushNew(repository, 'a subject', ['subject']);
      await pushArtifact(repository, referrerOf(manifest.descriptor, 'signature'), ['signature']);
      const result = await deleteTags(repository, ['signature']);
      expect(result.deleted).toHaveLength(1);
      expect(await referrersOf(repository, manifest.descriptor)).toEqual([]);
      expect(await ownTagsOf(repository)).toEqual(['subject']);
    });
  });
}

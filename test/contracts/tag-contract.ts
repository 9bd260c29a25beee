import { openerOf } from '#ferry/io/bytes.js';
import { describe, expect, test } from 'vitest';
import { artifactOf, contentOf, essence, pushArtifact, pushContent, pushNew, tagsOf } from './artifacts.js';
import type { Subject } from './subject.js';

/** Tags, names and deletion. */
export function describeTags(subject: Subject): void {
  describe('tags', () => {
    test('lists all tags', async () => {
      const repository = subject.newRepository();
      await pushArtifact(repository, artifactOf('one'), ['1.0-0', '1.0-1']);
      await pushArtifact(repository, artifactOf('two'), ['_2', 'A.b-C_d']);
      expect(await tagsOf(repository)).toEqual(['1.0-0', '1.0-1', '_2', 'A.b-C_d'].sort());
    });

    test('a tag moves, and what it named stays by digest', async () => {
      const repository = subject.newRepository();
      const old = artifactOf('old');
      const fresh = artifactOf('new');
      await pushArtifact(repository, old, ['latest']);
      await pushArtifact(repository, fresh, ['latest']);
      expect(essence(await repository.resolve('latest'))).toEqual(fresh.manifest.descriptor);
      expect(await tagsOf(repository)).toEqual(['latest']);
      const kept = await repository.fetchManifest(old.manifest.descriptor.digest);
      expect(Buffer.from(kept?.bytes ?? []).equals(old.manifest.bytes)).toBe(true);
      await repository.tag(old.manifest.descriptor, 'latest');
      expect(essence(await repository.resolve('latest'))).toEqual(old.manifest.descriptor);
    });

    test('two tags may share a digest', async () => {
      const repository = subject.newRepository();
      const { manifest } = await pushNew(repository, 'shared', ['first']);
      await repository.tag(manifest.descriptor, 'second');
      expect(await tagsOf(repository)).toEqual(['first', 'second']);
      for (const tag of ['first', 'second']) {
        expect(essence(await repository.resolve(tag))).toEqual(manifest.descriptor);
      }
      await pushArtifact(repository, artifactOf('another'), ['first']);
      expect(essence(await repository.resolve('second'))).toEqual(manifest.descriptor);
    });

    test('what a tag named may be told along, whether it is the first content or the next', async () => {
      const repository = subject.newRepository();
      const [first, second, third] = [artifactOf('first'), artifactOf('second'), artifactOf('third')];
      for (const artifact of [first, second, third]) await pushArtifact(repository, artifact);
      const digestOf = ({ manifest }: typeof first) => manifest.descriptor.digest;
      await repository.tag(first.manifest.descriptor, 'latest', { replaces: 'nothing' });
      expect(await repository.resolve('latest')).toMatchObject({ digest: digestOf(first) });
      await repository.push(second.manifest.descriptor, openerOf(second.manifest.bytes), {
        tags: ['latest'],
        replaces: digestOf(first),
      });
      expect(await repository.resolve('latest')).toMatchObject({ digest: digestOf(second) });
      // No condition on the write: no registry has one.
      await repository.tag(third.manifest.descriptor, 'latest', { replaces: digestOf(first) });
      expect(await repository.resolve('latest')).toMatchObject({ digest: digestOf(third) });
    });

    test('only what is there can be tagged', async () => {
      const repository = subject.newRepository();
      const { manifest } = artifactOf('never pushed');
      await expect(repository.tag(manifest.descriptor, 'latest')).rejects.toMatchObject({
        code: 'NOT_FOUND',
      });
      expect(await repository.resolve('latest')).toBeUndefined();
    });

    test('the same push again changes nothing', async () => {
      const repository = subject.newRepository();
      const artifact = artifactOf('again');
      await pushArtifact(repository, artifact, ['1.0-0']);
      await pushArtifact(repository, artifact, ['1.0-0']);
      expect(await tagsOf(repository)).toEqual(['1.0-0']);
      expect(essence(await repository.resolve('1.0-0'))).toEqual(artifact.manifest.descriptor);
    });

    test('many may push different artifacts at once', async () => {
      const repository = subject.newRepository();
      const artifacts = Array.from({ length: 20 }, (_, i) => artifactOf('common', `layer ${String(i)}`));
      await Promise.all(
        artifacts.map((artifact, i) => pushArtifact(repository, artifact, [`tag-${String(i)}`])),
      );
      expect(await tagsOf(repository)).toEqual(artifacts.map((_, i) => `tag-${String(i)}`).sort());
      for (const [i, artifact] of artifacts.entries()) {
        expect(essence(await repository.resolve(`tag-${String(i)}`))).toEqual(artifact.manifest.descriptor);
      }
    });

    test('many may push the same artifact at once', async () => {
      const repository = subject.newRepository();
      const artifact = artifactOf('popular');
      await Promise.all(Array.from({ length: 8 }, () => pushArtifact(repository, artifact, ['latest'])));
      expect(await tagsOf(repository)).toEqual(['latest']);
    });
  });

  describe('names', () => {
    test.each([
      '',
      'Upper',
      '../up',
      'a//b',
      '/a',
      'a/',
      'a/../b',
      '.a',
      '_a',
      'a b',
      'a:b',
      'a'.repeat(256),
    ])('refuses repository name %j', (bad) => {
      expect(() => subject.registry.repository(bad)).toThrow(
        expect.objectContaining({ code: 'REFERENCE_INVALID' }),
      );
    });

    test.each(['', '-a', '.a', 'a b', 'a/b', '../a', 'a:b', 'ü', 'a'.repeat(129)])(
      'refuses tag %j',
      async (bad) => {
        const repository = subject.newRepository();
        const { manifest } = await pushNew(repository, 'tagged badly', ['good']);
        await expect(repository.tag(manifest.descriptor, bad)).rejects.toMatchObject({
          code: 'REFERENCE_INVALID',
        });
        await expect(pushContent(repository, manifest, [bad])).rejects.toMatchObject({
          code: 'REFERENCE_INVALID',
        });
        expect(await tagsOf(repository)).toEqual(['good']);
      },
    );

    test('the same name is the same repository', () => {
      const name = subject.newName();
      expect(subject.registry.repository(name)).toBe(subject.registry.repository(name));
      expect(subject.registry.repository(name).name).toBe(name);
    });

    test('repositories are apart, and listed where the store can list', async () => {
      const [one, other] = [subject.newRepository(), subject.newRepository()];
      const { manifest } = await pushNew(one, 'only here', ['latest']);
      expect(await other.resolve('latest')).toBeUndefined();
      expect(await other.resolve(manifest.descriptor.digest)).toBeUndefined();
      const names = await subject.registry.repositories();
      if (names === undefined) return;
      expect(names).toContain(one.name);
      expect(names).not.toContain(other.name);
    });
  });

  describe('delete', () => {
    test('removes a manifest with all its tags, and nothing else', async () => {
      const repository = subject.newRepository();
      if (repository.delete === undefined) return;
      const doomed = await pushNew(repository, 'doomed', ['a', 'b']);
      const kept = await pushNew(repository, 'kept', ['c']);
      await repository.delete(doomed.manifest.descriptor);
      expect(await repository.resolve('a')).toBeUndefined();
      expect(await repository.resolve(doomed.manifest.descriptor.digest)).toBeUndefined();
      expect(await repository.exists(doomed.manifest.descriptor)).toBe(false);
      expect(await tagsOf(repository)).toEqual(['c']);
      expect(essence(await repository.resolve('c'))).toEqual(kept.manifest.descriptor);
      await pushArtifact(repository, doomed, ['a']);
      expect(await tagsOf(repository)).toEqual(['a', 'c']);
    });

    test('removes a blob', async () => {
      const repository = subject.newRepository();
      if (repository.delete === undefined) return;
      const [blob, other] = [contentOf('a blob'), contentOf('another')];
      await pushContent(repository, blob);
      await pushContent(repository, other);
      await repository.delete(blob.descriptor);
      expect(await repository.exists(blob.descriptor)).toBe(false);
      expect(await repository.exists(other.descriptor)).toBe(true);
    });

    test('takes absent content for deleted', async () => {
      const repository = subject.newRepository();
      if (repository.delete === undefined) return;
      await repository.delete(contentOf('absent').descriptor);
      await pushNew(repository, 'present', ['latest']);
      await repository.delete(contentOf('absent').descriptor);
      await repository.delete(artifactOf('absent').manifest.descriptor);
      expect(await tagsOf(repository)).toEqual(['latest']);
    });
  });
}

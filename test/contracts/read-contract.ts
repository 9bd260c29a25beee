import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Registry, Repository } from '#ferry/oci/storage.js';
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
} from './artifacts.js';

/** What the suite of readers is run on. */
export interface ReadSubject {
  /** Reads only. */
  readonly registry: Registry;
  /** Where its content comes from. */
  readonly upstream: Registry;
  readonly capabilities: ReadCapabilities;
}

/** What a registry that is only read can do beyond what every one must. */
export interface ReadCapabilities {
  /** Says of a manifest's digest that there is none; distribution in front of another registry answers 500. @defaultValue true */
  readonly tellsMissingDigests?: boolean;
  /** Put before the name of every repository, such as `org/`. */
  readonly namePrefix?: string;
}

const large = contentOf(randomBytes(3 * 1024 * 1024));
const first = artifactOf('0123456789', 'in both');
const second = artifactOf('other', 'in both');
const index = indexOf(first.manifest, second.manifest);
const absent = artifactOf('never pushed');

/** Tests what a registry must do that is only read: content that got there by another way is there, whole and exact. */
export function describeReadContract(name: string, makeSubject: () => Promise<ReadSubject>): void {
  describe(`read contract: ${name}`, () => {
    let registry: Registry | undefined;
    let capabilities: ReadCapabilities = {};
    let [repository, missing]: (Repository | undefined)[] = [];
    const run = randomBytes(4).toString('hex');

    const there = (): Repository => required(repository);
    const nowhere = (): Repository => required(missing);

    beforeAll(async () => {
      const subject = await makeSubject();
      ({ registry, capabilities } = subject);
      const prefix = `${capabilities.namePrefix ?? ''}read-${run}`;
      const source = subject.upstream.repository(`${prefix}/there`);
      await pushContent(source, large);
      await pushArtifact(source, first, ['1.0-0', 'latest']);
      await pushArtifact(source, second, ['_2']);
      await pushContent(source, index, ['both']);
      repository = registry.repository(`${prefix}/there`);
      missing = registry.repository(`${prefix}/missing`);
    });
    afterAll(async () => {
      await registry?.[Symbol.asyncDispose]();
    });

    test('resolves and reads manifests by tag and by digest', async () => {
      for (const [content, tag] of [
        [first.manifest, '1.0-0'],
        [first.manifest, 'latest'],
        [second.manifest, '_2'],
        [index, 'both'],
      ] as const) {
        for (const reference of [tag, content.descriptor.digest]) {
          expect(essence(await there().resolve(reference))).toEqual(content.descriptor);
          const stored = await there().fetchManifest(reference);
          expect(essence(stored?.descriptor)).toEqual(content.descriptor);
          expect(Buffer.from(stored?.bytes ?? []).equals(content.bytes)).toBe(true);
        }
        expect((await readAll(there().fetch(content.descriptor))).equals(content.bytes)).toBe(true);
      }
    });

    // Before any test that reads a blob whole: a registry that hands on may do other things the first time.
    test('reads a blob from its middle, asked for the first time and again', async () => {
      const offset = large.bytes.byteLength - 1000;
      for (const time of ['first', 'again']) {
        const tail = await readAll(there().fetch(large.descriptor, { offset }));
        expect(tail.equals(Buffer.from(large.bytes).subarray(offset)), time).toBe(true);
      }
    });

    test.each([0, 1, 9])('reads a small blob from offset %i', async (offset) => {
      const digits = contentOf('0123456789');
      const rest = await readAll(there().fetch(digits.descriptor, { offset }));
      expect(rest.toString()).toBe('0123456789'.slice(offset));
    });

    test('reads a large blob, and several at once', async () => {
      const reads = Array.from({ length: 4 }, () => readAll(there().fetch(large.descriptor)));
      for (const bytes of await Promise.all(reads)) expect(bytes.equals(large.bytes)).toBe(true);
    });

    test('tells what is there', async () => {
      for (const { descriptor } of [large, ...first.blobs, ...second.blobs, first.manifest, index]) {
        expect(await there().exists(descriptor)).toBe(true);
      }
    });

    test('lists all tags', async () => {
      expect(await tagsOf(there())).toEqual(['1.0-0', '_2', 'both', 'latest']);
    });

    test('what is missing is missing: tag, blob, repository', async () => {
      const { descriptor: blob } = contentOf('never pushed');
      for (const place of [there(), nowhere()]) {
        expect(await place.resolve('no-such-tag')).toBeUndefined();
        expect(await place.fetchManifest('no-such-tag')).toBeUndefined();
        expect(await place.exists(blob)).toBe(false);
        await expect(readAll(place.fetch(blob))).rejects.toMatchObject({ code: 'NOT_FOUND' });
      }
      expect(await tagsOf(nowhere())).toEqual([]);
    });

    test('a manifest that is missing by its digest is missing, or nothing is said of it', async () => {
      const { descriptor } = absent.manifest;
      for (const place of [there(), nowhere()]) {
        if (capabilities.tellsMissingDigests === false) {
          // An answer that means "not now" must not be taken for absence.
          for (const asking of [
            () => place.resolve(descriptor.digest),
            () => place.fetchManifest(descriptor.digest),
            () => place.exists(descriptor),
            () => readAll(place.fetch(descriptor)),
          ]) {
            expect(await rejection(asking())).toMatchObject({ code: 'REGISTRY_REFUSED', status: 500 });
          }
          continue;
        }
        expect(await place.resolve(descriptor.digest)).toBeUndefined();
        expect(await place.fetchManifest(descriptor.digest)).toBeUndefined();
        expect(await place.exists(descriptor)).toBe(false);
        await expect(readAll(place.fetch(descriptor))).rejects.toMatchObject({ code: 'NOT_FOUND' });
      }
    });

    test('refuses writing with a code that says why', async () => {
      const refusals = [
        () => pushContent(there(), contentOf('new')),
        () => pushContent(there(), first.manifest, ['new-tag']),
        () => there().tag(first.manifest.descriptor, 'new-tag'),
        async () => there().delete?.(first.manifest.descriptor),
      ];
      for (const refused of refusals) {
        expect(await rejection(refused())).toMatchObject({ code: 'UNSUPPORTED' });
      }
      expect(await tagsOf(there())).toEqual(['1.0-0', '_2', 'both', 'latest']);
      expect(await there().exists(first.manifest.descriptor)).toBe(true);
    });

    test('a fetch is given up with the reason given', async () => {
      const reason = new Error('no more');
      const reading = readAll(there().fetch(large.descriptor, { signal: AbortSignal.abort(reason) }));
      await expect(reading).rejects.toBe(reason);
    });
  });
}

function required(repository: Repository | undefined): Repository {
  if (repository === undefined) throw new Error('the registry is not there yet');
  return repository;
}

/** Documents and locations of servers, whatever they hold: read, or refused by code, and nothing else. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isFerryError } from '#ferry/errors.js';
import type { HttpResponse, Send } from '#ferry/http/send.js';
import { resolveServerUrl } from '#ferry/http/server-url.js';
import { openerOf } from '#ferry/io/bytes.js';
import { describe as describeBytes } from '#ferry/oci/descriptor.js';
import { parseImageIndex, parseImageManifest } from '#ferry/oci/manifest.js';
import { IMAGE_MANIFEST } from '#ferry/oci/media-types.js';
import { isTag } from '#ferry/oci/reference.js';
import { RegistryClient } from '#ferry/registry/registry-client.js';
import { withDigest } from '#ferry/registry/upload-session.js';
import { artifactOf } from '../contracts/artifacts.js';

const VALID = JSON.parse(artifactOf('a', 'b').manifest.bytes.toString()) as Record<string, unknown>;

/** JSON of any kind, and manifests in which one thing is something else. */
const documentText = fc.oneof(
  fc.json(),
  fc
    .tuple(fc.constantFrom(...Object.keys(VALID), 'manifests', 'subject', 'annotations'), fc.jsonValue())
    .map(([key, value]) => JSON.stringify({ ...VALID, [key]: value })),
  fc.string(),
);

function answering(body: string, headers: Record<string, string> = {}): Send {
  const bytes = Buffer.from(body);
  return ({ url }) =>
    Promise.resolve({
      status: 200,
      url,
      body: openerOf(bytes)(),
      header: (name) => headers[name],
      discard: () => Promise.resolve(),
    } satisfies HttpResponse);
}

/** What a promise comes to; only errors of ours are let pass. */
async function outcomeOf<T>(promise: Promise<T>): Promise<T | 'refused'> {
  try {
    return await promise;
  } catch (error) {
    if (!isFerryError(error) || error.code === 'INTERNAL') throw error;
    return 'refused';
  }
}

describe('documents', () => {
  test('a manifest or index is read or MANIFEST_INVALID, whatever it is', () => {
    fc.assert(
      fc.property(documentText, (text) => {
        for (const parse of [parseImageManifest, parseImageIndex]) {
          try {
            expect(parse(Buffer.from(text))).toBeTypeOf('object');
          } catch (error) {
            expect(error).toMatchObject({ code: 'MANIFEST_INVALID' });
          }
        }
      }),
      { numRuns: 500 },
    );
  });

  test('what a registry gives for a manifest is that manifest or refused', async () => {
    await fc.assert(
      fc.asyncProperty(documentText, async (text) => {
        const send = answering(text, { 'content-type': IMAGE_MANIFEST });
        const repository = new RegistryClient({ host: 'registry.test', send }).repository('a/b');
        const found = await outcomeOf(repository.fetchManifest('latest'));
        if (found === 'refused') return;
        expect(found?.descriptor).toEqual(describeBytes(IMAGE_MANIFEST, Buffer.from(text)));
      }),
      { numRuns: 200 },
    );
  });

  test('what a registry gives for tags are tags, each once, or refused', async () => {
    const page = fc.oneof(
      documentText,
      fc.record({ name: fc.string(), tags: fc.array(fc.string()) }).map((value) => JSON.stringify(value)),
    );
    await fc.assert(
      fc.asyncProperty(page, async (text) => {
        const repository = new RegistryClient({ host: 'registry.test', send: answering(text) }).repository(
          'a/b',
        );
        const all = async (): Promise<string[]> => {
          const tags: string[] = [];
          for await (const tag of repository.tags()) tags.push(tag);
          return tags;
        };
        const tags = await outcomeOf(all());
        if (tags === 'refused') return;
        expect(tags.every(isTag)).toBe(true);
        expect(new Set(tags).size).toBe(tags.length);
      }),
      { numRuns: 200 },
    );
  });
});

describe('locations', () => {
  const { descriptor } = artifactOf('blob').manifest;

  test('the digest joins a location without a change to what the server wrote', () => {
    const query = fc.stringMatching(/^[A-Za-z0-9_.~%=&+/-]{0,40}$/);
    fc.assert(
      fc.property(query, fc.boolean(), (text, hasMark) => {
        const written = `https://registry.test/v2/a/b/blobs/uploads/1${hasMark ? `?${text}` : ''}`;
        const { href } = withDigest(new URL(written), descriptor);
        expect(href.startsWith(written)).toBe(true);
        expect(href.slice(written.length)).toMatch(/^[?&]?digest=sha256%3A[0-9a-f]{64}$/);
        expect(new URL(href).searchParams.getAll('digest').at(-1)).toBe(descriptor.digest);
      }),
      { numRuns: 500 },
    );
  });

  test('whatever a server names is a safe URL or REGISTRY_REFUSED', () => {
    const base = new URL('https://registry.test/v2/a/b/blobs/uploads/');
    const location = fc.oneof(
      fc.string(),
      fc.webUrl({ withQueryParameters: true }),
      fc
        .tuple(
          fc.constantFrom('http://', 'https://', '//', 'file:///', 'javascript:', 'https://u:p@'),
          fc.string(),
        )
        .map(([scheme, rest]) => scheme + rest),
    );
    fc.assert(
      fc.property(location, (text) => {
        try {
          const url = resolveServerUrl(text, base);
          expect(url.protocol).toBe('https:');
          expect(url.username + url.password).toBe('');
        } catch (error) {
          expect(error).toMatchObject({ code: 'REGISTRY_REFUSED' });
        }
      }),
      { numRuns: 1000 },
    );
  });
});

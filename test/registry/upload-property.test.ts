import fc from 'fast-check';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { openHttpClient } from '#ferry/http/client.js';
import { RegistryClient } from '#ferry/registry/registry-client.js';
import type { UploadManners } from '#ferry/registry/upload-session.js';
import { contentOf, inChunks, type Content } from '../contracts/artifacts.js';
import {
  startUploadRegistry,
  type UploadBehaviour,
  type UploadFault,
  type UploadRegistry,
} from '../support/upload-registry.js';

let server: UploadRegistry;
beforeAll(async () => {
  server = await startUploadRegistry();
});
afterAll(() => server[Symbol.asyncDispose]());

/** Pushes with a client that knows nothing yet; pauses are not waited for. */
async function push(content: Content, uploads: Partial<UploadManners>): Promise<void> {
  let nowMs = 0;
  const clock = {
    now: () => nowMs,
    sleep: (ms: number) => {
      nowMs += ms;
      return Promise.resolve();
    },
    random: () => 0.5,
  };
  await using client = openHttpClient({ userAgent: 'ferry-test/1', ...clock });
  const registry = new RegistryClient({ host: server.host, send: client.send, uploads, ...clock });
  await registry.repository('a/b').push(content.descriptor, inChunks(content.bytes));
}

const FAULTS: UploadFault[] = [
  'reset',
  'reset-after',
  'half-reset',
  '503',
  '500-after',
  '404-gone',
  '416',
  '429',
];
const faults = fc
  .array(fc.tuple(fc.nat(12), fc.constantFrom(...FAULTS)), { maxLength: 4 })
  .map((list) => new Map(list));
const contents = fc.nat(2000).map((size) => {
  const bytes = Buffer.from(Array.from({ length: size }, (_, at) => (at * 31 + (at >> 8)) & 255));
  return contentOf(bytes);
});
/** Sizes of chunks that make at most some thirty of them. */
const divisors = fc.integer({ min: 1, max: 30 });

function chunkOf(content: Content, divisor: number): number {
  return Math.max(1, Math.ceil(content.descriptor.size / divisor));
}

test('whatever fails, wherever: the right bytes are there in the end, and no wrong ones went', async () => {
  const behaviours = fc.record({
    faults,
    singlePost: fc.constantFrom(201 as const, 202 as const, 405 as const),
    staleLocations: fc.boolean(),
    frozenRange: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(contents, divisors, fc.boolean(), behaviours, async (content, n, known, behaviour) => {
      server.reset(behaviour);
      await push(content, {
        singlePost: known ? 'no' : 'unknown',
        ...(n === 1 ? {} : { maxBodyBytes: chunkOf(content, n) }),
      });
      expect(server.blobs.get(content.descriptor.digest)?.equals(content.bytes)).toBe(true);
      expect(server.wrong).toEqual([]);
    }),
    { numRuns: 150 },
  );
}, 120_000);

test('even where a session lies about how far it came, nothing wrong is taken for done', async () => {
  const behaviours = fc.record({
    faults,
    lie: fc.integer({ min: -40, max: 40 }),
    ignoresContentRange: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(contents, divisors, behaviours, async (content, n, behaviour) => {
      server.reset(behaviour);
      await push(content, { singlePost: 'no', maxBodyBytes: chunkOf(content, n) });
      expect(server.blobs.get(content.descriptor.digest)?.equals(content.bytes)).toBe(true);
    }),
    { numRuns: 100 },
  );
}, 120_000);

test('without failures, chunks have exactly the borders that the limits say', async () => {
  const limits = fc.record({
    max: fc.integer({ min: 1, max: 300 }),
    min: fc.option(fc.nat(300), { nil: undefined }),
  });
  const sizes = fc.nat(2000);
  await fc.assert(
    fc.asyncProperty(sizes, limits, async (size, { max, min }) => {
      const minChunkBytes = Math.max(min ?? 0, Math.ceil(size / 40));
      const behaviour: UploadBehaviour = { minChunkBytes };
      server.reset(behaviour);
      const content = contentOf(Buffer.alloc(size, 'x'));
      await push(content, { singlePost: 'no', maxBodyBytes: max });
      const chunkBytes = Math.max(max, minChunkBytes);
      const ranges: string[] = [];
      for (let at = 0; at < size; at += chunkBytes) {
        ranges.push(`PATCH ${String(at)}-${String(Math.min(size, at + chunkBytes) - 1)}`);
      }
      expect(server.requests).toEqual(['POST', ...(size > max ? ranges : []), 'PUT']);
    }),
    { numRuns: 60 },
  );
}, 120_000);

test('a body too large is refused before it is read: chunks, then smaller ones, and from the start next time', async () => {
  const MIB = 1024 * 1024;
  server.reset({ maxBodyBytes: MIB });
  let nowMs = 0;
  const clock = {
    now: () => nowMs,
    sleep: (ms: number) => {
      nowMs += ms;
      return Promise.resolve();
    },
    random: () => 0.5,
  };
  const client = openHttpClient({ userAgent: 'ferry-test/1', ...clock });
  onTestFinished(() => client[Symbol.asyncDispose]());
  const registry = new RegistryClient({
    host: server.host,
    send: client.send,
    uploads: { singlePost: 'no' },
    ...clock,
  });
  const repository = registry.repository('a/b');
  const first = contentOf(Buffer.alloc(9 * MIB + 5, 'first'));
  await repository.push(first.descriptor, inChunks(first.bytes));
  expect(server.blobs.get(first.descriptor.digest)?.equals(first.bytes)).toBe(true);
  const before = server.requests.length;
  const second = contentOf(Buffer.alloc(2 * MIB + 5, 'second'));
  await repository.push(second.descriptor, inChunks(second.bytes));
  expect(server.blobs.get(second.descriptor.digest)?.equals(second.bytes)).toBe(true);
  const chunks = server.requests.slice(before);
  expect(chunks).toHaveLength(5);
  expect(chunks[1]).toBe(`PATCH 0-${String(MIB - 1)}`);
});

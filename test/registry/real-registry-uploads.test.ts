import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { TransportError } from '#ferry/errors.js';
import { openHttpClient } from '#ferry/http/client.js';
import type { HttpRequest, HttpResponse, Send } from '#ferry/http/send.js';
import { openerOf, type OpenBytes } from '#ferry/io/bytes.js';
import { RegistryClient } from '#ferry/registry/registry-client.js';
import type { RepositoryClient } from '#ferry/registry/repository-client.js';
import type { UploadManners } from '#ferry/registry/upload-session.js';
import { contentOf, inChunks, readAll, rejection, type Content } from '../contracts/artifacts.js';
import { startRegistry, type TestRegistry } from '../support/docker-registry.js';

const MIB = 1024 * 1024;

let counter = 0;

interface Setting {
  readonly registry: RegistryClient;
  readonly repository: RepositoryClient;
  readonly requests: HttpRequest[];
  /** Methods of the requests so far. */
  methods(): string[];
}

describe.each([
  ['in memory', false],
  ['on disk', true],
])('docker-registry 2.8 %s', (_, onDisk) => {
  let server: TestRegistry;
  beforeAll(async () => {
    server = await startRegistry({ onDisk });
  });
  afterAll(() => server[Symbol.asyncDispose]());

  /** A client of its own and a repository that is new; `fault` may lose the answer to a request that was done. */
  function open(
    uploads: Partial<UploadManners> = {},
    fault: (request: HttpRequest, nth: number) => boolean = () => false,
  ): Setting {
    const requests: HttpRequest[] = [];
    const client = openHttpClient({ userAgent: 'ferry-test/1' });
    onTestFinished(() => client[Symbol.asyncDispose]());
    const send: Send = async (request): Promise<HttpResponse> => {
      requests.push(request);
      const nth = requests.filter(({ method }) => method === request.method).length;
      const response = await client.send(request);
      if (!fault(request, nth)) return response;
      await response.discard();
      const { method, url } = request;
      throw new TransportError('NETWORK', 'lost', { method, url: url.href, attempts: 1 });
    };
    const sleep = (): Promise<void> => Promise.resolve();
    const registry = new RegistryClient({ host: server.host, send, uploads, sleep });
    const repository = registry.repository(`${server.prefix}/r${String((counter += 1))}`);
    return { registry, repository, requests, methods: () => requests.map(({ method }) => method) };
  }

  async function expectStored({ repository }: Setting, content: Content): Promise<void> {
    expect(await repository.exists(content.descriptor)).toBe(true);
    expect((await readAll(repository.fetch(content.descriptor))).equals(content.bytes)).toBe(true);
  }

  const random = (size: number): Content => contentOf(randomBytes(size));

  test('a tiny blob is not taken with the first request, and its session goes on', async () => {
    const setting = open();
    const [first, second] = [random(100), random(100)];
    await setting.repository.push(first.descriptor, openerOf(first.bytes));
    expect(setting.methods()).toEqual(['POST', 'PUT']);
    expect(setting.requests[0]?.url.search).toContain('digest=');
    await setting.repository.push(second.descriptor, openerOf(second.bytes));
    expect(setting.requests[2]?.url.search).toBe('');
    await expectStored(setting, first);
    await expectStored(setting, second);
  });

  test('in one body', async () => {
    const setting = open();
    const content = random(3 * MIB + 1);
    await setting.repository.push(content.descriptor, inChunks(content.bytes));
    expect(setting.methods()).toEqual(['POST', 'PUT']);
    await expectStored(setting, content);
  });

  test('nothing at all', async () => {
    const setting = open({ maxBodyBytes: 1 });
    const content = contentOf('');
    await setting.repository.push(content.descriptor, openerOf(content.bytes));
    await expectStored(setting, content);
  });

  test.each([
    [MIB, 3 * MIB + 1, 4],
    [MIB, 3 * MIB, 3],
    [1000, 4001, 5],
  ])('in chunks of %i bytes', async (maxBodyBytes, size, chunks) => {
    const setting = open({ maxBodyBytes });
    const content = random(size);
    await setting.repository.push(content.descriptor, inChunks(content.bytes));
    expect(setting.methods()).toEqual(['POST', ...Array<string>(chunks).fill('PATCH'), 'PUT']);
    await expectStored(setting, content);
  });

  test.each([1, 2, 3])('in chunks where the answer to chunk %i is lost', async (lost) => {
    const setting = open({ maxBodyBytes: 1000 }, ({ method }, nth) => method === 'PATCH' && nth === lost);
    const content = random(2500);
    await setting.repository.push(content.descriptor, inChunks(content.bytes));
    await expectStored(setting, content);
  });

  test.each([{}, { maxBodyBytes: 1000 }])(
    'where the answer to the PUT is lost, it is there and not sent again (%j)',
    async (uploads) => {
      const setting = open(uploads, ({ method }, nth) => method === 'PUT' && nth === 1);
      const content = random(5000);
      const opened = vi.fn<OpenBytes>(inChunks(content.bytes));
      await setting.repository.push(content.descriptor, opened);
      expect(setting.methods().slice(-2)).toEqual(['PUT', 'HEAD']);
      expect(opened).toHaveBeenCalledTimes(1);
      await expectStored(setting, content);
    },
  );

  test('a blob of another repository is mounted (201), one that is nowhere is sent (202)', async () => {
    const setting = open();
    const { registry, repository } = setting;
    const source = registry.repository(`${repository.name}/source`);
    const [there, nowhere] = [random(5000), random(5000)];
    await source.push(there.descriptor, openerOf(there.bytes));
    setting.requests.length = 0;
    await repository.push(there.descriptor, openerOf(there.bytes), { mountFrom: source.name });
    expect(setting.methods()).toEqual(['POST']);
    await expectStored(setting, there);
    setting.requests.length = 0;
    await repository.push(nowhere.descriptor, openerOf(nowhere.bytes), { mountFrom: source.name });
    expect(setting.methods()).toEqual(['POST', 'PUT']);
    await expectStored(setting, nowhere);
    const other = registry.repository(`${repository.name}/other`);
    setting.requests.length = 0;
    expect(await other.mount(there.descriptor, source.name)).toBe(true);
    expect(await other.mount(random(10).descriptor, source.name)).toBe(false);
    expect(setting.methods()).toEqual(['POST', 'POST', 'DELETE']);
  });

  test.each([{}, { maxBodyBytes: MIB }])(
    'an upload that is broken off leaves neither blob nor session (%j)',
    async (uploads) => {
      const setting = open(uploads);
      const controller = new AbortController();
      const reason = new Error('enough');
      const content = random(5 * MIB);
      // In small pieces, which are asked for only as the connection takes those before.
      const half: OpenBytes = async function* () {
        let read = 0;
        for await (const chunk of inChunks(content.bytes)()) {
          read += chunk.byteLength;
          if (read > 2 * MIB) controller.abort(reason);
          yield chunk;
        }
      };
      const pushing = setting.repository.push(content.descriptor, half, { signal: controller.signal });
      expect(await rejection(pushing)).toBe(reason);
      const last = setting.requests.at(-1);
      expect(last?.method).toBe('DELETE');
      expect(await setting.repository.exists(content.descriptor)).toBe(false);
      const status = await fetch(last?.url ?? '');
      expect(status.status).toBe(404);
    },
  );

  test.each([{}, { maxBodyBytes: 1000 }])(
    'wrong bytes are refused, and nothing is there (%j)',
    async (uploads) => {
      const setting = open(uploads);
      const content = random(5000);
      const wrong = randomBytes(5000);
      const error = await rejection(setting.repository.push(content.descriptor, openerOf(wrong)));
      expect(error).toMatchObject({ code: 'DIGEST_MISMATCH' });
      expect(setting.methods().filter((method) => method === 'PUT')).toHaveLength(1);
      expect(await setting.repository.exists(content.descriptor)).toBe(false);
    },
  );

  test('twenty at once, in chunks and not', async () => {
    const settings = [open(), open({ maxBodyBytes: 10_000 })];
    await Promise.all(
      settings.flatMap((setting) =>
        Array.from({ length: 10 }, async (_item, index) => {
          const content = random(50_000 + index);
          await setting.repository.push(content.descriptor, inChunks(content.bytes));
          await expectStored(setting, content);
        }),
      ),
    );
  });
});

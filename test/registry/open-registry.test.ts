import { expect, test } from 'vitest';
import { openRegistry } from '#ferry/registry/open-registry.js';
import { rejection, tagsOf } from '../contracts/artifacts.js';
import { useRegistryDouble } from '../support/double/registry-double.js';
import { startScriptedServer } from '../support/scripted-server.js';

const TAGS = 'GET /v2/a/b/tags/list?n=1000';
const listed = { body: JSON.stringify({ name: 'a/b', tags: ['1.0'] }) };

test('opens a registry by its host alone', async () => {
  const server = await startScriptedServer([TAGS, listed]);
  await using registry = openRegistry(server.host, { userAgent: 'test/1' });
  expect(await tagsOf(registry.repository('a/b'))).toEqual(['1.0']);
  expect(server.requests[0]?.headers['user-agent']).toBe('test/1');
});

test('disposing of it closes its connections', async () => {
  const server = await startScriptedServer([TAGS, listed], [TAGS, listed]);
  const registry = openRegistry(server.host, { userAgent: 'test/1' });
  const repository = registry.repository('a/b');
  await tagsOf(repository);
  await registry[Symbol.asyncDispose]();
  await rejection(tagsOf(repository));
  expect(server.lines).toHaveLength(1);
});

test.each(['', 'a b', 'https://ghcr.io', 'ghcr.io/org'])('%j is no host', (host) => {
  expect(() => openRegistry(host, { userAgent: 'test/1' })).toThrow(
    expect.objectContaining({ code: 'REFERENCE_INVALID' }) as Error,
  );
});

/** Asks for the same blob so many times at once; @returns how long all of them were held back, in ms. */
async function heldBackMs(
  host: string,
  profile: { readonly requestsPerMinute: number },
  requests: number,
): Promise<number> {
  let nowMs = 0;
  let heldMs = 0;
  await using registry = openRegistry(host, {
    userAgent: 'test/1',
    profile,
    now: () => nowMs,
    random: () => 0,
    sleep: (ms) => {
      nowMs += ms;
      heldMs += ms;
      return Promise.resolve();
    },
  });
  for (let i = 0; i < requests; i += 1) await registry.repository('a/b').resolve(`v${String(i)}`);
  return heldMs;
}

test('goes no faster than the registry is known to allow', async () => {
  const double = await useRegistryDouble();
  expect(await heldBackMs(double.host, { requestsPerMinute: 6 }, 20)).toBeGreaterThan(60_000);
  expect(await heldBackMs(double.host, { requestsPerMinute: 60_000 }, 20)).toBeLessThan(1000);
});

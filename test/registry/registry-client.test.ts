import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { Credential } from '#ferry/http/credentials/credential.js';
import { openerOf } from '#ferry/io/bytes.js';
import { RegistryClient } from '#ferry/registry/registry-client.js';
import {
  artifactOf,
  contentOf,
  pushArtifact,
  pushContent,
  rejection,
  tagsOf,
} from '../contracts/artifacts.js';
import { startRegistry } from '../support/docker-registry.js';
import { everythingOf, openTestClient } from '../support/http.js';
import { startScriptedServer, type Answer, type Row } from '../support/scripted-server.js';
import { tempFolder } from '../support/temp.js';

const send = (): never => {
  throw new Error('nothing should be sent');
};

async function registryOf(...rows: Row[]): Promise<RegistryClient> {
  const server = await startScriptedServer(...rows);
  return new RegistryClient({ host: server.host, send: openTestClient().send });
}

describe('the host', () => {
  test.each([
    '',
    'a b',
    'user@host',
    'host/path',
    'host:',
    'host:99999',
    '[::',
    '[::::]',
    '300.1.1.1',
    'http://h',
  ])('%j is none', (host) => {
    expect(() => new RegistryClient({ host, send })).toThrow(
      expect.objectContaining({ code: 'REFERENCE_INVALID' }),
    );
  });

  test.each([
    ['ghcr.io', undefined, 'https://ghcr.io/'],
    ['ghcr.io', true, 'http://ghcr.io/'],
    ['127.0.0.1:5000', undefined, 'http://127.0.0.1:5000/'],
    ['localhost:5000', false, 'https://localhost:5000/'],
    ['[::1]:5000', undefined, 'http://[::1]:5000/'],
    ['127.0.0.1.example.com', undefined, 'https://127.0.0.1.example.com/'],
    ['registry.localhost:5000', undefined, 'http://registry.localhost:5000/'],
    ['docker.io', undefined, 'https://registry-1.docker.io/'],
    ['ghcr.io:443', true, 'http://ghcr.io:443/'],
  ])('%s with plainHttp %s is reached at %s', (host, plainHttp, url) => {
    expect(new RegistryClient({ host, plainHttp, send }).baseUrl.href).toBe(url);
  });

  test('counts for the longest name', () => {
    const registry = new RegistryClient({ host: 'ghcr.io', send });
    expect(registry.maxNameLength).toBe(247);
    expect(registry.repository('a'.repeat(247)).name).toHaveLength(247);
    expect(() => registry.repository('a'.repeat(248))).toThrow(
      expect.objectContaining({ code: 'REFERENCE_INVALID' }),
    );
  });
});

test('a repository is the same object for the same name', () => {
  const registry = new RegistryClient({ host: 'ghcr.io', send });
  expect(registry.repository('a/b')).toBe(registry.repository('a/b'));
  expect(registry.repository('a/b')).not.toBe(registry.repository('a/c'));
});

describe('ping', () => {
  test('is content with a 200, whatever its body', async () => {
    const registry = await registryOf(
      ['GET /v2/', { body: '{}' }],
      ['GET /v2/', { body: 'x'.repeat(200_000) }],
      ['GET /v2/', { body: '' }],
    );
    for (let i = 0; i < 3; i += 1) await registry.ping();
  });

  test('says that there is no registry where there is something else', async () => {
    const registry = await registryOf(['GET /v2/', { status: 404, body: '<html>' }]);
    expect(await rejection(registry.ping())).toMatchObject({ code: 'UNSUPPORTED', cause: { status: 404 } });
  });

  test.each([
    [401, 'UNAUTHORIZED'],
    [403, 'DENIED'],
  ])('passes a %i on', async (status, code) => {
    expect(await rejection((await registryOf(['GET /v2/', { status }])).ping())).toMatchObject({ code });
  });
});

describe('repositories', () => {
  const FIRST = 'GET /v2/_catalog?n=1000';

  test('are listed over pages', async () => {
    const registry = await registryOf(
      [
        FIRST,
        { body: '{"repositories":["a","b/c"]}', headers: { link: '</v2/_catalog?last=b>; rel="next"' } },
      ],
      ['GET /v2/_catalog?last=b', { body: '{"repositories":["d"]}' }],
    );
    expect(await registry.repositories()).toEqual(['a', 'b/c', 'd']);
  });

  test.each([401, 403, 404, 405])('are not known where the registry answers %i', async (status) => {
    expect(await (await registryOf([FIRST, { status }])).repositories()).toBeUndefined();
  });

  test('a failure is a failure', async () => {
    const broken = await registryOf(...Array.from({ length: 8 }, (): Row => [FIRST, { status: 500 }]));
    expect(await rejection(broken.repositories())).toMatchObject({ status: 500 });
    const odd: Answer = { body: '{"repositories":{}}' };
    expect(await rejection((await registryOf([FIRST, odd])).repositories())).toMatchObject({
      code: 'REGISTRY_REFUSED',
    });
  });
});

describe('a registry with passwords', () => {
  /** bcrypt of `p:ä ss`. */
  const HTPASSWD = 'user:$2b$04$abcdefghijklmnopqrstuuG5I5dNcb26TWjWqP3LDreEh4/F6hcs2\n';

  async function open(): Promise<(credential?: Credential) => RegistryClient> {
    const htpasswd = join(await tempFolder(), 'htpasswd');
    await writeFile(htpasswd, HTPASSWD);
    const registry = await startRegistry({ htpasswd });
    onTestFinished(() => registry[Symbol.asyncDispose]());
    return (credential) =>
      new RegistryClient({
        host: registry.host,
        send: openTestClient({ findCredential: () => Promise.resolve(credential) }).send,
      });
  }

  test('takes the right one, and refuses none or a wrong one without naming it', async () => {
    const connect = await open();
    const repository = connect({ kind: 'basic', username: 'user', password: 'p:ä ss' }).repository('a/b');
    const artifact = artifactOf('behind a password');
    await pushArtifact(repository, artifact, ['1.0']);
    expect(await tagsOf(repository)).toEqual(['1.0']);
    expect(await repository.resolve('1.0')).toMatchObject(artifact.manifest.descriptor);

    const wrong: Credential = { kind: 'basic', username: 'user', password: 'wrong-secret' };
    for (const credential of [undefined, wrong]) {
      const registry = connect(credential);
      const refused = registry.repository('a/b');
      const blob = contentOf('refused');
      for (const call of [
        () => registry.ping(),
        () => refused.resolve('1.0'),
        () => refused.fetchManifest('1.0'),
        () => refused.exists(blob.descriptor),
        () => refused.push(blob.descriptor, openerOf(blob.bytes)),
        () => pushContent(refused, artifact.manifest, ['2.0']),
        () => tagsOf(refused),
      ]) {
        const error = await rejection(call());
        expect(error).toMatchObject({ code: 'UNAUTHORIZED', status: 401 });
        expect(everythingOf(error)).not.toMatch(/secret|d3Jvbmct/);
      }
    }
    expect(await tagsOf(repository)).toEqual(['1.0']);
  });
});

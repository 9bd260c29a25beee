import { describe, expect, test } from 'vitest';
import { profileOf } from '#ferry/registry/host-profile.js';
import { RegistryClient } from '#ferry/registry/registry-client.js';

const send = (): never => {
  throw new Error('nothing should be sent');
};

describe('profileOf', () => {
  test.each<[string, Partial<ReturnType<typeof profileOf>>]>([
    ['ghcr.io', { maxChunkBytes: 4 * 1024 * 1024, deleteBy: 'github-packages', referrers: 'tag' }],
    ['GHCR.IO', { requestsPerMinute: 2000 }],
    ['ghcr.io:443', { requestsPerMinute: 2000 }],
    ['docker.io', { apiHost: 'registry-1.docker.io', maxPathDepth: 2, defaultNamespace: 'library' }],
    ['registry-1.docker.io', { apiHost: 'registry-1.docker.io' }],
    [
      '123456789012.dkr.ecr.eu-central-1.amazonaws.com',
      { trustUploadRange: false, createsRepositories: false },
    ],
    ['public.ecr.aws', { trustUploadRange: false, maxBlobBytes: 10_000 * 1024 * 1024 }],
    ['quay.io', { tagPageSize: 100, deletesTags: true }],
    ['example.azurecr.io', { deletesTags: true }],
    ['europe-west1-docker.pkg.dev', { chunked: false, createsRepositories: 'prefix' }],
    ['eu.gcr.io', { chunked: false }],
    ['gcr.io', { chunked: false }],
    ['registry.gitlab.com', { referrers: 'tag' }],
  ])('knows %s', (host, expected) => {
    expect(profileOf(host)).toMatchObject(expected);
  });

  test.each([
    '127.0.0.1:5000',
    '[::1]:5000',
    'example.com',
    'ghcr.io.example.com',
    'notghcr.io',
    'xquay.io',
    'docker.io.evil.example',
    'a.dkr.ecr.b.amazonaws.com.evil.example',
  ])('knows nothing of %s', (host) => {
    expect(profileOf(host)).toEqual(profileOf('unknown.example'));
    expect(profileOf(host)).toMatchObject({ deleteBy: 'digest', referrers: 'unknown', tagPageSize: 1000 });
  });

  test('single values can be replaced', () => {
    const profile = profileOf('ghcr.io', { requestsPerMinute: undefined, deletesTags: 'unknown' });
    expect(profile).toMatchObject({ deletesTags: 'unknown', deleteBy: 'github-packages' });
    expect(profile.requestsPerMinute).toBeUndefined();
  });
});

describe('a registry client', () => {
  test('speaks to the host of the API, and keeps the name that people know', () => {
    const registry = new RegistryClient({ host: 'docker.io', send });
    expect(registry.baseUrl.href).toBe('https://registry-1.docker.io/');
    expect(registry.location).toBe('docker.io');
  });

  test('puts the default namespace before names of one part', () => {
    const registry = new RegistryClient({ host: 'docker.io', send });
    expect(registry.repository('zlib').name).toBe('library/zlib');
    expect(registry.repository('zlib')).toBe(registry.repository('library/zlib'));
    expect(registry.repository('org/zlib').name).toBe('org/zlib');
    expect(new RegistryClient({ host: 'ghcr.io', send }).repository('zlib').name).toBe('zlib');
    expect(() => registry.repository('')).toThrow(expect.objectContaining({ code: 'REFERENCE_INVALID' }));
  });
});

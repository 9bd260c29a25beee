import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseChannelPath } from '#ferry/serve/routes/channel-path.js';

const SHA256 = '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08';

describe('a path below the root of the gateway', () => {
  const archive = { kind: 'archive', subdir: 'noarch', filename: 'x-1-0.conda' };
  test.each([
    ['/c/noarch/repodata.json', { kind: 'metadata', path: 'noarch/repodata.json', isCompressed: false }],
    [
      '/c/linux-64/repodata.json.zst',
      { kind: 'metadata', path: 'linux-64/repodata.json', isCompressed: true },
    ],
    ['/c/channeldata.json', { kind: 'metadata', path: 'channeldata.json', isCompressed: false }],
    ['/c/noarch/repodata_shards.msgpack.zst', { kind: 'shard-index', subdir: 'noarch' }],
    [`/c/noarch/shards/${SHA256}.msgpack.zst`, { kind: 'shard', subdir: 'noarch', sha256: SHA256 }],
    ['/c/noarch/x-1-0.conda', archive],
    ['/c/noarch/x-1%210-0.conda', { ...archive, filename: 'x-1!0-0.conda' }],
    ['/c/noarch/x-1%2B0-0.tar.bz2', { ...archive, filename: 'x-1+0-0.tar.bz2' }],
    ['/c/noarch/x-1-0.conda.sigs', { ...archive, kind: 'sidecar', sha256: undefined }],
    [`/c/noarch/x-1-0.conda.sigs.${SHA256}`, { ...archive, kind: 'sidecar', sha256: SHA256 }],
    ['/c/', { kind: 'other' }],
    ['/c/noarch/', { kind: 'other' }],
    ['/c/noarch/shards/short.msgpack.zst', { kind: 'other' }],
    ['/c/not_a_subdir/x-1-0.conda', { kind: 'other' }],
    ['/c/noarch/x-1-0.whl', { kind: 'other' }],
    ['/c/noarch/deep/er/x-1-0.conda', { kind: 'other' }],
  ])('%s', (path, file) => {
    expect(parseChannelPath(path)).toEqual({ name: 'c', label: undefined, file });
  });

  test.each([
    ['/c/label/dev/noarch/x-1-0.conda', 'dev', archive],
    ['/c/label/main/noarch/x-1-0.conda', undefined, archive],
    ['/c/label/team/next/noarch/x-1-0.conda', 'team/next', archive],
    [
      '/c/label/dev/channeldata.json',
      'dev',
      { kind: 'metadata', path: 'channeldata.json', isCompressed: false },
    ],
  ])('%s has a label', (path, label, file) => {
    expect(parseChannelPath(path)).toEqual({ name: 'c', label, file });
  });

  test.each([
    '/',
    '//noarch/repodata.json',
    '/c/../etc/passwd',
    '/c/%2e%2e/noarch/repodata.json',
    '/c/noarch/%2Fetc%2Fpasswd',
    '/c/noarch/a%00b-1-0.conda',
    '/c/noarch/a%0d%0ab-1-0.conda',
    '/c/noarch/a%5Cb-1-0.conda',
    '/c/%E0%A4%A/x',
    '/c/label/de v/noarch/repodata.json',
    `/c/label/${'a'.repeat(129)}/noarch/repodata.json`,
    `/c/noarch/${'a'.repeat(2000)}-1-0.conda`,
  ])('%s leads nowhere', (path) => {
    expect(parseChannelPath(path)).toBeUndefined();
  });

  test('whatever is asked for, nothing leads out of a subdir', () => {
    fc.assert(
      fc.property(fc.webPath(), (path) => {
        const parsed = parseChannelPath(path);
        if (parsed === undefined || parsed.file.kind === 'other') return;
        const { file } = parsed;
        const named = 'filename' in file ? file.filename : 'path' in file ? file.path : '';
        expect(named.split('/').length).toBeLessThanOrEqual(2);
        expect(named).not.toMatch(/(?:^|\/)\.\.?(?:\/|$)/);
      }),
    );
  });
});

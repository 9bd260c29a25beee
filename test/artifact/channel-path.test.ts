import { describe, expect, test } from 'vitest';
import { channelPath } from '#ferry/artifact/channel-path.js';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import type { SchemaId } from '#ferry/artifact/schema.js';
import { isFerryError } from '#ferry/errors.js';
import { MemoryRegistry } from '#ferry/oci/memory-store.js';

/** The code of the error, or `undefined`. */
function codeOf(path: string, label?: string, schema: SchemaId = 'v1'): string | undefined {
  try {
    channelPath(path, label, schema);
  } catch (error) {
    if (isFerryError(error)) return error.code;
    throw error;
  }
  return undefined;
}

const SCHEMAS = ['v0', 'v1'] as const;

describe.each(SCHEMAS)('schema %s', (schema) => {
  test.each(['conda-forge', 'org/conda-forge', 'a.b/c_d/e-f', 'a__b', 'a--b', 'labels/my-label', 'main', ''])(
    'v1/L1: the path %j is a channel',
    (path) => {
      expect(channelPath(path, undefined, schema)).toBe(path);
    },
  );

  test.each(['Foo', '/a', 'a/', 'a//b', 'a/../b', 'a_', 'a___b', 'a..b', 'a:b', 'é', '-a', 'a\n'])(
    'v1/L1: the path %j is none',
    (path) => {
      expect(codeOf(path, undefined, schema)).toBe('REFERENCE_INVALID');
    },
  );

  test.each(['foo!bar', 'foo bar'])('conda-oci/E8: the path %j is none', (path) => {
    expect(codeOf(path, undefined, schema)).toBe('REFERENCE_INVALID');
  });

  test.each(['dev', 'rc/2026', 'a.b_c-d', '0.1', 'mainline', 'main/x'])(
    'v1/L2, v1/L4: the label %s has a place of its own',
    (label) => {
      expect(channelPath('org/conda-forge', label, schema)).toBe(`org/conda-forge/label/${label}`);
      expect(channelPath('', label, schema)).toBe(`label/${label}`);
    },
  );

  test.each(['', 'Dev', 'Main', 'a:b', 'a b', '-dev', 'dev.', 'dev/', '/dev', 'a..b', 'a___b', 'é', 'dev\n'])(
    'v1/L2: the label %j cannot be held',
    (label) => {
      expect(codeOf('conda-forge', label, schema)).toBe('CHANNEL_INVALID');
    },
  );

  test('conda-oci/E9: a label is matched from end to end', () => {
    for (const label of ['te$t%%', 'dev x', 'dev:'])
      expect(codeOf('conda-forge', label, schema)).toBe('CHANNEL_INVALID');
  });

  test('v1/L3, conda-oci/E7: `main` is the channel itself', () => {
    expect(channelPath('conda-forge', 'main', schema)).toBe('conda-forge');
    expect(channelPath('', 'main', schema)).toBe('');
  });

  test.each(['channeldata.json', 'org/channeldata.json', 'org/notices.json', 'org/channeldata.json/x'])(
    'v1/B32: the path %s is the place of metadata, and so would be such a label',
    (path) => {
      expect(codeOf(path, undefined, schema)).toBe('CHANNEL_INVALID');
      expect(codeOf('other', path, schema)).toBe('CHANNEL_INVALID');
    },
  );

  test('v1/B32: a path that only looks similar is a channel', () => {
    for (const path of ['org/channeldata', 'org/channeldata.json5', 'org/xchanneldata.json'])
      expect(channelPath(path, undefined, schema)).toBe(path);
  });
});

test.each(['a/label/b', 'a/label/x/label/y', 'label/b', 'a/label'])(
  'v1/B10: %s has the component `label`: refused in v1, where it would be two channels, and taken in v0',
  (path) => {
    for (const label of [undefined, 'main', 'dev']) expect(codeOf(path, label)).toBe('CHANNEL_INVALID');
    expect(channelPath(path, undefined, 'v0')).toBe(path);
  },
);

test('v1/L3, v1/L4, v1/C1, conda-oci/E7: packages and metadata of a label lie below it, those of `main` do not', () => {
  const names = (label?: string) => {
    const store = new ChannelStore(new MemoryRegistry(), 'org/conda-forge', schemaV1, label);
    return [
      store.packageRepository('linux-64', { repository: 'czlib' }).name,
      store.metadataRepository('noarch', 'repodata.json').name,
      store.metadataRepository('', 'channeldata.json').name,
    ];
  };
  expect(names('dev')).toEqual([
    'org/conda-forge/label/dev/linux-64/czlib',
    'org/conda-forge/label/dev/noarch/mrepodata.json',
    'org/conda-forge/label/dev/channeldata.json',
  ]);
  expect(names('main')).toEqual([
    'org/conda-forge/linux-64/czlib',
    'org/conda-forge/noarch/mrepodata.json',
    'org/conda-forge/channeldata.json',
  ]);
  expect(names()).toEqual(names('main'));
});

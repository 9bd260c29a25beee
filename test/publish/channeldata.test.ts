import { describe, expect, test } from 'vitest';
import type { JsonObject } from '#ferry/conda/record-details.js';
import { makeChanneldata } from '#ferry/publish/channeldata.js';
import type { IndexedInfo } from '#ferry/publish/indexed-info.js';
import { flagsOfPaths } from '#ferry/publish/package-flags.js';
import { sectionOf } from '#ferry/publish/subdir-records.js';

interface Given {
  readonly record?: JsonObject;
  readonly info?: Partial<IndexedInfo>;
}

/** A subdir with these archives. */
function subdirOf(subdir: string, archives: Readonly<Record<string, Given>>) {
  const sections = {
    packages: new Map<string, JsonObject>(),
    'packages.conda': new Map<string, JsonObject>(),
  };
  for (const [filename, { record }] of Object.entries(archives)) {
    const [name, version, build] = filename.replace(/\.(?:conda|tar\.bz2)$/, '').split('-');
    sections[sectionOf(filename)].set(filename, { name, version, build, ...record });
  }
  const none = { about: {}, runExports: {}, source: {}, flags: flagsOfPaths({}) };
  const infoOf = (filename: string): IndexedInfo | undefined => {
    const info = archives[filename]?.info;
    return info === undefined ? undefined : { ...none, ...info };
  };
  return { subdir, records: { ...sections, removed: [] }, infoOf };
}

function packagesOf(...subdirs: readonly ReturnType<typeof subdirOf>[]): Record<string, JsonObject> {
  return makeChanneldata(subdirs)['packages'] as Record<string, JsonObject>;
}

describe('channeldata', () => {
  test('has all that CEP 38 asks for, where the records say next to nothing too', () => {
    expect(makeChanneldata([subdirOf('noarch', { 'a-1-0.conda': {} }), subdirOf('linux-64', {})])).toEqual({
      channeldata_version: 1,
      subdirs: ['linux-64', 'noarch'],
      packages: {
        a: {
          'activate.d': false,
          'deactivate.d': false,
          binary_prefix: false,
          text_prefix: false,
          post_link: false,
          pre_link: false,
          pre_unlink: false,
          run_exports: {},
          subdirs: ['noarch'],
          timestamp: 0,
          version: '1',
        },
      },
    });
  });

  test('names the newest version by the order of CEP 33, and the newest time, in seconds', () => {
    const { a } = packagesOf(
      subdirOf('linux-64', {
        'a-1.9-0.conda': { record: { timestamp: 1_700_000_000_999 } },
        'a-1.10-0.conda': { record: { timestamp: 1_600_000_000 } },
        'a-1.10rc1-0.conda': { record: { timestamp: 'yesterday' } },
      }),
      subdirOf('noarch', { 'a-1.2-0.conda': { record: { timestamp: -1 } } }),
    );
    expect(a).toMatchObject({ version: '1.10', timestamp: 1_700_000_000, subdirs: ['linux-64', 'noarch'] });
  });

  test('says what the newest record says, and what older ones said where that is silent', () => {
    const { a } = packagesOf(
      subdirOf('linux-64', {
        'a-2-0.conda': {
          record: { license: 'patched' },
          info: {
            about: {
              license: 'MIT',
              summary: ' new\nlines ',
              home: ['https://a/', 'https://b/'],
              doc_url: '',
            },
          },
        },
        'a-1-0.conda': {
          record: { license: 'old' },
          info: {
            about: { summary: 'old', doc_url: 'https://old/', tags: ['t'], keywords: [] },
            source: { url: ['https://s/1', 'https://s/2'] },
          },
        },
      }),
    );
    expect(a).toMatchObject({
      license: 'patched',
      summary: 'new lines',
      home: 'https://a/',
      doc_url: 'https://old/',
      tags: ['t'],
      source_url: ['https://s/1', 'https://s/2'],
    });
    expect(a).not.toHaveProperty('keywords');
    expect(a).not.toHaveProperty('dev_url');
  });

  test('has what is so of any record, and run exports by version, of the newest that has some', () => {
    const script = flagsOfPaths({ paths: [{ _path: 'bin/.a-post-link.sh' }] });
    const { a } = packagesOf(
      subdirOf('linux-64', {
        'a-2-0.conda': { record: { timestamp: 2e12 }, info: {} },
        'a-2-1.conda': { record: { timestamp: 1e12 }, info: { runExports: { weak: ['older'] } } },
        'a-2-2.conda': { record: { timestamp: 1.5e12 }, info: { runExports: { weak: ['newer'] } } },
        'a-1-0.conda': { info: { flags: script } },
      }),
    );
    expect(a).toMatchObject({ post_link: true, pre_link: false, run_exports: { '2': { weak: ['newer'] } } });
  });

  test('goes by the .conda of an archive in both formats', () => {
    const { a } = packagesOf(
      subdirOf('noarch', {
        'a-1-0.conda': { info: { about: { summary: 'conda' } } },
        'a-1-0.tar.bz2': { record: { timestamp: 9e12 }, info: { about: { summary: 'bz2' } } },
      }),
    );
    expect(a).toMatchObject({ summary: 'conda', timestamp: 0 });
  });

  test('does not depend on the order of subdirs and records', () => {
    const linux = { 'a-1-0.conda': { info: { about: { summary: 'x' } } }, 'b-1-0.conda': {} };
    const noarch = { 'a-1-0.conda': { info: { about: { summary: 'y' } } } };
    const reversed = Object.fromEntries(Object.entries(linux).reverse());
    expect(
      JSON.stringify(makeChanneldata([subdirOf('noarch', noarch), subdirOf('linux-64', reversed)])),
    ).toBe(JSON.stringify(makeChanneldata([subdirOf('linux-64', linux), subdirOf('noarch', noarch)])));
  });
});

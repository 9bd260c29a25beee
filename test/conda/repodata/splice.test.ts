import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Repodata } from '#ferry/conda/repodata/repodata.js';
import { collect } from '#ferry/io/bytes.js';
import { inPieces } from './pieces.js';

type Records = Record<string, Record<string, unknown>>;

interface Document {
  readonly info?: Record<string, unknown>;
  readonly packages?: Records;
  readonly 'packages.conda'?: Records;
  readonly 'packages.whl'?: Records;
  readonly v3?: { readonly conda?: Records; readonly 'tar.bz2'?: Records; readonly whl?: Records };
  readonly [key: string]: unknown;
}

async function read(text: string, pieceBytes = 20): Promise<Repodata> {
  return Repodata.read(inPieces(Buffer.from(text), pieceBytes), 'linux-64');
}

async function splice(
  source: Repodata,
  keep: (filename: string) => boolean = () => true,
  also?: Parameters<Repodata['splice']>[1],
): Promise<string> {
  return Buffer.from(await collect(source.splice(keep, also), 100_000_000, 'the result')).toString('utf8');
}

const stems = fc
  .tuple(fc.constantFrom('a', 'b', 'c-d', 'é'), fc.nat(3), fc.nat(1))
  .map((parts) => parts.join('-'));
const filenames = fc
  .tuple(stems, fc.constantFrom('conda', 'tar.bz2'))
  .map(([stem, extension]) => `${stem}.${extension}`);
const value = fc.dictionary(
  fc.oneof(fc.constantFrom('name', 'size', 'url', 'depends', 'indexed_timestamp'), fc.string()),
  fc.jsonValue(),
  { maxKeys: 4 },
);
const section = fc.dictionary(filenames, value, { maxKeys: 8 });
const revision = fc.dictionary(stems, value, { maxKeys: 4 });
const document = fc.record(
  {
    info: fc.dictionary(
      fc.constantFrom('base_url', 'channel_relations', 'arch', 'x'),
      fc.jsonValue({ maxDepth: 1 }),
    ),
    packages: section,
    'packages.conda': section,
    'packages.whl': revision,
    removed: fc.array(fc.string()),
    v3: fc.record({ conda: revision, 'tar.bz2': revision, whl: fc.jsonValue() }, { requiredKeys: [] }),
    v4: fc.jsonValue(),
    'x "quoted"\\': fc.jsonValue(),
  },
  { requiredKeys: [] },
);

/** Records by section, as they should be published. */
function published(source: Document, wanted: (filename: string) => boolean): Map<string, unknown> {
  const result = new Map<string, unknown>();
  const add = (section: string, records: Records | undefined, keyEnding: string, ending: string): void => {
    for (const [key, { url, ...rest }] of Object.entries(records ?? {})) {
      const filename = `${key}${keyEnding}`;
      if (filename.endsWith(ending) && wanted(filename))
        result.set(`${section} ${filename}`, url === null ? { url, ...rest } : rest);
    }
  };
  add('packages', source.packages, '', '.tar.bz2');
  add('packages.conda', source['packages.conda'], '', '.conda');
  add('v3.tar.bz2', source.v3?.['tar.bz2'], '.tar.bz2', '.tar.bz2');
  add('v3.conda', source.v3?.conda, '.conda', '.conda');
  return result;
}

test('the result always parses, lists exactly what was wanted, and holds records and other members unchanged', async () => {
  await fc.assert(
    fc.asyncProperty(
      document,
      document,
      fc.func(fc.boolean()),
      fc.array(filenames),
      fc.constantFrom(undefined, 1, '\t'),
      fc.integer({ min: 1, max: 200 }),
      async (a, b, keep, also, indent, pieceBytes) => {
        // JSON has no -0 of JavaScript's.
        const [ours, other] = [a, b].map((value) => JSON.parse(JSON.stringify(value)) as Document) as [
          Document,
          Document,
        ];
        const source = await read(JSON.stringify(a, undefined, indent), pieceBytes);
        const foreign = { repodata: await read(JSON.stringify(b), pieceBytes), filenames: new Set(also) };
        const result = JSON.parse(await splice(source, keep, foreign)) as Document;
        const { packages, 'packages.conda': conda, info, v3, ...rest } = result;
        const {
          packages: _,
          'packages.conda': __,
          'packages.whl': ___,
          info: oldInfo,
          v3: ____,
          v4: _____,
          ...oldRest
        } = ours;
        expect(rest).toEqual(oldRest);
        if (oldInfo === undefined) expect(info).toBeUndefined();
        else {
          const { base_url: _, channel_relations: __, ...kept } = oldInfo;
          expect(info).toEqual(kept);
        }
        const isNew = (filename: string): boolean => also.includes(filename) && !source.has(filename);
        const wanted = new Map([...published(ours, keep), ...published(other, isNew)]);
        const all = published(
          { packages: packages ?? {}, 'packages.conda': conda ?? {}, v3: v3 ?? {} },
          () => true,
        );
        expect(all).toEqual(wanted);
        expect(v3 ?? {}).not.toHaveProperty('whl');
        const again = await read(JSON.stringify(result));
        expect(again.neededChanges()).toEqual([]);
        const names = [...wanted.keys()].map((key) => key.slice(key.indexOf(' ') + 1));
        expect([...again.filenames()].sort()).toEqual([...new Set(names)].sort());
      },
    ),
    { numRuns: 200 },
  );
});

describe('CEP 48', () => {
  const record = (stem: string, more: object = {}): Record<string, unknown> => {
    const [name, version, build] = stem.split('-');
    return { name, version, build, ...more };
  };
  const one = { sha256: '1'.repeat(64) };
  const two = { sha256: '2'.repeat(64) };
  const text = JSON.stringify({
    info: { repodata_revisions: { v3: { message: 'm', n_packages: 4, newest: 9, oldest: 1, x: 1.5 } } },
    packages: {},
    v3: {
      conda: {
        'a-1-0': record('a-1-0', { indexed_timestamp: 1 }),
        'b-1-0': record('b-1-0', { indexed_timestamp: 5 }),
      },
      'tar.bz2': { 'a-1-0': record('a-1-0', { indexed_timestamp: 3 }) },
      whl: { 'w-1-0': { indexed_timestamp: 9 } },
    },
  });

  test('cep48: records of `v3` are listed by the name of their archive, and those of wheels are named apart', async () => {
    const source = await read(text);
    expect([...source.filenames()]).toEqual(['a-1-0.conda', 'b-1-0.conda', 'a-1-0.tar.bz2']);
    expect(source.recordCount).toBe(3);
    expect(source.get('a-1-0.tar.bz2')).toMatchObject({ record: { name: 'a', extension: 'tar.bz2' } });
    expect([...source.withheld()]).toEqual([{ filename: 'w-1-0.whl', section: 'v3.whl' }]);
    expect(source.neededChanges()).toHaveLength(1);
  });

  test('cep48/n-packages, cep48/newest, cep48/oldest: what is left of `v3` is counted anew, and the message stays', async () => {
    const result = JSON.parse(await splice(await read(text), (name) => name !== 'a-1-0.conda')) as Document;
    expect(result.info).toEqual({
      repodata_revisions: { v3: { message: 'm', n_packages: 2, newest: 5, oldest: 3, x: 1.5 } },
    });
    expect(result.v3).toEqual({
      conda: { 'b-1-0': record('b-1-0', { indexed_timestamp: 5 }) },
      'tar.bz2': { 'a-1-0': record('a-1-0', { indexed_timestamp: 3 }) },
    });
    const none = JSON.parse(await splice(await read(text), () => false)) as Document;
    expect(none.info).toEqual({
      repodata_revisions: { v3: { message: 'm', n_packages: 0, newest: null, oldest: null, x: 1.5 } },
    });
    expect(none.v3).toEqual({ conda: {}, 'tar.bz2': {} });
  });

  test('cep48: where all of `v3` stays, its counts stay as they stand', async () => {
    const whole = '{"info":{"repodata_revisions" : {"v3":{"n_packages":7.0}}},"v3":{"conda":{"a-1-0":{}}}}\n';
    expect(await splice(await read(whole))).toBe(whole);
  });

  test('records of another repodata stand in `v3` too, and count', async () => {
    const mine = '{"info":{"repodata_revisions":{"v3":{"n_packages":0}}},"packages":{}}';
    const also = { repodata: await read(text), filenames: new Set(['b-1-0.conda', 'a-1-0.tar.bz2']) };
    expect(JSON.parse(await splice(await read(mine), () => true, also))).toEqual({
      info: { repodata_revisions: { v3: { n_packages: 2 } } },
      packages: {},
      'packages.conda': {},
      v3: {
        conda: { 'b-1-0': record('b-1-0', { indexed_timestamp: 5 }) },
        'tar.bz2': { 'a-1-0': record('a-1-0', { indexed_timestamp: 3 }) },
      },
    });
  });

  test('an archive listed in `v3` and elsewhere counts once; where they contradict each other, the classic record stays', async () => {
    const both = JSON.stringify({
      'packages.conda': { 'a-1-0.conda': record('a-1-0', one), 'b-1-0.conda': record('b-1-0', one) },
      v3: { conda: { 'a-1-0': record('a-1-0', one), 'b-1-0': record('b-1-0', two) } },
    });
    const source = await read(both);
    expect(source.recordCount).toBe(2);
    expect(source.identity('b-1-0.conda')).toBe(`sha256:${one.sha256}`);
    expect(source.neededChanges()).toHaveLength(1);
    const result = JSON.parse(await splice(source)) as Document;
    expect(Object.keys(result['packages.conda'] ?? {})).toEqual(['a-1-0.conda', 'b-1-0.conda']);
    expect(Object.keys(result.v3?.conda ?? {})).toEqual(['a-1-0']);
  });

  test('a revision that nobody knows yet goes, and its counts too', async () => {
    const later = '{"info":{"repodata_revisions":{"v4":{},"v3":{}}},"v4":[1],"v3":{}}';
    const source = await read(later);
    expect(source.withheldSections()).toEqual(['v4']);
    expect(await splice(source)).toBe('{"info":{"repodata_revisions":{"v3":{}}},"v3":{}}\n');
  });

  test('of a `v3` that stands twice the last one counts as a whole', async () => {
    const twice = '{"v3":{"conda":{"a-1-0":{}},"whl":{"w":{}}},"v3":{"conda":{"b-1-0":{}}}}';
    const source = await read(twice);
    expect([...source.filenames()]).toEqual(['b-1-0.conda']);
    expect(source.withheldSections()).toEqual([]);
    expect(JSON.parse(await splice(source))).toEqual(JSON.parse(twice));
    expect(source.neededChanges()).toHaveLength(1);
  });

  test.each(['{"v3":[]}', '{"v3":{"conda":null}}'])('%s is REPODATA_INVALID', async (bad) => {
    await expect(read(bad)).rejects.toMatchObject({ code: 'REPODATA_INVALID' });
  });
});

test('a text that has become shorter, or other, is noticed when it is read again', async () => {
  const bytes = Buffer.from(
    '{"packages":{"a-1-0.conda":{"name":"a"}},"packages.conda":{"b-1-0.conda":{"name":"b","version":"1","build":"0"}}}',
  );
  let isLater = false;
  let later = bytes.subarray(0, 20);
  const source = await Repodata.read((options) => inPieces(isLater ? later : bytes, 5)(options), 'noarch');
  isLater = true;
  await expect(splice(source)).rejects.toMatchObject({ code: 'REPODATA_INVALID' });
  later = Buffer.alloc(bytes.length, 0x7b);
  const details = async (): Promise<void> => {
    for await (const each of source.details()) expect(each).toBeUndefined();
  };
  await expect(details()).rejects.toMatchObject({ code: 'REPODATA_INVALID' });
});

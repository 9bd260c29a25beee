import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { Repodata } from '#ferry/conda/repodata/repodata.js';
import { FerryError } from '#ferry/errors.js';
import { collect } from '#ferry/io/bytes.js';
import { inPieces } from './pieces.js';

const FIXTURES = new URL('../../../fixtures/', import.meta.url);

/** Reads a text that comes in pieces of so many bytes. */
async function repodata(text: string | Uint8Array, subdir = 'linux-64', pieceBytes = 7): Promise<Repodata> {
  return Repodata.read(inPieces(Buffer.from(text), pieceBytes), subdir);
}

async function spliced(
  source: Repodata,
  keep: (filename: string) => boolean = () => true,
  also?: Parameters<Repodata['splice']>[1],
): Promise<string> {
  const bytes = await collect(source.splice(keep, also), 100_000_000, 'the result');
  return Buffer.from(bytes).toString('utf8');
}

interface Document {
  readonly info?: Record<string, unknown>;
  readonly packages?: Record<string, Record<string, unknown>>;
  readonly 'packages.conda'?: Record<string, Record<string, unknown>>;
  readonly [key: string]: unknown;
}

async function splice(
  text: string,
  ...rest: [((filename: string) => boolean)?, Parameters<Repodata['splice']>[1]?]
): Promise<Document> {
  return JSON.parse(await spliced(await repodata(text, 'linux-64', 1000), ...rest)) as Document;
}

/** The text of a record that agrees with its key. */
function record(filename: string, more = ''): string {
  const [name, version, build] = filename.replace(/\.conda$|\.tar\.bz2$/, '').split('-');
  return `"${filename}":{"name":"${name}","version":"${version}","build":"${build}"${more}}`;
}

async function refusal(text: string, subdir?: string): Promise<unknown> {
  return repodata(text, subdir).catch((error: unknown) => error);
}

describe('reading', () => {
  test('cep36: the fixture channel lists what JSON.parse finds', async () => {
    for (const subdir of ['noarch', 'linux-64', 'osx-arm64']) {
      const bytes = await readFile(new URL(`channel/${subdir}/repodata.json`, FIXTURES));
      const document = JSON.parse(bytes.toString()) as Required<Document>;
      const wanted = { ...document.packages, ...document['packages.conda'] };
      const read = await repodata(bytes, subdir, 100);
      expect([...read.filenames()].sort()).toEqual(Object.keys(wanted).sort());
      expect(read.recordCount).toBe(Object.keys(wanted).length);
      expect([...read.removed()]).toEqual(document['removed']);
      for (const { filename, ...found } of read.records()) {
        const { name, version, build, sha256, md5, size } = wanted[filename] ?? {};
        expect(found).toMatchObject({
          record: { filename, listedIn: subdir, name, version, build, sha256, md5, size },
        });
      }
      expect(read.neededChanges()).toEqual([]);
    }
  });

  test('cep36/empty-file: an empty file is an empty object', async () => {
    const empty = await repodata('');
    expect(empty.recordCount).toBe(0);
    expect([...empty.records()]).toEqual([]);
    expect(empty.neededChanges()).toEqual([]);
    expect(await spliced(empty, () => true)).toBe('{}\n');
  });

  test.each(['{}', '{"info":{}}', '{"packages":{},"packages.conda":{}}', ' {\n}\n'])(
    'cep36: %j lists nothing',
    async (text) => {
      expect((await repodata(text)).recordCount).toBe(0);
      expect((await repodata(text)).removed().size).toBe(0);
    },
  );

  test('an array below an offset of its buffer is read as well', async () => {
    const text = `{"packages":{${record('a-1-0.tar.bz2', ',"url":"u"')}}}`;
    const buffer = Buffer.from(`xxx${text}xxx`);
    const read = await repodata(
      new Uint8Array(buffer.buffer, buffer.byteOffset + 3, text.length),
      'linux-64',
    );
    expect([...read.records()]).toMatchObject([{ record: { name: 'a', url: 'u' } }]);
    expect(read.neededChanges()).toHaveLength(1);
  });

  test.each([
    ['no JSON', 'nope'],
    ['a list', '[]'],
    ['a byte order mark', '\ufeff{}'],
    ['a section that is a list', '{"packages":[]}'],
    ['a section that is null', '{"packages.conda":null}'],
    ['a fault inside of a record', `{"packages":{"a-1-0.tar.bz2":{"name":"a",}}}`],
    ['a fault in a part that nobody reads', '{"x_unknown":[1,2,,3]}'],
    ['a second document', '{}{}'],
  ])('%s is REPODATA_INVALID with its place', async (_, text) => {
    const error = await refusal(text);
    expect(error).toMatchObject({ code: 'REPODATA_INVALID' });
    expect((error as { position?: unknown }).position).toEqual(expect.any(Number));
  });

  test.each(['{"info":null}', '{"info":[]}', '{"info":"linux-64"}'])(
    '%s is REPODATA_INVALID',
    async (text) => {
      expect(await refusal(text)).toMatchObject({ code: 'REPODATA_INVALID' });
    },
  );

  test('cep36: repodata of another subdir is REPODATA_INVALID, named in one short line', async () => {
    expect(await refusal('{"info":{"subdir":"noarch"}}', 'linux-64')).toMatchObject({
      code: 'REPODATA_INVALID',
    });
    expect(await refusal('{"info":{"subdir":"linux-64"}}', 'linux-64')).toBeInstanceOf(Repodata);
    expect(await refusal('{"info":{"subdir":null}}', 'linux-64')).toBeInstanceOf(Repodata);
    const { message } = (await refusal(`{"info":{"subdir":"\\n${'x'.repeat(5000)}"}}`)) as Error;
    expect(message).toMatch(/^.{1,400}$/);
  });

  test('one bad record comes as its error and stops no other', async () => {
    const text = `{"packages":{"a-1-0.tar.bz2":5,"nonsense":{},${record('b-1-0.tar.bz2')},"c-1-0.tar.bz2":{"name":"d","version":"1","build":"0"}}}`;
    const outcomes = [...(await repodata(text)).records()].map((read) =>
      'error' in read ? read.error.code : read.record.name,
    );
    expect(outcomes).toEqual(['RECORD_INVALID', 'RECORD_INVALID', 'b', 'RECORD_INVALID']);
  });

  test('cep36: a `.conda` under `packages` and a `.tar.bz2` under `packages.conda` are refused', async () => {
    const text = `{"packages":{${record('a-1-0.conda')}},"packages.conda":{${record('b-1-0.tar.bz2')}}}`;
    const reads = [...(await repodata(text)).records()];
    expect(reads).toHaveLength(2);
    for (const read of reads) expect(read).toMatchObject({ error: { code: 'RECORD_INVALID' } });
    expect(await splice(text)).toEqual({ packages: {}, 'packages.conda': {} });
  });

  test('cep36: a record in its right section is not hidden by one in the wrong section, before or behind it', async () => {
    const right = `"packages.conda":{${record('a-1-0.conda', ',"size":1')}}`;
    const wrong = `"packages":{${record('a-1-0.conda', ',"size":2')}}`;
    for (const text of [`{${right},${wrong}}`, `{${wrong},${right}}`]) {
      const read = await repodata(text);
      expect([...read.records()]).toMatchObject([{ record: { size: 1 } }]);
      expect((await splice(text)).packages).toEqual({});
      expect((await splice(text))['packages.conda']).toMatchObject({ 'a-1-0.conda': { size: 1 } });
      expect(read.neededChanges()).toHaveLength(1);
    }
  });

  test('of records with equal keys the last one counts, also when a key is escaped, and such a file needs a change', async () => {
    const twice = `{"packages":{${record('a-1-0.tar.bz2', ',"size":1')},${record('a-1-0.tar.bz2', ',"size":2').replace('a-1', 'a\\u002d1')}}}`;
    const read = await repodata(twice);
    expect(read.recordCount).toBe(1);
    expect([...read.records()]).toMatchObject([{ record: { size: 2 } }]);
    expect(await splice(twice)).toEqual(JSON.parse(twice));
    expect(read.neededChanges()).toHaveLength(1);
  });

  test('of equal sections the last one counts as a whole', async () => {
    const text = `{"packages":{${record('a-1-0.tar.bz2')}},"packages":{${record('b-1-0.tar.bz2')}}}`;
    expect([...(await repodata(text)).filenames()]).toEqual(['b-1-0.tar.bz2']);
    expect(await splice(text)).toEqual(JSON.parse(text));
    expect((await repodata(text)).neededChanges()).toHaveLength(1);
  });

  test('cep36: what is no text in `removed` is passed over', async () => {
    expect([...(await repodata('{"removed":["a-1-0.conda",5,null,"b-1-0.conda"]}')).removed()]).toEqual([
      'a-1-0.conda',
      'b-1-0.conda',
    ]);
    expect((await repodata('{"removed":{"a":1}}')).removed().size).toBe(0);
  });

  test('cep15/base-url: the base URL is read where there is one', async () => {
    expect((await repodata('{"info":{"base_url":"https://example.org/x/"}}')).baseUrl).toBe(
      'https://example.org/x/',
    );
    expect((await repodata('{"info":{"base_url":""}}')).baseUrl).toBeUndefined();
    expect((await repodata('{"info":{"base_url":7}}')).baseUrl).toBeUndefined();
    expect((await repodata('{}')).baseUrl).toBeUndefined();
  });
});

describe('where an archive lies', () => {
  const urlOf = async (base: string, member = ''): Promise<unknown> => {
    const text = `{"info":{"base_url":"${base}"},"packages.conda":{${record('a-1!0-0.conda', member)}}}`;
    const [read] = (await repodata(text)).records();
    return read !== undefined && 'record' in read ? read.record.url : read;
  };

  test('cep15/download-url: the base stands in front of the file name', async () => {
    expect(await urlOf('https://example.org/x/')).toBe('https://example.org/x/a-1!0-0.conda');
    expect(await urlOf('https://example.org/x')).toBe('https://example.org/x/a-1!0-0.conda');
    expect(await urlOf('../files/')).toBe('../files/a-1!0-0.conda');
    expect(await urlOf('')).toBeUndefined();
  });

  test('cep151/resolution: the base stands in front of a relative `url`; an absolute one stands for itself', async () => {
    expect(await urlOf('https://example.org/x/', ',"url":"y/b.conda"')).toBe(
      'https://example.org/x/y/b.conda',
    );
    expect(await urlOf('https://example.org/x/', ',"url":"https://other.example/b.conda"')).toBe(
      'https://other.example/b.conda',
    );
    expect(await urlOf('', ',"url":"y/b.conda"')).toBe('y/b.conda');
  });
});

describe('splicing', () => {
  const odd = `{"x_first" : [1e5, 1.0,-0, 12345678901234567890],
  "info": { "subdir": "linux-64", "x_number": 1.50 },
  "packages" : {
    "a-1-0.tar.bz2" :  {"name":"a","version":"1","build":"0", "size":1e3, "x":[1.0,2.00,1E400],"\\u0078y":"\\u00e9é"},
    ${record('b-1-0.tar.bz2', ',"build_number":123456789012345678901')}
  },
  "packages.conda":{${record('c-1-0.conda')}},
  "removed":["gone-1-0.conda"],
  "signatures":{"b-1-0.tar.bz2":{"k":{"signature":"00"}}},
  "repodata_version" : 1
}`;

  test('cep36/unknown-keys: kept records and all other members stay byte for byte, number spellings included', async () => {
    const result = await spliced(await repodata(odd), (filename) => filename === 'a-1-0.tar.bz2');
    expect(result).toBe(
      `{"x_first" : [1e5, 1.0,-0, 12345678901234567890],"info": { "subdir": "linux-64", "x_number": 1.50 },` +
        `"packages":{"a-1-0.tar.bz2" :  {"name":"a","version":"1","build":"0", "size":1e3, "x":[1.0,2.00,1E400],"\\u0078y":"\\u00e9é"}},` +
        `"packages.conda":{},"removed":["gone-1-0.conda"],"signatures":{"b-1-0.tar.bz2":{"k":{"signature":"00"}}},"repodata_version" : 1}\n`,
    );
  });

  test('keeping all says the same as the original', async () => {
    expect(await splice(odd)).toEqual(JSON.parse(odd));
  });

  test('is itself repodata that needs no change, and splices to itself', async () => {
    const once = await spliced(await repodata(odd));
    const again = await repodata(once, 'linux-64');
    expect(again.neededChanges()).toEqual([]);
    expect(await spliced(again, () => true)).toBe(once);
  });

  test('cep15/mirror-without-base-url: `info.base_url` goes and the version is 1 again, at the top and in `info`', async () => {
    const text = `{"info":{"subdir":"linux-64","base_url":"https://example.org/","x":1.0,"repodata_version":2},"repodata_version":2}`;
    expect((await repodata(text)).neededChanges()).toHaveLength(1);
    expect(await spliced(await repodata(text), () => true)).toBe(
      '{"info":{"subdir":"linux-64","x":1.0,"repodata_version":1},"repodata_version":1}\n',
    );
  });

  test('cep15: the version stays as it is where there is no base URL', async () => {
    expect(await splice('{"repodata_version":2,"info":{"repodata_version":2}}')).toEqual({
      repodata_version: 2,
      info: { repodata_version: 2 },
    });
  });

  test('cep42/neighbour-exists: `info.channel_relations` goes, whose neighbours are not mirrored', async () => {
    const text = '{"info":{"channel_relations":{"base":"../conda-forge"},"subdir":"linux-64"}}';
    expect((await repodata(text)).neededChanges()).toHaveLength(1);
    expect(await splice(text)).toEqual({ info: { subdir: 'linux-64' } });
  });

  test.each([
    '"url":"https://example.org/a"',
    '"\\u0075\\u0072l":"a"',
    '"url":5',
    '"url":null,"url":"a"',
    '"url":"a","url":null',
  ])(
    'cep151/mirror-without-url: %s of a record goes, without asking for its records first, and the rest of it stays byte for byte',
    async (member) => {
      const text = `{"packages":{"a-1-0.tar.bz2": {"name":"a",${member}, "x":1.0,"big":12345678901234567890},${record('b-1-0.tar.bz2')}}}`;
      const read = await repodata(text);
      expect(read.neededChanges()).toHaveLength(1);
      const rest = member.includes('"url":null') ? '"name":"a","url":null,"x":1.0' : '"name":"a","x":1.0';
      expect(await spliced(read, () => true)).toBe(
        `{"packages":{"a-1-0.tar.bz2": {${rest},"big":12345678901234567890},\n${record('b-1-0.tar.bz2')}}}\n`,
      );
    },
  );

  test('cep151: a record whose `url` is null, or stands deeper, needs no change', async () => {
    const text = `{"packages":{"a-1-0.tar.bz2": {"name":"a","url": null, "about":{"url":"x"}}}}`;
    expect((await repodata(text)).neededChanges()).toEqual([]);
    expect(await spliced(await repodata(text), () => true)).toBe(`${text}\n`);
  });

  test('values nested deeply do not use up the stack', async () => {
    const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
    const text = `{"info":{"base_url":"x","deep":${deep}},"packages":{${record('a-1-0.tar.bz2', `,"url":"u","deep":${deep}`)}},"x":${deep}}`;
    const result = await spliced(await repodata(text));
    expect(result).toBe(text.replace('"base_url":"x",', '').replace(',"url":"u"', '') + '\n');
  });

  test('records of another repodata are listed as they stand there, behind those of their section', async () => {
    const other = await repodata(
      `{"packages":{ ${record('x-1-0.tar.bz2', ', "size": 1.0')} ,${record('a-1-0.tar.bz2', ',"size":9')}},"packages.conda":{${record('y-1-0.conda')},${record('z-1-0.conda')}}}`,
    );
    const filenames = new Set(['x-1-0.tar.bz2', 'y-1-0.conda', 'a-1-0.tar.bz2', 'absent-1-0.conda']);
    const text = `{"packages":{${record('a-1-0.tar.bz2')},${record('b-1-0.tar.bz2')}}}`;
    const keep = (filename: string): boolean => filename === 'b-1-0.tar.bz2';
    const result = await spliced(await repodata(text), keep, { repodata: other, filenames });
    expect(result).toBe(
      `{"packages":{${record('b-1-0.tar.bz2')},\n${record('x-1-0.tar.bz2', ', "size": 1.0')}},"packages.conda":{${record('y-1-0.conda')}}}\n`,
    );
  });

  test('cep151/mirror-without-url: `url` goes from records of another repodata too', async () => {
    const other = await repodata(
      `{"packages":{${record('x-1-0.tar.bz2', ',"url":"https://example.org/"')}}}`,
    );
    const result = await splice('', () => true, { repodata: other, filenames: new Set(['x-1-0.tar.bz2']) });
    expect(result.packages).toEqual({ 'x-1-0.tar.bz2': { name: 'x', version: '1', build: '0' } });
  });

  test('more records of another repodata are taken than a call has room for arguments', async () => {
    const names = Array.from({ length: 130_000 }, (_, i) => `p${i}-1-0.conda`);
    const other = await repodata(
      `{"packages.conda":{${names.map((name) => `"${name}":{}`).join()}}}`,
      'linux-64',
      65536,
    );
    const result = await splice('{}', () => true, { repodata: other, filenames: new Set(names) });
    expect(Object.keys(result['packages.conda'] ?? {})).toHaveLength(names.length);
  });
});

test('errors of repodata are FerryErrors', async () => {
  expect(await refusal('{')).toBeInstanceOf(FerryError);
});

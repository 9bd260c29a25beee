import { openArchiveFile } from '#ferry/conda/archive/archive-file.js';
import { surveyCondaEntries, type CondaFault } from '#ferry/conda/archive/conda-zip.js';
import { readInfo } from '#ferry/conda/archive/read-info.js';
import { describe, expect, it } from 'vitest';
import { condaArchive } from '../../../fixtures/build/archive.mjs';
import { concat, toBytes } from '../../../fixtures/build/bytes.mjs';
import { centralDirectoryOffset } from '../../../fixtures/build/zip.mjs';
import type { ZipEntry } from '../../../fixtures/build/zip.mjs';
import { codeOf } from './streams.js';

type Arrange = (entries: readonly ZipEntry[]) => readonly ZipEntry[];

const spec = { name: 'ferry', version: '1.0', build: '0', subdir: 'noarch' };
const entry = (name: string, content = ''): ZipEntry => ({ name, bytes: toBytes(content) });
const metadata = (content: string) => (entries: readonly ZipEntry[]) => [
  entry('metadata.json', content),
  ...entries.slice(1),
];

async function outcome(
  entries: Arrange,
  options: { zip64?: boolean; dataDescriptor?: boolean } = {},
): Promise<unknown> {
  return codeOf(readInfo({ bytes: condaArchive({ ...spec, zip: { entries, ...options } }) }, 'conda'));
}

/** The archive with some bytes of it written over. */
function patched(change: (view: DataView, bytes: Uint8Array) => void): Uint8Array {
  const bytes = condaArchive(spec);
  change(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), bytes);
  return bytes;
}

describe('the zip of a .conda', () => {
  const orders = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
  ];

  it.each([{}, { zip64: true }, { dataDescriptor: true }, { zip64: true, dataDescriptor: true }])(
    'CEP 35: is read in any order, with %o',
    async (options) => {
      for (const order of orders) {
        const arrange: Arrange = (entries) => order.flatMap((index) => entries[index] ?? []);
        expect(await outcome(arrange, options), order.join()).toBe('no error');
      }
    },
  );

  it('may have further entries at the top level', async () => {
    expect(await outcome((entries) => [entry('README', 'x'), ...entries, entry('info.txt')])).toBe(
      'no error',
    );
  });

  it.each<[string, string, Arrange]>([
    ['ARCHIVE_ENTRY_UNEXPECTED', 'a folder', (entries) => [...entries, entry('d/')]],
    ['ARCHIVE_ENTRY_UNEXPECTED', 'an entry in a folder', (entries) => [...entries, entry('d\\x')]],
    ['ARCHIVE_ENTRY_UNEXPECTED', 'a harmless entry twice', (entries) => [...entries, entry('x'), entry('x')]],
    [
      'ARCHIVE_ENTRY_UNEXPECTED',
      'a second metadata.json',
      (entries) => [...entries, entry('metadata.json', '{}')],
    ],
    [
      'ARCHIVE_ENTRY_UNEXPECTED',
      'a second pkg tarball',
      (entries) => [...entries, entry('pkg-other-1-0.tar.zst')],
    ],
    ['ARCHIVE_PATH_UNSAFE', 'a drive letter', (entries) => [...entries, entry('c:x')]],
    ['ARCHIVE_PATH_UNSAFE', 'an entry without a name', (entries) => [...entries, entry('')]],
    ['ARCHIVE_PATH_UNSAFE', 'a NUL in a name', (entries) => [...entries, entry('x\0y')]],
    ['ARCHIVE_PATH_UNSAFE', 'a name that leaves on Windows', (entries) => [...entries, entry('..\\x')]],
    [
      'ARCHIVE_ENTRY_COMPRESSED',
      'a deflated pkg',
      (entries) => entries.map((e) => ({ ...e, deflated: e.name.startsWith('pkg') })),
    ],
    [
      'ARCHIVE_ENTRY_COMPRESSED',
      'a deflated README',
      (entries) => [...entries, { ...entry('README', 'x'), deflated: true }],
    ],
    [
      'ARCHIVE_LIMIT_EXCEEDED',
      'thousands of entries',
      (entries) => [...entries, ...Array.from({ length: 1000 }, (_, i) => entry(`${i}`))],
    ],
    ['ARCHIVE_LIMIT_EXCEEDED', 'a long metadata.json', metadata(' '.repeat(70_000))],
    [
      'ARCHIVE_CORRUPT',
      'a wrong CRC of metadata.json',
      (entries) => entries.map((e, i) => (i === 0 ? { ...e, crc: 1 } : e)),
    ],
    ['ARCHIVE_FORMAT_VERSION', 'version 1', metadata('{"conda_pkg_format_version": 1}')],
    ['ARCHIVE_FORMAT_VERSION', 'a version that is text', metadata('{"conda_pkg_format_version": "2"}')],
    ['ARCHIVE_FORMAT_VERSION', 'null', metadata('null')],
    ['ARCHIVE_FORMAT_VERSION', 'an empty metadata.json', metadata('')],
  ])('is refused with %s for %s', async (code, _what, arrange) => {
    expect(await outcome(arrange)).toBe(code);
  });

  it('is refused where the directory points outside or at something else', async () => {
    const directory = centralDirectoryOffset(condaArchive(spec));
    const cases: [string, string, (view: DataView, bytes: Uint8Array) => void][] = [
      [
        'ARCHIVE_ENTRY_COMPRESSED',
        'encrypted',
        (view) => {
          view.setUint16(directory + 8, 1, true);
        },
      ],
      [
        'ARCHIVE_CORRUPT',
        'strongly encrypted',
        (view) => {
          view.setUint16(directory + 8, 0x41, true);
        },
      ],
      [
        'ARCHIVE_CORRUPT',
        'two sizes',
        (view) => {
          view.setUint32(directory + 20, 1, true);
        },
      ],
      [
        'ARCHIVE_CORRUPT',
        'local header elsewhere',
        (view) => {
          view.setUint32(directory + 42, 1, true);
        },
      ],
      [
        'ARCHIVE_CORRUPT',
        'local header outside',
        (view) => {
          view.setUint32(directory + 42, 1_000_000, true);
        },
      ],
      [
        'ARCHIVE_CORRUPT',
        'another local name',
        (_view, bytes) => {
          bytes[30] = 0x4d;
        },
      ],
      [
        'ARCHIVE_CORRUPT',
        'another local method',
        (view) => {
          view.setUint16(8, 8, true);
        },
      ],
      [
        'ARCHIVE_CORRUPT',
        'local header too long',
        (view) => {
          view.setUint16(28, 65535, true);
        },
      ],
      [
        'ARCHIVE_CORRUPT',
        'no directory there',
        (view, bytes) => {
          view.setUint32(bytes.byteLength - 6, 1, true);
        },
      ],
      [
        'ARCHIVE_CORRUPT',
        'several disks',
        (view, bytes) => {
          view.setUint16(bytes.byteLength - 18, 3, true);
        },
      ],
      [
        'ARCHIVE_CORRUPT',
        'pkg outside',
        (view) => {
          const pkg = directory + 46 + view.getUint16(directory + 28, true);
          view.setUint32(pkg + 20, 2 ** 31, true);
          view.setUint32(pkg + 24, 2 ** 31, true);
        },
      ],
    ];
    for (const [code, what, change] of cases) {
      expect(await codeOf(readInfo({ bytes: patched(change) }, 'conda')), what).toBe(code);
    }
    const behind = concat([condaArchive(spec), new Uint8Array(3)]);
    expect(await codeOf(readInfo({ bytes: behind }, 'conda'))).toBe('ARCHIVE_CORRUPT');
  });
});

describe('surveyCondaEntries', () => {
  async function survey(entries: Arrange): Promise<readonly [unknown, readonly string[]]> {
    await using file = await openArchiveFile({ bytes: condaArchive({ ...spec, zip: { entries } }) });
    const faults: CondaFault[] = [];
    const found = await surveyCondaEntries(file, (fault) => faults.push(fault));
    return [found, faults.map((fault) => `${fault.kind} ${fault.entry}`)];
  }

  it('CEP 35: tells every fault, and finds what is there all the same', async () => {
    const [found, faults] = await survey(([, pkg, info]) => [
      entry('../evil'),
      entry('d/x'),
      entry('README'),
      ...(info === undefined ? [] : [{ ...info, deflated: true }]),
      ...(pkg === undefined ? [] : [pkg, pkg]),
    ]);
    expect(faults).toEqual([
      ...['path ../evil', 'nested d/x', 'compressed info-ferry-1.0-0.tar.zst'],
      ...['duplicate pkg-ferry-1.0-0.tar.zst', 'missing metadata.json'],
    ]);
    expect(found).toMatchObject({
      ...{ metadata: undefined, info: undefined, pkg: { name: 'pkg-ferry-1.0-0.tar.zst' } },
      ...{ others: ['README'] },
    });
  });

  it('CEP 35: tells of tarballs of two packages', async () => {
    const [found, faults] = await survey((entries) =>
      entries.map((each) => (each.name.startsWith('info-') ? { ...each, name: 'info-x-1-0.tar.zst' } : each)),
    );
    expect(faults).toEqual(['stem pkg-ferry-1.0-0.tar.zst']);
    expect(found).toMatchObject({
      stems: new Map([
        ['pkg-ferry-1.0-0.tar.zst', 'ferry-1.0-0'],
        ['info-x-1-0.tar.zst', 'x-1-0'],
      ]),
    });
  });

  it('ends where its listener throws', async () => {
    await using file = await openArchiveFile({
      bytes: condaArchive({ ...spec, zip: { entries: () => [entry('a/b')] } }),
    });
    const stop = new Error('stop');
    const listener = (): void => {
      throw stop;
    };
    await expect(surveyCondaEntries(file, listener)).rejects.toBe(stop);
  });
});

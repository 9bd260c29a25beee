import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { writeInfoLayer } from '#ferry/artifact/info-layer.js';
import { writeUstar } from '#ferry/artifact/ustar.js';
import type { InfoMember } from '#ferry/conda/archive/read-info.js';
import { digestOf } from '#ferry/io/digest.js';
import { incompressible } from '../../fixtures/build/bytes.mjs';

const KIB = 1024;

function file(path: string, bytes: Uint8Array): InfoMember {
  return { path, type: 'file', mode: 0o644, bytes };
}

/** The tar that members become. */
function tarOf(members: readonly InfoMember[]): Uint8Array {
  return writeUstar(members.map((member) => (member.type === 'file' ? member : { ...member, mode: 0o755 })));
}

describe('the info layer', () => {
  test('is gzip without name, time or flags', () => {
    const layer = writeInfoLayer([file('index.json', Buffer.from('{}'))]);
    expect(Buffer.from(layer.subarray(0, 10)).toString('hex')).toMatch(/^1f8b0800000000000003$/);
  });

  test('keeps its bytes from version to version', () => {
    const members: InfoMember[] = [
      file('about.json', Buffer.from('{"home": "https://ferry.example"}\n'.repeat(5000))),
      file('noise', incompressible(200 * KIB)),
      { path: 'script', type: 'symlink', target: 'recipe/build.sh' },
    ];
    expect(digestOf(writeInfoLayer(members))).toBe(
      'sha256:d6c3e4a619306dc5be40f6686a79977615cb34880ea30506fa4d0362567025a0',
    );
    expect(digestOf(writeInfoLayer([]))).toBe(
      'sha256:9bd6d852dcb8ea52105f178caf8446908c59a039f3a0181d13b86aebf4b7b21a',
    );
  });

  // With headers and the two empty blocks the tar has 1,536 bytes more than its one file.
  test.each([64, 128, 192, 1024])(
    'unpacks where the tar has %i KiB, to the byte, and one block around it',
    (kib) => {
      for (const blocks of [-1, 0, 1]) {
        const members = [file('noise', incompressible(kib * KIB - 1536 + blocks * 512))];
        const tar = tarOf(members);
        expect(tar.byteLength).toBe(kib * KIB + blocks * 512);
        expect(gunzipSync(writeInfoLayer(members)).equals(tar)).toBe(true);
      }
    },
  );

  test('of no members is an empty tar', () => {
    expect(gunzipSync(writeInfoLayer([])).equals(Buffer.alloc(1024))).toBe(true);
  });

  test('is the same each time, wherever in memory the members lie, and unpacks to their tar', () => {
    const member = fc.record({
      path: fc.stringMatching(/^[a-z/é]{1,120}$/),
      bytes: fc.uint8Array({ maxLength: 3000 }),
    });
    fc.assert(
      fc.property(fc.array(member, { maxLength: 60 }), fc.nat(9), (found, offset) => {
        const members = found.map(({ path, bytes }) => file(path, bytes));
        const moved = found.map(({ path, bytes }) => {
          const buffer = Buffer.concat([Buffer.alloc(offset), bytes]);
          return file(path, new Uint8Array(buffer.buffer, buffer.byteOffset + offset, bytes.byteLength));
        });
        const layer = writeInfoLayer(members);
        expect(Buffer.from(layer).equals(writeInfoLayer(moved))).toBe(true);
        expect(gunzipSync(layer).equals(tarOf(members))).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  test('a symlink has one mode on every system', () => {
    const tar = gunzipSync(writeInfoLayer([{ path: 'a', type: 'symlink', target: 'b' }]));
    expect(tar.subarray(100, 107).toString()).toBe('0000755');
  });
});

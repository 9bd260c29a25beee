import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareVersions } from '#ferry/conda/version-order.js';

/** Lowest first; on one line what is equal. @see CEP 33, "Version ordering" */
const ORDER: readonly (readonly string[])[] = [
  [''],
  ['..'],
  ['0.4', '0.4.0', '00.4'],
  ['0.4.1.rc', '0.4.1.RC'],
  ['0.4.1'],
  ['0.5a1'],
  ['0.5b3', '0.5B3'],
  ['0.5'],
  ['0.9.6'],
  ['0.960923'],
  ['1.0dev1'],
  ['1.0_'],
  ['1.0a1'],
  ['1.0rc1'],
  ['1.0+abc'],
  ['1.0', '1'],
  ['1.0+1'],
  ['1.0.post1'],
  ['1.0.1c'],
  ['1.0.1', '1.0_1', '1.0-1'],
  ['1.1dev1'],
  ['1.1.0dev1', '1.1.dev1'],
  ['1.1'],
  ['1.10'],
  ['1996.07.12'],
  ['1!0.4.1'],
  ['1!3.1.1.6'],
  ['2!0.4.1'],
];

describe('versions', () => {
  test('cep33: stand in their order', () => {
    for (const [index, row] of ORDER.entries()) {
      for (const [other, column] of ORDER.entries()) {
        for (const a of row) {
          for (const b of column) {
            expect(Math.sign(compareVersions(a, b)) + 0, `${a} and ${b}`).toBe(Math.sign(index - other));
          }
        }
      }
    }
  });

  test('the order is one, whatever is compared', () => {
    const unit = fc.constantFrom('0', '1', '10', '.', '_', '-', '!', '+', 'a', 'rc', 'dev', 'post', '*', 'ü');
    const version = fc.string({ unit, maxLength: 6 });
    fc.assert(
      fc.property(version, version, version, (a, b, c) => {
        expect(compareVersions(a, a)).toBe(0);
        expect(Math.sign(compareVersions(a, b)) + Math.sign(compareVersions(b, a))).toBe(0);
        if (compareVersions(a, b) <= 0 && compareVersions(b, c) <= 0) {
          expect(compareVersions(a, c)).toBeLessThanOrEqual(0);
        }
      }),
      { numRuns: 2000 },
    );
  });

  test('more versions than are kept are ordered all the same', () => {
    for (let minor = 0; minor < 25_000; minor++) {
      expect(compareVersions(`1.${String(minor)}`, `1.${String(minor + 1)}`)).toBe(-1);
    }
    expect(compareVersions('1.0', '1.24999')).toBe(-1);
  });
});

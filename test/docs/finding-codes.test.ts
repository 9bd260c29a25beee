import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { FINDING_CODES } from '#ferry/mirror/verify/findings.js';
import { ROOT } from '../support/ferry.js';

test('docs/verify.md lists every finding with its meaning, and no other', () => {
  const text = readFileSync(join(ROOT, 'docs', 'verify.md'), 'utf8');
  const rows = [...text.matchAll(/^\| `([A-Z_]+)` +\| (.+?) +\|/gm)].map(([, code, meaning]) => [
    code,
    meaning,
  ]);
  expect(Object.fromEntries(rows)).toEqual(FINDING_CODES);
});

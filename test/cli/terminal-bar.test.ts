import { Writable } from 'node:stream';
import { expect, test } from 'vitest';
import { clearFoot, say, type Output } from '#ferry/cli/output.js';
import { createProgress } from '#ferry/cli/progress.js';

const SAVE = '\u001b7';
const SHOW_CURSOR = '\u001b[?25h';
const RESTORE = '\u001b8';

/** A terminal, and what was written to it. */
function terminal(): { output: Output; text: () => string } {
  let text = '';
  const stream = Object.assign(
    new Writable({
      write: (chunk: Buffer, _, done) => {
        text += chunk.toString();
        done();
      },
    }),
    { isTTY: true },
  );
  return { output: { stdout: stream, stderr: stream }, text: () => text };
}

test('what is said while a bar stands is not drawn over by it', () => {
  const { output, text } = terminal();
  const progress = createProgress(output, {});
  const archive = { subdir: 'noarch', filename: 'ferry-1.0-0.conda', bytes: 10 };
  progress.planned?.({ archives: 3, bytes: 30 });
  progress.archive?.(archive);
  progress.warning?.('noarch: one is not what it was');
  progress.archive?.(archive);
  say(output, 'something else');
  progress.archive?.(archive);
  progress.finish();
  say(output, 'after all');

  // The bar goes back to where its place was saved; no line may stand between the two.
  const parts = text().split(SAVE).slice(1);
  expect(parts).toHaveLength(3);
  const lines = parts.map((part) => part.slice(part.lastIndexOf(RESTORE)));
  for (const part of parts) expect(part.slice(0, part.lastIndexOf(RESTORE))).not.toContain('\n');
  expect(lines[0]).toContain('warning: noarch: one is not what it was\n');
  expect(lines[1]).toContain('something else\n');
  expect(lines[2]).toContain('after all\n');
  expect(parts[1]).toContain('1/3 archives, 10 B  ferry-1.0-0.conda');
});

test('a process that ends early gives the cursor back', () => {
  const { output, text } = terminal();
  createProgress(output, {}).planned?.({ archives: 3, bytes: 30 });
  clearFoot(output);
  say(output, 'the end');
  expect(text().lastIndexOf(SHOW_CURSOR)).toBeGreaterThan(text().lastIndexOf(SAVE));
  expect(text().split(SAVE)).toHaveLength(2);
});

test('without a terminal there is no bar', () => {
  const { output, text } = terminal();
  const progress = createProgress({ ...output, stderr: Object.assign(output.stderr, { isTTY: false }) }, {});
  progress.planned?.({ archives: 1, bytes: 10 });
  progress.finish();
  expect(text()).toBe('to move: 1 archive, 10 B\n');
});

// A process that uses a lock, driven by directory-lock.test.ts.
//   count PATH COUNTER TIMES   takes the lock TIMES times, each time adding 1 to the number in the file COUNTER
//   hold PATH OPTIONS          takes the lock and says `held`; then does what each line on stdin says:
//                              `assert` answers `still held` or the error code, `release` ends
import { readFile, writeFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { isFerryError } from '#ferry/errors.js';
import { acquireDirectoryLock } from '#ferry/io/directory-lock.js';

const [mode, path = '', ...rest] = process.argv.slice(2);

/** @param {string} line */
function say(line) {
  process.stdout.write(`${line}\n`);
}

/** @param {string} counter @param {number} times */
async function count(counter, times) {
  for (let i = 0; i < times; i += 1) {
    const lock = await acquireDirectoryLock(path);
    const value = Number(await readFile(counter, 'utf8'));
    await nextTurn();
    await writeFile(counter, String(value + 1));
    await lock.assertHeld();
    await lock[Symbol.asyncDispose]();
  }
}

/** @param {import('#ferry/io/directory-lock.js').DirectoryLockOptions} options */
async function hold(options) {
  const lock = await acquireDirectoryLock(path, options);
  say('held');
  for await (const line of createInterface({ input: process.stdin })) {
    if (line === 'release') break;
    try {
      await lock.assertHeld();
      say('still held');
    } catch (error) {
      say(isFerryError(error) ? error.code : String(error));
    }
  }
  await lock[Symbol.asyncDispose]();
  process.exit();
}

if (mode === 'count') await count(rest[0] ?? '', Number(rest[1]));
else {
  /** @type {unknown} */
  const options = JSON.parse(rest[0] ?? '{}');
  await hold(options ?? {});
}

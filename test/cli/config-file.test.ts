import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import { expect, onTestFinished, test } from 'vitest';
import { addConfigOption } from '#ferry/cli/config-file.js';
import { TempFolder } from '#ferry/io/temp-folder.js';

/** Runs a command with a config file, and tells the options that its action got. */
async function run(config: string, ...args: string[]): Promise<Record<string, unknown>> {
  const folder = await TempFolder.create();
  onTestFinished(() => folder[Symbol.asyncDispose]());
  const file = join(folder.path, 'config.yml');
  await writeFile(file, config);
  let seen: Record<string, unknown> = {};
  const collect = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];
  const program = new Command('ferry').exitOverride();
  const command = program
    .command('mirror')
    .option('--subdir <name...>', 'variadic')
    .option('--include <spec>', 'collected', collect)
    .option('--max-size <size>', 'single')
    .option('--concurrency <n>', 'parsed, with a default', Number, 16)
    .option('--deep', 'boolean')
    .option('--no-plain-json', 'negated')
    .action((options: Record<string, unknown>) => {
      seen = options;
    });
  addConfigOption(command);
  await program.parseAsync(['mirror', '--config', file, ...args], { from: 'user' });
  const { config: _, ...rest } = seen;
  return rest;
}

const DEFAULTS = { concurrency: 16, plainJson: true };

test('a file says what flags say, with values of any spelling', async () => {
  const config =
    'subdir: [noarch, linux-64]\ninclude:\n  - a >=1\n  - b\nmax-size: 1GB\nconcurrency: 4\ndeep: true\n';
  expect(await run(config)).toEqual({
    ...{ subdir: ['noarch', 'linux-64'], include: ['a >=1', 'b'], maxSize: '1GB' },
    ...{ concurrency: 4, deep: true, plainJson: true },
  });
  expect(await run('plain-json: false\nsubdir: noarch\n')).toEqual({
    ...{ concurrency: 16, plainJson: false, subdir: ['noarch'] },
  });
  expect(await run('')).toEqual(DEFAULTS);
});

test('flags count more', async () => {
  const seen = await run('concurrency: 4\ninclude: [a]\n', '--concurrency', '8', '--include', 'b');
  expect(seen).toEqual({ ...DEFAULTS, concurrency: 8, include: ['b'] });
});

test.each([
  ['a key that is no option', 'subdirs: [noarch]', 'no option of `mirror`'],
  ['a list where one value is taken', 'max-size: [1, 2]', 'takes one value'],
  ['a text for a switch', 'deep: maybe', 'true or false'],
  ['a nested value', 'subdir: {a: 1}', 'no text, number or list'],
  ['no mapping', '- a', 'no keys'],
  ['no YAML', 'a: [', 'no YAML'],
  ['a config in the config', 'config: other.yml', 'no option of `mirror`'],
])('%s is refused', async (_, config, message) => {
  await expect(run(config)).rejects.toMatchObject({
    code: 'USAGE',
    message: expect.stringContaining(message) as string,
  });
});

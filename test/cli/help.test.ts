import type { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { createProgram } from '#ferry/cli/program.js';
import { runFerry } from '../support/ferry-here.js';

const MIN_EXAMPLES = 2;
const MAX_COLUMNS = 80;

type Context = Parameters<typeof createProgram>[0];

/** All commands, those below others too, as the words that call them. */
function commandsOf(
  command: Command,
  words: readonly string[] = [],
): { words: string[]; command: Command }[] {
  return command.commands.flatMap((below) => {
    const called = [...words, below.name()];
    return [{ words: called, command: below }, ...commandsOf(below, called)];
  });
}

const { stdout, stderr } = process;
const program = createProgram({ output: { stdout, stderr } } as unknown as Context);
const commands = commandsOf(program)
  // What only gathers others has its examples there.
  .filter(({ command }) => command.commands.length === 0)
  .map(({ words, command }) => ({ verb: words.join(' '), words, command }));

test('there are verbs to look at', () => {
  expect(commands.length).toBeGreaterThan(10);
});

describe.each(commands)('help of $verb', ({ verb, words, command }) => {
  test('has two examples at least, with flags that there are', async () => {
    const { code, stdout: help } = await runFerry([...words, '--help']);
    expect(code).toBe(0);
    const [, examples = ''] = help.split(/^Examples.*:$/m);
    // A line that ends in a backslash goes on in the next.
    const lines = examples.replaceAll(/\\\n\s*/g, '').split('\n');
    // Without what comes before it in a pipe.
    const calls = lines
      .filter((line) => line.startsWith('  ') && line.includes(`conda-ferry ${verb} `))
      .map((line) => line.slice(line.indexOf('conda-ferry ')));
    expect(calls.length, examples).toBeGreaterThanOrEqual(MIN_EXAMPLES);
    const known = command.options.flatMap(({ short, long }) => [short, long]);
    const used = calls.flatMap((call) =>
      [...call.matchAll(/ (-{1,2}[a-z][a-z-]*)/g)].map(([, flag]) => flag),
    );
    for (const flag of used) expect(known).toContain(flag);
  });

  test('fits into 80 columns', async () => {
    const { stdout: help } = await runFerry([...words, '--help']);
    expect(help.split('\n').filter((line) => line.length > MAX_COLUMNS)).toEqual([]);
  });
});

import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { FerryError } from '../errors.js';
import type { CommandContext } from './context.js';

/** Asks a person at the terminal; a secret is not shown. @throws FerryError `USAGE` where there is no terminal */
export async function ask(
  question: string,
  { stdin, output, signal }: Pick<CommandContext, 'stdin' | 'output' | 'signal'>,
  options: { readonly secret?: boolean } = {},
): Promise<string> {
  if (!stdin.isTTY) {
    throw new FerryError('USAGE', 'nobody is there to ask for user name and password', {
      hint: 'pass --username NAME --password-stdin',
    });
  }
  const isSecret = options.secret === true;
  const muted = new Writable({
    write: (_chunk, _encoding, done: () => void) => {
      done();
    },
  });
  const lines = createInterface({ input: stdin, output: isSecret ? muted : output.stderr, terminal: true });
  // The terminal gives Ctrl+C to whoever reads keys; it is meant for the whole command.
  lines.once('SIGINT', () => process.kill(process.pid, 'SIGINT'));
  // The input may end without a word to the question.
  const left = new Promise<never>((_, reject) => {
    lines.once('close', () => {
      reject(new Error('the input ended'));
    });
  });
  // Only now that keys come one by one: one that came before would be taken by the terminal itself.
  if (isSecret) output.stderr.write(question);
  try {
    // What was written before would be wiped off the line.
    return await Promise.race([lines.question(isSecret ? '' : question, { signal }), left]);
  } catch (error) {
    signal.throwIfAborted();
    throw new FerryError('USAGE', 'the question was left without an answer', { cause: error });
  } finally {
    lines.close();
    if (isSecret) output.stderr.write('\n');
  }
}

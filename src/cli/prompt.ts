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
  output.stderr.write(question);
  const echo =
    options.secret === true
      ? new Writable({
          write: (_chunk, _encoding, done: () => void) => {
            done();
          },
        })
      : output.stderr;
  const lines = createInterface({ input: stdin, output: echo, terminal: true });
  try {
    return await lines.question('', { signal });
  } finally {
    lines.close();
    if (options.secret === true) output.stderr.write('\n');
  }
}

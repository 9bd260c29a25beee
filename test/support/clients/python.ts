import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { testEnvironment } from '../ferry.js';

const run = promisify(execFile);

/** A Python of a test's own with packages of others, and a home folder in which it may leave what it likes. */
export interface ClientPython {
  /** The interpreter's path. */
  readonly path: string;
  readonly home: string;
  /** Path of a program that came with a package, such as `conda-mirror`. */
  program(name: string): string;
  /** Runs a script to its end and gives what it printed. */
  script(text: string, args: readonly string[], options?: ScriptOptions): Promise<string>;
}

/** Options of a script. */
export interface ScriptOptions {
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
}

/**
 * Makes a Python with packages in a folder.
 * @param requirements such as `py-rattler==0.28.0`
 */
export async function clientPython(folder: string, requirements: readonly string[]): Promise<ClientPython> {
  const home = join(folder, 'home');
  await mkdir(home, { recursive: true });
  await run('python3', ['-m', 'venv', folder]);
  if (requirements.length > 0) {
    const pip = ['install', '--quiet', '--disable-pip-version-check', ...requirements];
    await run(join(folder, 'bin', 'pip'), pip);
  }
  const path = join(folder, 'bin', 'python');
  let scripts = 0;
  return {
    path,
    home,
    program: (name) => join(folder, 'bin', name),
    script: async (text, args, { env = {} } = {}) => {
      const file = join(folder, `script-${(scripts += 1)}.py`);
      await writeFile(file, text);
      const { stdout } = await run(path, [file, ...args], {
        env: { ...testEnvironment(home), ...env },
        maxBuffer: 64 * 1024 * 1024,
      });
      return stdout;
    },
  };
}

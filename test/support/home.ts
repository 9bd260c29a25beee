import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { testEnvironment, type FerryOptions, type FerryResult } from './ferry.js';
import { runFerry } from './ferry-here.js';
import { tempFolder } from './temp.js';

/** Docker's credential file, below the home folder. */
export const DOCKER_FILE = '.docker/config.json';
/** Podman's, below the home folder. */
export const PODMAN_FILE = '.config/containers/auth.json';

/** A user's home folder with what he ran. */
export interface TestHome {
  readonly path: string;
  /** Absolute path of a file in it. */
  file(name: string): string;
  /** Writes a document as JSON, or a text as it is. */
  write(name: string, content: unknown): Promise<string>;
  /** A JSON document; `undefined` where there is none. */
  read(name: string): Promise<unknown>;
  /** Runs the command as this user, in the home folder and in this process. */
  run(args: readonly string[], options?: Omit<FerryOptions, 'node'>): Promise<FerryResult>;
}

/** Makes a home that goes away with the test. */
export async function testHome(): Promise<TestHome> {
  const path = await tempFolder();
  const file = (name: string): string => join(path, name);
  return {
    path,
    file,
    write: async (name, content) => {
      await mkdir(dirname(file(name)), { recursive: true });
      await writeFile(file(name), typeof content === 'string' ? content : JSON.stringify(content));
      return file(name);
    },
    read: async (name) => {
      const text = await readFile(file(name), 'utf8').catch(() => undefined);
      return text === undefined ? undefined : (JSON.parse(text) as unknown);
    },
    run: async (args, { env, ...options } = {}) =>
      runFerry(args, { cwd: path, ...options, env: { ...testEnvironment(path), ...env } }),
  };
}

/** A Docker credential file with these logins, such as `{'127.0.0.1:5000': ['me', 'secret']}`. */
export function authFileOf(logins: Readonly<Record<string, readonly [string, string]>>): {
  auths: Record<string, { auth: string }>;
} {
  const entries = Object.entries(logins).map(([key, [username, password]]) => [
    key,
    { auth: Buffer.from(`${username}:${password}`).toString('base64') },
  ]);
  return { auths: Object.fromEntries(entries) as Record<string, { auth: string }> };
}

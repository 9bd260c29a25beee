import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tempFolder } from './temp.js';

/** Real helper programs in a folder of the test's own. */
export interface TestHelpers {
  /** With a `PATH` on which they are, and nothing else. */
  readonly environment: Readonly<Record<string, string>>;
  /** Lines `verb stdin` of all runs so far. */
  calls(): Promise<readonly string[]>;
  /** Adds `docker-credential-<name>`, a shell script. */
  add(name: string, script: string): Promise<void>;
}

/** What a helper that has nothing says. */
export const NOT_FOUND = 'echo "credentials not found in native keychain"; exit 1';

/** Makes a folder for helpers, which goes away with the test. */
export async function testHelpers(): Promise<TestHelpers> {
  const folder = await tempFolder();
  const log = join(folder, 'calls.log');
  const bin = join(folder, 'bin');
  await mkdir(bin);
  await writeFile(log, '');
  return {
    environment: { PATH: `${bin}:/usr/bin:/bin`, HELPER_STORE: join(folder, 'store') },
    calls: async () => (await readFile(log, 'utf8')).split('\n').slice(0, -1),
    add: async (name, script) => {
      const path = join(bin, `docker-credential-${name}`);
      await writeFile(path, `#!/bin/sh\ninput="$(cat)"\necho "$1 $input" >>"${log}"\n${script}\n`);
      await chmod(path, 0o755);
    },
  };
}

/** A helper that keeps one file per server in `$HELPER_STORE`, as the real ones do in a keychain. */
export const KEEPING_HELPER = `
mkdir -p "$HELPER_STORE"
file() { echo "$HELPER_STORE/$(echo "$1" | tr -c 'A-Za-z0-9\\n' _)"; }
case "$1" in
  store) server="$(echo "$input" | sed 's/.*"ServerURL":"\\([^"]*\\)".*/\\1/')"; echo "$input" >"$(file "$server")";;
  get) f="$(file "$input")"; if [ -e "$f" ]; then cat "$f"; else ${NOT_FOUND}; fi;;
  erase) f="$(file "$input")"; if [ -e "$f" ]; then rm "$f"; else ${NOT_FOUND}; fi;;
  list) echo "{}";;
esac`;

import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { PY_RATTLER } from './rattler.js';

const run = promisify(execFile);

// Reads a list of specs and a repodata file, and says of each spec what rattler makes of it. rattler panics on some specs,
// and writes of it on stderr at length.
const MATCHER = `
import json, sys
from rattler import Channel, MatchSpec, RepoData

specs = json.load(open(sys.argv[1]))
records = RepoData.from_path(sys.argv[2]).into_repo_data(Channel("r"))
answers = []
for text in specs:
    try:
        spec = MatchSpec(text, strict=False, exact_names_only=False)
    except BaseException:
        answers.append(None)
        continue
    try:
        canonical = spec.to_canonical_string()
    except Exception:
        canonical = None
    matches = [record.file_name for record in records if spec.matches(record)]
    answers.append({"canonical": canonical, "subdir": spec.subdir, "filename": spec.file_name, "matches": matches})
json.dump(answers, sys.stdout)
`;

const ORDER = `
import json, sys
from rattler import Version

versions = []
for text in json.load(open(sys.argv[1])):
    try:
        versions.append(Version(text))
    except Exception:
        versions.append(None)
def compare(a, b):
    return "?" if a is None or b is None else "<" if a < b else ">" if a > b else "="
json.dump(["".join(compare(a, b) for b in versions) for a in versions], sys.stdout)
`;

/** What rattler makes of a spec; null if it refuses it. */
export type RattlerAnswer = {
  readonly canonical: string | null;
  readonly subdir: string | null;
  readonly filename: string | null;
  /** File names of the records. Subdir and file name are not among what rattler matches. */
  readonly matches: readonly string[];
} | null;

/** rattler for Python in an environment of its own. */
export interface RattlerOracle extends AsyncDisposable {
  readonly match: (specs: readonly string[], repodataFile: string) => Promise<readonly RattlerAnswer[]>;
  /** For each version a line of `<`, `=`, `>`, or `?` where one of them is no version. */
  readonly order: (versions: readonly string[]) => Promise<readonly string[]>;
}

/** Installs rattler for Python. */
export async function openRattlerOracle(): Promise<RattlerOracle> {
  const folder = await mkdtemp(join(tmpdir(), 'ferry-rattler-'));
  const python = join(folder, 'python');
  await run('python3', ['-m', 'venv', python]);
  await run(join(python, 'bin', 'pip'), ['install', '--quiet', PY_RATTLER]);
  const ask = async (script: string, input: unknown, ...args: readonly string[]): Promise<unknown> => {
    const [scriptFile, inputFile] = [join(folder, 'script.py'), join(folder, 'input.json')];
    await writeFile(scriptFile, script);
    await writeFile(inputFile, JSON.stringify(input));
    const { stdout } = await run(join(python, 'bin', 'python'), [scriptFile, inputFile, ...args], {
      maxBuffer: 512 * 1024 * 1024,
    });
    return JSON.parse(stdout);
  };
  return {
    match: async (specs, repodataFile) =>
      (await ask(MATCHER, specs, repodataFile)) as readonly RattlerAnswer[],
    order: async (versions) => (await ask(ORDER, versions)) as readonly string[],
    [Symbol.asyncDispose]: async () => rm(folder, { recursive: true, force: true }),
  };
}

/** Packages that pull unpacks, as rattler sees them: unpacked by rattler itself, and as its package cache. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, expect, test } from 'vitest';
import { FIXTURE_CHANNEL, HAS_REAL_CHANNELS, realChannel } from '../support/channels.js';
import { runFerry, testEnvironment } from '../support/ferry.js';
import { pythonWithRattler } from '../support/rattler.js';
import { tempFolder } from '../support/temp.js';

const run = promisify(execFile);

// Unpacks each archive of a package cache with rattler, and prints what lies elsewhere than in the cache.
const COMPARE = `
import hashlib, json, os, stat, sys, tempfile
from rattler.package_streaming import extract

def survey(root):
    found = {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(folder, name)
            key, status = os.path.relpath(path, root), os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                found[key] = ["link", os.readlink(path)]
            elif stat.S_ISREG(status.st_mode):
                digest = hashlib.sha256(open(path, "rb").read()).hexdigest()
                found[key] = ["file", digest, bool(status.st_mode & 0o111)]
    found.pop("info/repodata_record.json", None)
    return found

cache, differing, count = sys.argv[1], {}, 0
for name in sorted(os.listdir(cache)):
    stem = name.removesuffix(".conda").removesuffix(".tar.bz2")
    if stem == name:
        continue
    folder = tempfile.mkdtemp()
    try:
        extract(os.path.join(cache, name), folder)
    except OSError as error:
        # It reads zips from front to back, where sizes may stand behind.
        assert name == "ferry-descriptor-1.0-0.conda", error
        continue
    theirs, ours = survey(folder), survey(os.path.join(cache, stem))
    count += 1
    if theirs != ours:
        keys = theirs.keys() | ours.keys()
        differing[name] = {key: [theirs.get(key), ours.get(key)] for key in keys if theirs.get(key) != ours.get(key)}
print(json.dumps({"count": count, "differing": differing}))
`;

// Installs all packages of a subdir out of a cache; their URLs lead nowhere.
const INSTALL = `
import asyncio, json, os, sys
from pathlib import Path
from rattler import Channel, PackageFormatSelection, SparseRepoData, Subdir, install

async def main():
    cache, repodata, prefix = sys.argv[1:]
    data = SparseRepoData(Channel("http://127.0.0.1:1/channel"), "noarch", repodata)
    records = {}
    for name in data.package_names(PackageFormatSelection.PREFER_CONDA):
        for record in data.load_records(name, PackageFormatSelection.PREFER_CONDA):
            if record.noarch.generic:
                records[record.name.normalized] = record
    await install(list(records.values()), prefix, cache_dir=Path(cache), platform=Subdir("linux-64"), show_progress=False)
    print(json.dumps({"installed": len(list(Path(prefix, "conda-meta").glob("*.json"))), "wanted": len(records)}))
    sys.stdout.flush()
    os._exit(0)

asyncio.run(main())
`;

let python: string;
const folder = mkdtempSync(join(tmpdir(), 'ferry-interop-'));
beforeAll(async () => {
  python = await pythonWithRattler(folder);
  await writeFile(join(folder, 'compare.py'), COMPARE);
  await writeFile(join(folder, 'install.py'), INSTALL);
  return () => {
    rmSync(folder, { recursive: true, force: true });
  };
});

async function runPython(script: string, ...args: string[]): Promise<unknown> {
  const { stdout } = await run(python, [join(folder, script), ...args], { env: testEnvironment() });
  return JSON.parse(stdout) as unknown;
}

/** Pulls a subdir into a package cache; archives that nobody can unpack do not matter. */
async function cacheOf(channel: string, subdir: string): Promise<string> {
  const cache = join(await tempFolder(), 'pkgs');
  const args = ['pull', channel, '*', '--subdir', subdir, '--output', cache, '--extract', '--quiet'];
  expect((await runFerry(args)).code).toBeLessThan(2);
  return cache;
}

const CASES: [string, string, number][] = [
  [FIXTURE_CHANNEL, 'linux-64', 10],
  [FIXTURE_CHANNEL, 'noarch', 2],
  ...(HAS_REAL_CHANNELS
    ? ([
        [realChannel('test-recipes'), 'noarch', 20],
        [realChannel('conda-format'), 'win-64', 1],
      ] satisfies [string, string, number][])
    : []),
];

test.each(CASES)('archives of %s/%s are unpacked as rattler unpacks them', async (channel, subdir, least) => {
  const compared = (await runPython('compare.py', await cacheOf(channel, subdir))) as { count: number };
  expect(compared).toMatchObject({ differing: {} });
  expect(compared.count).toBeGreaterThanOrEqual(least);
});

test.runIf(HAS_REAL_CHANNELS)('rattler installs out of the folder, without fetching anything', async () => {
  const channel = realChannel('test-recipes');
  const cache = await cacheOf(channel, 'noarch');
  const prefix = await tempFolder();
  const result = (await runPython('install.py', cache, join(channel, 'noarch', 'repodata.json'), prefix)) as {
    installed: number;
    wanted: number;
  };
  expect(result.installed).toBe(result.wanted);
  expect(result.installed).toBeGreaterThan(10);
});

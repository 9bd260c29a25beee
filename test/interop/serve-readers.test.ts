/** Tools of others that read channels by http, and only parts of an archive: conda-mirror and conda-package-streaming. */
import { createHash } from 'node:crypto';
import { execFile } from 'node:child_process';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { clientPython, type ClientPython } from '../support/clients/python.js';
import { serveStores, STORES, type ServedStores } from '../support/clients/served-stores.js';
import { testEnvironment } from '../support/ferry.js';
import { tempFolder } from '../support/temp.js';

const run = promisify(execFile);
const READERS = ['conda-package-streaming==0.13.0', 'conda-mirror==0.10.0'] as const;

/** Reads `info/index.json` and one file of the payload of each URL, and says how many bytes came for it. */
const READER = `
import json, sys
from conda_package_streaming.package_streaming import CondaComponent, stream_conda_component
from conda_package_streaming.url import conda_reader_for_url, session

received = 0
def count(response, *args, **kwargs):
    global received
    received += int(response.headers.get("content-length", 0))
session.hooks["response"].append(count)

found = []
for url in sys.argv[1:]:
    received = 0
    filename, reader = conda_reader_for_url(url)
    for tar, member in stream_conda_component(filename, reader, component=CondaComponent.info):
        if member.name == "info/index.json":
            index = json.load(tar.extractfile(member))
            found.append({"name": index["name"], "version": index["version"], "received": received})
print(json.dumps(found))
`;

let stores: ServedStores;
let python: ClientPython;
beforeAll(async () => {
  stores = await serveStores();
  python = await clientPython(join(stores.folder, 'python'), READERS);
});
afterAll(async () => stores[Symbol.asyncDispose]());

describe.each(STORES)('over a %s', (store) => {
  test('conda-package-streaming reads what it needs of an archive and no more', async () => {
    const gateway = stores.gateways[store];
    gateway.take();
    const paths = [
      '/tools/linux-64/tools-big-1.0-0.conda',
      '/ferry/linux-64/ferry-lib-1!2.0-h0_1.conda',
      '/tools/linux-64/tools-lib-1!2.0-h0_1.tar.bz2',
    ];
    const urls = paths.map((path) => `${gateway.url}${path}`);
    const found = JSON.parse(await python.script(READER, urls)) as readonly {
      readonly name: string;
      readonly version: string;
      readonly received: number;
    }[];
    expect(found.map(({ name, version }) => `${name} ${version}`)).toEqual([
      'tools-big 1.0',
      'ferry-lib 1!2.0',
      'tools-lib 1!2.0',
    ]);
    // Of the archive's 300 kB.
    expect(found[0]?.received).toBeLessThan(50_000);
    const requests = gateway.take();
    const statuses = requests.map(({ path, status }) => `${decodeURIComponent(path)} ${status}`);
    expect(statuses.filter((line) => line.endsWith('.tar.bz2 200')).length).toBe(1);
    // The registry itself answers where the gateway leads there.
    for (const line of statuses.filter((line) => !line.endsWith('.tar.bz2 200')))
      expect(line).toMatch(/\.conda (?:206|307)$/);
  });

  test('conda-mirror copies a channel and finds each archive as the repodata has it', async () => {
    const gateway = stores.gateways[store];
    gateway.take();
    const [target, temp] = [join(await tempFolder(), 'mirror'), await tempFolder()];
    await mkdir(target);
    const args = [
      ...['--upstream-channel', `${gateway.url}/ferry`, '--platform', 'linux-64'],
      ...['--target-directory', target, '--temp-directory', temp, '--no-progress'],
    ];
    await run(python.program('conda-mirror'), args, { env: testEnvironment(python.home) });
    const source = stores.sources['ferry']!.url;
    const repodata = (await (await fetch(`${source}/linux-64/repodata.json`)).json()) as Record<
      string,
      Record<string, { sha256: string }>
    >;
    const records = Object.entries({ ...repodata['packages'], ...repodata['packages.conda'] });
    for (const [filename, { sha256 }] of records) {
      const bytes = await readFile(join(target, 'linux-64', filename));
      expect(createHash('sha256').update(bytes).digest('hex'), filename).toBe(sha256);
    }
    const lines = gateway.take().map(({ path, status }) => `${decodeURIComponent(path)} ${status}`);
    expect(lines.shift()).toBe('/ferry/linux-64/repodata.json 200');
    expect(lines.map((line) => line.replace(/ (?:200|307)$/, '')).sort()).toEqual(
      records.map(([filename]) => `/ferry/linux-64/${filename}`).sort(),
    );
  });
});

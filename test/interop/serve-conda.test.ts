/**
 * conda, micromamba and pixi themselves against the gateway. No package registry has them, so they are tested where they are
 * installed; what they ask for is replayed everywhere in `serve-replayed.test.ts`.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  findClient,
  installedIn,
  pixiPrefix,
  runClient,
  whyNoClient,
  type ClientUser,
} from '../support/clients/programs.js';
import { clientPython, type ClientPython } from '../support/clients/python.js';
import {
  serveStores,
  STORES,
  SUBDIRS,
  type ServedStores,
  type Store,
} from '../support/clients/served-stores.js';
import { TOOLS_CHOSEN, TOOLS_FILES, TOOLS_SPECS } from '../support/clients/tools-channel.js';
import type { SeenByGateway } from '../support/gateway.js';
import { tempFolder } from '../support/temp.js';

const CLIENTS = {
  conda: findClient('conda'),
  micromamba: findClient('micromamba'),
  pixi: findClient('pixi'),
};
const META = TOOLS_CHOSEN.map((filename) => filename.replace(/\.(?:conda|tar\.bz2)$/, ''));
const isAnyThere = Object.values(CLIENTS).some((path) => path !== undefined);

let stores: ServedStores;
let python: ClientPython;
beforeAll(async () => {
  if (!isAnyThere) return;
  stores = await serveStores();
  python = await clientPython(join(stores.folder, 'python'), []);
  for (const store of STORES) await stores.gateways[store].whenSharded(SUBDIRS);
});
afterAll(async () => {
  if (isAnyThere) await stores[Symbol.asyncDispose]();
});

const lineOf = ({ method, path, status }: SeenByGateway): string =>
  `${method} ${decodeURIComponent(path)} ${status}`;

/** What any of them may ask for, whatever its release: nothing failed, and what is not there is no more than that. */
function expectSensible(requests: readonly SeenByGateway[]): void {
  const archives = requests.filter(({ path }) => /\.(?:conda|tar\.bz2)$/.test(path));
  expect(archives.map(({ path }) => decodeURIComponent(path.replace(/^.*\//, ''))).sort()).toEqual([
    ...TOOLS_CHOSEN,
  ]);
  for (const { status } of archives) expect([200, 307]).toContain(status);
  const others = requests.filter((request) => !archives.includes(request));
  for (const request of others) expect([200, 304, 404], lineOf(request)).toContain(request.status);
  const absent = others.filter(({ status }) => status === 404).map(({ path }) => path.replace(/^.*\//, ''));
  for (const file of absent)
    expect([
      'current_repodata.json',
      'current_repodata.json.zst',
      'notices.json',
      'repodata.json.bz2',
    ]).toContain(file);
  const lines = others.map(lineOf);
  expect(new Set(lines).size).toBe(lines.length);
}

const userOf = async (store: Store, solver?: string): Promise<ClientUser> => ({
  home: await tempFolder(),
  channelAlias: stores.gateways[store].url,
  solver,
});

describe.skipIf(CLIENTS.conda === undefined)(`conda${whyNoClient('conda')}`, () => {
  const conda = CLIENTS.conda!;
  const create = (prefix: string, channel: string, specs: readonly string[]): readonly string[] => [
    ...['create', '--yes', '--quiet', '--prefix', prefix, '--override-channels', '--channel', channel],
    ...specs,
  ];

  describe.each(STORES)('over a %s', (store) => {
    test.each([undefined, 'classic'])(
      'installs from a channel given by name (solver: %s)',
      async (solver) => {
        const { gateways } = stores;
        const user = await userOf(store, solver);
        gateways[store].take();
        const prefix = join(user.home, 'env');
        await runClient(conda, create(prefix, 'tools', TOOLS_SPECS), user);
        expectSensible(gateways[store].take());
        expect(await installedIn(python, prefix)).toEqual({ files: TOOLS_FILES, meta: META });

        // The second time all of it is in its cache, or is said not to have changed.
        const again = join(user.home, 'again');
        await runClient(conda, create(again, 'tools', TOOLS_SPECS), user);
        const requests = gateways[store].take();
        const whole = requests.filter(({ status, path }) => status === 200 && !/[0-9a-f]{64}\./.test(path));
        expect(whole.map(lineOf)).toEqual([]);
        expect(await installedIn(python, again)).toEqual({ files: TOOLS_FILES, meta: META });
      },
    );

    test('installs from two channels at once, an archive by its URL, and finds packages', async () => {
      const { url } = stores.gateways[store];
      const user = await userOf(store, 'classic');
      const prefix = join(user.home, 'env');
      const both = ['tools-data', 'ferry-lib', 'ferry-local', '--channel', 'ferry'];
      await runClient(conda, create(prefix, 'tools', both), user);
      expect((await installedIn(python, prefix)).meta).toEqual([
        'ferry-lib-1!2.0-h0_1',
        'ferry-local-1.0+abc-h1+cuda_0',
        'tools-data-2.0-0',
      ]);
      const explicit = join(user.home, 'explicit');
      const archive = `${url}/ferry/linux-64/ferry-local-1.0+abc-h1+cuda_0.tar.bz2`;
      await runClient(conda, ['create', '--yes', '--prefix', explicit, archive], user);
      expect((await installedIn(python, explicit)).meta).toEqual(['ferry-local-1.0+abc-h1+cuda_0']);
      const search = ['search', '--json', '--override-channels', '--channel', 'tools', 'tools-lib'];
      const found = JSON.parse(await runClient(conda, search, user)) as Record<string, { fn: string }[]>;
      expect(found['tools-lib']!.map(({ fn }) => fn).sort()).toEqual([
        'tools-lib-1!2.0-h0_1.tar.bz2',
        'tools-lib-9.5-0.conda',
      ]);
    });

    test('is told of a channel that is not there', async () => {
      const user = await userOf(store, 'classic');
      const creating = runClient(conda, create(join(user.home, 'env'), 'nothing', ['tools-app']), user);
      await expect(creating).rejects.toThrow(/404|UnavailableInvalidChannel/);
    });
  });
});

describe.skipIf(CLIENTS.micromamba === undefined)(`micromamba${whyNoClient('micromamba')}`, () => {
  test.each(STORES)('installs over a %s', async (store) => {
    const { gateways } = stores;
    const user = await userOf(store);
    const prefix = join(user.home, 'env');
    gateways[store].take();
    const channel = ['--override-channels', '--channel', `${gateways[store].url}/tools`];
    const args = ['create', '--yes', '--prefix', prefix, '--platform', 'linux-64', ...channel];
    await runClient(CLIENTS.micromamba!, [...args, ...TOOLS_SPECS], user);
    expectSensible(gateways[store].take());
    expect(await installedIn(python, prefix)).toEqual({ files: TOOLS_FILES, meta: META });
  });
});

describe.skipIf(CLIENTS.pixi === undefined)(`pixi${whyNoClient('pixi')}`, () => {
  test.each(STORES)('installs over a %s', async (store) => {
    const { gateways } = stores;
    const user = await userOf(store);
    const manifest = join(user.home, 'project', 'pixi.toml');
    await mkdir(join(user.home, 'project'), { recursive: true });
    const workspace = `[project]
name = "test"
channels = ["${gateways[store].url}/tools"]
platforms = ["linux-64"]
`;
    const dependencies = ['[dependencies]', ...TOOLS_SPECS.map((name) => `${name} = "*"`)].join('\n');
    await writeFile(manifest, `${workspace}\n${dependencies}\n`);
    gateways[store].take();
    await runClient(CLIENTS.pixi!, ['install', '--manifest-path', manifest], user);
    expectSensible(gateways[store].take());
    const { files } = await installedIn(python, pixiPrefix(manifest));
    expect(files).toMatchObject(TOOLS_FILES);
  });
});

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { HAS_REAL_CHANNELS, realChannel } from '../support/channels.js';
import { startRegistry, type TestRegistry } from '../support/docker-registry.js';
import { runFerry } from '../support/ferry.js';
import { startDistribution3 } from '../support/registries/distribution3.js';
import { startOlareg } from '../support/registries/olareg.js';
import { tempFolder } from '../support/temp.js';

interface Report {
  readonly conforms: boolean;
  readonly checked: Readonly<Record<string, number>>;
  readonly findings: readonly {
    readonly clause: string;
    readonly severity: string;
    readonly where: string;
  }[];
  readonly unchecked: readonly unknown[];
}

let registry: TestRegistry;
let olareg: Awaited<ReturnType<typeof startOlareg>>;
let distribution3: Awaited<ReturnType<typeof startDistribution3>>;
beforeAll(async () => {
  [registry, olareg, distribution3] = await Promise.all([
    startRegistry(),
    startOlareg(),
    startDistribution3(),
  ]);
});
afterAll(async () => {
  await Promise.all([registry, olareg, distribution3].map(async (each) => each[Symbol.asyncDispose]()));
});

const PLACES = {
  'docker-registry': () => Promise.resolve(`oci://${registry.host}/${registry.prefix}/check`),
  distribution3: () => Promise.resolve(`oci://${distribution3.host}/check`),
  olareg: () => Promise.resolve(`oci://${olareg.host}/check`),
  'an image layout': async () => `oci-layout:${await tempFolder()}`,
} as const;

const SUBDIRS = { 'conda-format': 5, 'test-recipes': 4 } as const;
const FAKE_SUBDIRS = ['noarch', 'linux-fake', 'osx-fake', 'win-fake'];
const COMPANIONS = { 'conda-format': 7, 'test-recipes': 0 } as const;
const ARTIFACTS = { 'conda-format': 4, 'test-recipes': 41 } as const;

/** In these archives links were written as empty files; their `info/paths.json` still knows what they were. */
const BROKEN = [
  ['linux-64', 'h7b6447c_3', 3],
  ['linux-64', 'h7b6447c_3', 4],
  ['osx-64', 'h1de35cc_3', 3],
  ['osx-64', 'h1de35cc_3', 5],
] as const;

/** The source’s channel data have a timestamp of a package that is none. */
const CARRIED = ['cep38/package-timestamp at channeldata.json#/packages/zlib'];

async function check(target: string, ...flags: string[]): Promise<{ code: number | null; report: Report }> {
  const { code, stdout } = await runFerry(['check', target, '--json', '--quiet', ...flags]);
  return { code, report: JSON.parse(stdout) as Report };
}

function errorsOf({ findings }: Report): string[] {
  return findings
    .filter(({ severity }) => severity === 'error')
    .map(({ clause, where }) => `${clause} at ${where}`);
}

describe.runIf(HAS_REAL_CHANNELS)('what the mirror writes conforms', () => {
  describe.each(Object.keys(PLACES) as (keyof typeof PLACES)[])('in %s', (place) => {
    test.each([
      ['conda-format', 'v0'],
      ['conda-format', 'v1'],
      ['test-recipes', 'v0'],
      ['test-recipes', 'v1'],
    ] as const)('%s as %s', async (channel, schema) => {
      const target = `${await PLACES[place]()}/${channel}-${schema}`;
      const mirrored = await runFerry([
        'mirror',
        realChannel(channel),
        target,
        '--schema',
        schema,
        '--quiet',
      ]);
      // Some archives that it lists are not there.
      expect(mirrored.code).toBe(channel === 'conda-format' ? 1 : 0);
      // olareg tells nobody what repositories it has, so that only subdirs that conda knows are found there.
      const isHidden = place === 'olareg' && channel === 'test-recipes';
      const flags = ['--schema', schema, ...(isHidden ? ['--subdir', ...FAKE_SUBDIRS] : [])];
      const { code, report } = await check(target, ...flags);
      // Channel data are carried as they are, faults of theirs too.
      const carried = channel === 'conda-format' ? CARRIED : [];
      expect(errorsOf(report)).toEqual(carried);
      expect(report).toMatchObject({ conforms: carried.length === 0, unchecked: [] });
      expect(code).toBe(carried.length === 0 ? 0 : 1);
      const subdirs = SUBDIRS[channel];
      // Beside the packages repodata and ledger of each subdir, and the source’s other metadata.
      expect(report.checked).toMatchObject({
        subdirs,
        artifacts: ARTIFACTS[channel] + 2 * subdirs + COMPANIONS[channel],
      });

      const deep = await check(target, ...flags, '--deep');
      const hasBroken = channel === 'conda-format' && schema === 'v0';
      const broken = BROKEN.map(([subdir, build, path]) => {
        const stem = `zlib-1.2.11-${build}`;
        return `${subdir}/zlib:1.2.11-${build}/${stem}.tar.bz2/info/paths.json#/paths/${String(path)}`;
      });
      const expected = ['cep34/paths-sha256-agrees', 'cep34/paths-size-agrees'].flatMap((clause) =>
        broken.map((where) => `${clause} at ${where}`),
      );
      expect(errorsOf(deep.report).sort()).toEqual([...(hasBroken ? expected : []), ...carried]);
      expect(deep.report.unchecked).toEqual([]);
      expect(deep.code).toBe(code);
      const archives = channel === 'conda-format' && schema === 'v0' ? 8 : ARTIFACTS[channel];
      expect(deep.report.checked).toMatchObject({ archives });
    });
  });

  test('a schema that the channel does not have is an error with a hint', async () => {
    const target = `${await PLACES['docker-registry']()}/hint`;
    await runFerry(['mirror', realChannel('test-recipes'), target, '--schema', 'v1', '--quiet']);
    const { code, stderr } = await runFerry(['check', target]);
    expect(code).toBe(3);
    expect(stderr).toContain('pass --schema v1');
  });

  test('cep36/listed-there: as a folder, what is listed and not there is an error', async () => {
    const { code, report } = await check(realChannel('conda-format'));
    expect(code).toBe(1);
    expect(errorsOf(report).filter((error) => error.startsWith('cep36/'))).toEqual([
      'cep36/listed-there at linux-64/libgcc-ng-8.2.0-hdf63c60_1.tar.bz2',
      'cep36/listed-there at win-64/vc-14.1-h0510ff6_4.tar.bz2',
      'cep36/listed-there at win-64/vs2015_runtime-14.15.26706-h3a45250_4.tar.bz2',
      'cep36/listed-there at win-64/zlib-1.2.8-0.tar.bz2',
    ]);
  });
});

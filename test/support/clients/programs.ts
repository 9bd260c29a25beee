import { execFile, spawnSync } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { testEnvironment } from '../ferry.js';
import type { ClientPython } from './python.js';
import { LIST_PREFIX, type RattlerOutcome } from './rattler-installer.js';

const run = promisify(execFile);

/** Clients that no package registry has: they are tested where they are installed. */
const VARIABLES = {
  conda: 'CONDA_FERRY_CLIENT_CONDA',
  micromamba: 'CONDA_FERRY_CLIENT_MICROMAMBA',
  pixi: 'CONDA_FERRY_CLIENT_PIXI',
} as const;
export type ClientProgram = keyof typeof VARIABLES;

/** What starts a client: the path that the caller set, or its name where it is on the PATH; `undefined` where it is not there. */
export function findClient(name: ClientProgram): string | undefined {
  const path = process.env[VARIABLES[name]] ?? name;
  const { status } = spawnSync(path, ['--version'], { stdio: 'ignore', env: testEnvironment() });
  return status === 0 ? path : undefined;
}

/** For the title of tests: why they are skipped, or nothing. */
export function whyNoClient(name: ClientProgram): string {
  return findClient(name) === undefined
    ? ` (skipped: no ${name} here; put it on the PATH, or its path into ${VARIABLES[name]})`
    : '';
}

/** A user of a client: a home folder, and settings of his own. */
export interface ClientUser {
  readonly home: string;
  /** Where channels given by name are. */
  readonly channelAlias: string;
  /** One of conda's solvers. @defaultValue the client's own choice */
  readonly solver?: string | undefined;
}

/** Runs a client with nothing of this machine's user's, as if on Linux, to its end. */
export async function runClient(
  program: string,
  args: readonly string[],
  { home, channelAlias, solver }: ClientUser,
): Promise<string> {
  await mkdir(home, { recursive: true });
  const env: NodeJS.ProcessEnv = {
    ...testEnvironment(home),
    CONDA_SUBDIR: 'linux-64',
    CONDA_CHANNEL_ALIAS: channelAlias,
    CONDA_PKGS_DIRS: join(home, 'pkgs'),
    CONDA_ENVS_PATH: join(home, 'envs'),
    MAMBA_ROOT_PREFIX: join(home, 'mamba'),
    RATTLER_CACHE_DIR: join(home, 'rattler'),
    ...(solver === undefined ? {} : { CONDA_SOLVER: solver }),
  };
  const { stdout } = await run(program, args, { env, cwd: home, maxBuffer: 64 * 1024 * 1024 });
  return stdout;
}

/** What is installed in a prefix. */
export async function installedIn(
  python: ClientPython,
  prefix: string,
): Promise<Omit<RattlerOutcome, 'chosen'>> {
  const script = `${LIST_PREFIX}
files, meta = list_prefix(sys.argv[1])
print(json.dumps({"files": files, "meta": meta}))
`;
  return JSON.parse(await python.script(script, [prefix])) as Omit<RattlerOutcome, 'chosen'>;
}

/** Where pixi puts what it installs for a manifest. */
export function pixiPrefix(manifest: string): string {
  return join(dirname(manifest), '.pixi', 'envs', 'default');
}

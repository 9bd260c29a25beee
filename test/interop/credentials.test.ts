import { execFile, spawnSync } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { createCredentialLocator } from '#ferry/http/credentials/credential-chain.js';
import { createCredentialHelpers } from '#ferry/http/credentials/credential-helper.js';
import type { Credential } from '#ferry/http/credentials/credential.js';
import { eraseCredential, saveCredential } from '#ferry/http/credentials/save-credential.js';
import { KEEPING_HELPER, testHelpers, type TestHelpers } from '../support/credential-helper.js';
import { startRegistry } from '../support/docker-registry.js';
import { tempFolder } from '../support/temp.js';

const run = promisify(execFile);

const PASSWORD = 'p:ä ss';
/** bcrypt of that password. */
const HTPASSWD = 'user:$2b$04$abcdefghijklmnopqrstuuG5I5dNcb26TWjWqP3LDreEh4/F6hcs2\n';
const USER: Credential = { kind: 'basic', username: 'user', password: PASSWORD };

let folder: string;
let file: string;
let host: string;
let programs: TestHelpers;
let environment: Record<string, string>;

beforeEach(async () => {
  folder = await tempFolder();
  file = join(folder, 'config.json');
  await writeFile(join(folder, 'htpasswd'), HTPASSWD);
  const registry = await startRegistry({ htpasswd: join(folder, 'htpasswd') });
  onTestFinished(() => registry[Symbol.asyncDispose]());
  host = registry.host;
  programs = await testHelpers();
  await programs.add('keep', KEEPING_HELPER);
  // A home of its own, so that no file of whoever runs this is touched.
  environment = { ...programs.environment, HOME: folder, DOCKER_CONFIG: folder };
  environment['PATH'] = `${programs.environment['PATH'] ?? ''}:${process.env['PATH'] ?? ''}`;
});

const helpers = () => createCredentialHelpers({ environment });
const find = async () => {
  const locate = createCredentialLocator({ authFiles: [file], helperEnvironment: environment });
  return (await locate({ origin: `http://${host}` }))?.credential;
};
const written = async () => JSON.parse(await readFile(file, 'utf8')) as { auths: Record<string, unknown> };

/** With the secret in the file, and with a helper that keeps it. */
const WHERE = [
  ['in the file', undefined],
  ['in the registry’s helper', 'credHelpers'],
] as const;

async function prepare(where: (typeof WHERE)[number][1]): Promise<void> {
  if (where !== undefined) await writeFile(file, JSON.stringify({ credHelpers: { [host]: 'keep' } }));
}

describe('skopeo', () => {
  const skopeo = async (verb: string, ...more: string[]) => skopeoFor(host, verb, ...more);
  const skopeoFor = async (registry: string, verb: string, ...more: string[]) =>
    (await run('skopeo', [verb, '--authfile', file, ...more, registry], { env: environment })).stdout.trim();

  test('takes a login of ours to Docker Hub', async () => {
    await saveCredential(file, 'docker.io', USER, { helpers: helpers() });
    expect(await skopeoFor('docker.io', 'login', '--get-login')).toBe('user');
  });

  test.each(WHERE)('takes a login of ours %s, and its own is ours', async (_, where) => {
    await prepare(where);
    await saveCredential(file, host, USER, { helpers: helpers() });
    expect(await skopeo('login', '--get-login')).toBe('user');
    // The server itself confirms the password that was kept: else the answer would be 401.
    const reference = `docker://${host}/a/b`;
    const tags = run('skopeo', ['list-tags', '--authfile', file, '--tls-verify=false', reference], {
      env: environment,
    });
    await expect(tags).rejects.toThrow(/404|name unknown/i);
    await skopeo('logout');
    expect(await find()).toBeUndefined();

    await skopeo('login', '--tls-verify=false', '--username', 'user', '--password', PASSWORD);
    expect(await find()).toEqual(USER);
    expect(await eraseCredential(file, host, { helpers: helpers() })).toBe(true);
    await expect(skopeo('login', '--get-login')).rejects.toThrow(/not logged in/);
  });
});

// Docker needs no daemon for this: where none answers, it asks the registry itself.
const hasDocker = spawnSync('docker', ['--version'], { stdio: 'ignore' }).status === 0;

describe.skipIf(!hasDocker)('docker', () => {
  const docker = async (...parameters: string[]) => {
    await mkdir(folder, { recursive: true });
    return run('docker', ['--config', folder, ...parameters], {
      env: { ...environment, DOCKER_HOST: `unix://${join(folder, 'none.sock')}` },
    });
  };

  test('logs out of Docker Hub where we logged in', async () => {
    await saveCredential(file, 'docker.io', USER, { helpers: helpers() });
    await docker('logout');
    expect((await written()).auths).toEqual({});
  });

  test.each(WHERE)('logs in to where we look, and out of what we wrote, %s', async (_, where) => {
    await prepare(where);
    await docker('login', '--username', 'user', '--password', PASSWORD, host);
    expect(await find()).toEqual(USER);
    const theirs = await written();
    await eraseCredential(file, host, { helpers: helpers() });
    expect(await find()).toBeUndefined();

    await saveCredential(file, host, USER, { helpers: helpers() });
    expect(await written()).toEqual(theirs);
    await docker('logout', host);
    expect((await written()).auths).toEqual({});
    expect(await find()).toBeUndefined();
  });
});

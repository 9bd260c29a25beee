import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import {
  createCredentialHelpers,
  type CredentialHelperOptions,
  type CredentialHelpers,
} from '#ferry/http/credentials/credential-helper.js';
import { KEEPING_HELPER, NOT_FOUND, testHelpers, type TestHelpers } from '../../support/credential-helper.js';
import { everythingOf } from '../../support/http.js';
import { tempFolder } from '../../support/temp.js';

const CANARY = 'canary-5ecret';
const ANSWER = `echo '{"ServerURL":"ghcr.io","Username":"me","Secret":"${CANARY}"}'`;
const FOUND = { kind: 'basic', username: 'me', password: CANARY };

let programs: TestHelpers;
let pausesMs: number[];
let nowMs: number;

beforeEach(async () => {
  programs = await testHelpers();
  pausesMs = [];
  nowMs = 1000;
});

function helpers(more: Partial<CredentialHelperOptions> = {}): CredentialHelpers {
  return createCredentialHelpers({
    environment: programs.environment,
    sleep: (ms) => {
      pausesMs.push(ms);
      return Promise.resolve();
    },
    now: () => nowMs,
    ...more,
  });
}

async function refusal(promise: Promise<unknown>): Promise<Error> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toMatchObject({ code: 'CREDENTIALS_UNREADABLE' });
  expect(everythingOf(error)).not.toContain(CANARY);
  return error as Error;
}

describe('get', () => {
  test('hands over the server on stdin and reads name and secret', async () => {
    await programs.add('x', ANSWER);
    expect(await helpers().get('x', 'ghcr.io')).toEqual(FOUND);
    expect(await programs.calls()).toEqual(['get ghcr.io']);
  });

  test('the name <token> means an identity token', async () => {
    await programs.add('x', `echo '{"Username":"<token>","Secret":"t"}'`);
    expect(await helpers().get('x', 'ghcr.io')).toEqual({ kind: 'refresh', token: 't' });
  });

  test.each([
    ['says so', NOT_FOUND],
    ['answers with nothing in it', `echo '{"ServerURL":"","Username":"","Secret":""}'`],
  ])('a helper that %s has none, and is not asked again for a minute', async (_, script) => {
    await programs.add('x', script);
    const { get } = helpers();
    expect(await get('x', 'ghcr.io')).toBeUndefined();
    nowMs += 59_000;
    expect(await get('x', 'ghcr.io')).toBeUndefined();
    expect(await programs.calls()).toHaveLength(1);
    nowMs += 2_000;
    await get('x', 'ghcr.io');
    expect(await programs.calls()).toHaveLength(2);
    expect(pausesMs).toEqual([]);
  });

  test('a result is kept for an hour, for its helper and server', async () => {
    await programs.add('x', ANSWER);
    await programs.add('y', ANSWER);
    const { get } = helpers();
    await get('x', 'ghcr.io');
    nowMs += 59 * 60_000;
    expect(await get('x', 'ghcr.io')).toEqual(FOUND);
    await get('y', 'ghcr.io');
    await get('x', 'quay.io');
    expect(await programs.calls()).toEqual(['get ghcr.io', 'get ghcr.io', 'get quay.io']);
    nowMs += 2 * 60_000;
    await get('x', 'ghcr.io');
    expect(await programs.calls()).toHaveLength(4);
  });

  test('many at once are one run', async () => {
    await programs.add('x', `sleep 0.1; ${ANSWER}`);
    const { get } = helpers();
    const all = await Promise.all(Array.from({ length: 20 }, () => get('x', 'ghcr.io')));
    expect(new Set(all.map((one) => JSON.stringify(one)))).toEqual(new Set([JSON.stringify(FOUND)]));
    expect(await programs.calls()).toHaveLength(1);
  });

  test('a failure is tried once more after five seconds', async () => {
    await programs.add('x', `if [ -e "$0.again" ]; then ${ANSWER}; else touch "$0.again"; exit 7; fi`);
    expect(await helpers().get('x', 'ghcr.io')).toEqual(FOUND);
    expect(pausesMs).toEqual([5000]);
  });

  test('a second failure says what the helper says, cleaned and bounded, and is not kept', async () => {
    const text = `\\033[31mlocked:\\n\\thttps://me:${CANARY}@vault.example/x?token=${CANARY} \\140`;
    await programs.add('x', `printf '${text}%01000d' 0; exit 3`);
    const { get } = helpers();
    const error = await refusal(get('x', 'ghcr.io'));
    expect(error.message).toMatch(
      /^credential helper `docker-credential-x get` failed with exit code 3: locked:/,
    );
    expect(error.message.length).toBeLessThan(400);
    expect(error.message).not.toMatch(/[\u0000-\u001f]/);
    expect(await programs.calls()).toHaveLength(2);
    await refusal(get('x', 'ghcr.io'));
    expect(await programs.calls()).toHaveLength(4);
  });

  test.each([
    ['an answer in spite of a failure', `${ANSWER}; echo because >&2; exit 1`, /exit code 1: because$/],
    ['no JSON', `echo ${CANARY}`, /does not answer as helpers do$/],
    ['JSON of another form', `echo '["${CANARY}"]'`, /does not answer as helpers do$/],
    [
      'a secret of the wrong type',
      `echo '{"Username":"${CANARY}","Secret":["${CANARY}"]}'`,
      /as helpers do$/,
    ],
    ['a name without a secret', `echo '{"Username":"${CANARY}"}'`, /gives a user name without a secret$/],
    ['nothing', '', /does not answer as helpers do$/],
    ['a signal', 'kill -TERM $$', /was killed$/],
    [
      'the words among others',
      `echo "credentials not found in native keychain ${CANARY.slice(0, 3)}"; exit 1`,
      /exit code 1/,
    ],
  ])('%s is an error', async (_, script, message) => {
    await programs.add('x', script);
    expect((await refusal(helpers().get('x', 'ghcr.io'))).message).toMatch(message);
  });

  test('a helper that is not there is an error, never "none" (CVE-2021-41092)', async () => {
    const error = await refusal(helpers().get('absent', 'ghcr.io'));
    expect(error.message).toBe('credential helper `docker-credential-absent get` is not on the PATH');
    expect(error).toMatchObject({ hint: expect.stringContaining('install') as string });
    expect(pausesMs).toEqual([]);
    await refusal(helpers({ environment: {} }).get('absent', 'ghcr.io'));
  });

  test('folders, files that are no programs and relative folders of the PATH are passed over', async () => {
    const folder = await tempFolder();
    await writeFile(join(folder, 'docker-credential-x'), `#!/bin/sh\n${ANSWER}\n`);
    await refusal(helpers({ environment: { PATH: folder } }).get('x', 'ghcr.io'));
    await chmod(join(folder, 'docker-credential-x'), 0o755);
    const before = process.cwd();
    const relative = folder.slice(1);
    // Worker threads cannot change it, so the path goes from the root downwards.
    const up = before
      .split('/')
      .slice(1)
      .map(() => '..')
      .join('/');
    await refusal(helpers({ environment: { PATH: `${up}/${relative}::.` } }).get('x', 'ghcr.io'));
    expect(await helpers({ environment: { PATH: `.:${folder}:/usr/bin:/bin` } }).get('x', 'ghcr.io')).toEqual(
      FOUND,
    );
  });

  test.each(['', '../x', 'a b', 'x;touch y', '$(x)', 'x\ny', 'ü', '/bin/sh'])(
    'the name %j is refused before anything runs',
    async (name) => {
      expect((await refusal(helpers().get(name, 'ghcr.io'))).message).toContain(
        'has a name that no helper can have',
      );
    },
  );

  test('nothing of the server goes through a shell', async () => {
    await programs.add('x', NOT_FOUND);
    await helpers().get('x', '$(touch /tmp/never);`id`');
    expect(await programs.calls()).toEqual(['get $(touch /tmp/never);`id`']);
  });

  test('one that hangs is killed, with children that keep its pipes open', async () => {
    await programs.add('x', 'sleep 30 & sleep 30');
    const startMs = performance.now();
    const error = await refusal(helpers({ timeoutMs: 200 }).get('x', 'ghcr.io'));
    expect(error.message).toContain('did not end within 200 ms');
    expect(performance.now() - startMs).toBeLessThan(5000);
    expect(pausesMs).toEqual([]);
  });

  test('one that leaves a child behind is not waited for', async () => {
    await programs.add('x', `sleep 30 & ${ANSWER}`);
    const startMs = performance.now();
    expect(await helpers().get('x', 'ghcr.io')).toEqual(FOUND);
    expect(performance.now() - startMs).toBeLessThan(5000);
  });

  test('one that writes without end is killed', async () => {
    await programs.add('x', 'yes');
    expect((await refusal(helpers().get('x', 'ghcr.io'))).message).toContain('writes more than a helper may');
  });

  test('one that complains without end is read on', async () => {
    await programs.add('x', `head -c 1000000 /dev/zero >&2; ${ANSWER}`);
    expect(await helpers().get('x', 'ghcr.io')).toEqual(FOUND);
  });

  test('one that reads nothing breaks no pipe of ours', async () => {
    const folder = await tempFolder();
    const path = join(folder, 'docker-credential-x');
    await writeFile(path, `#!/bin/sh\nexec 0<&-\n${ANSWER}\n`);
    await chmod(path, 0o755);
    const { get } = helpers({ environment: { PATH: folder } });
    expect(await get('x', 'x'.repeat(1_000_000))).toEqual(FOUND);
  });

  test('a file that cannot be started is an error that is tried again', async () => {
    const folder = await tempFolder();
    await writeFile(join(folder, 'docker-credential-x'), '#!/nowhere/sh\n');
    await chmod(join(folder, 'docker-credential-x'), 0o755);
    const error = await refusal(helpers({ environment: { PATH: folder } }).get('x', 'ghcr.io'));
    expect(error.message).toContain('cannot be started (ENOENT)');
    expect(pausesMs).toEqual([5000]);
  });

  test('an abort ends the run, and the next one asks anew', async () => {
    await programs.add('x', `[ -e "$0.again" ] || { touch "$0.again"; exec sleep 30; }; ${ANSWER}`);
    const { get } = helpers();
    const stop = new AbortController();
    const first = get('x', 'ghcr.io', stop.signal);
    first.catch(() => undefined);
    const second = get('x', 'ghcr.io');
    while ((await programs.calls()).length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    stop.abort(new Error('enough'));
    await expect(first).rejects.toThrow('enough');
    expect(await second).toEqual(FOUND);
    await expect(get('x', 'other', stop.signal)).rejects.toThrow('enough');
  });

  test('an abort ends the pause before the second try', async () => {
    await programs.add('x', 'exit 1');
    const stop = new AbortController();
    const { get } = createCredentialHelpers({ environment: programs.environment });
    const promise = get('x', 'ghcr.io', stop.signal);
    promise.catch(() => undefined);
    while ((await programs.calls()).length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    stop.abort(new Error('enough'));
    await expect(promise).rejects.toThrow('enough');
  });

  test('the environment is the one handed down', async () => {
    await programs.add('x', `echo "{\\"Username\\":\\"$WHO\\",\\"Secret\\":\\"$HOME-\\"}"`);
    const { get } = helpers({ environment: { ...programs.environment, WHO: 'she' } });
    expect(await get('x', 'ghcr.io')).toEqual({ kind: 'basic', username: 'she', password: '-' });
  });
});

describe('store, erase and list', () => {
  test('what is stored is found, and what is erased is not', async () => {
    await programs.add('x', KEEPING_HELPER);
    const { get, store, erase } = helpers();
    expect(await get('x', 'ghcr.io')).toBeUndefined();
    await store('x', 'ghcr.io', { kind: 'basic', username: 'me', password: 'pä"ss' });
    expect(await get('x', 'ghcr.io')).toEqual({ kind: 'basic', username: 'me', password: 'pä"ss' });
    expect(await erase('x', 'ghcr.io')).toBe(true);
    expect(await get('x', 'ghcr.io')).toBeUndefined();
    expect(await erase('x', 'ghcr.io')).toBe(false);
    expect(await programs.calls()).toEqual([
      'get ghcr.io',
      'store {"ServerURL":"ghcr.io","Username":"me","Secret":"pä\\"ss"}',
      'get ghcr.io',
      'erase ghcr.io',
      'get ghcr.io',
      'erase ghcr.io',
    ]);
  });

  test('an identity token is stored as such, a bearer token not at all', async () => {
    await programs.add('x', KEEPING_HELPER);
    const { get, store } = helpers();
    await store('x', 'ghcr.io', { kind: 'refresh', token: 't' });
    expect(await get('x', 'ghcr.io')).toEqual({ kind: 'refresh', token: 't' });
    await expect(store('x', 'ghcr.io', { kind: 'bearer', token: CANARY })).rejects.toMatchObject({
      code: 'UNSUPPORTED',
    });
  });

  test('a helper that echoes what it should store gives nothing away', async () => {
    const secret = `${CANARY}"\\`;
    await programs.add('x', 'printf "%s" "cannot keep [$input]" | tr -d "{}"; exit 1');
    const error = await refusal(
      helpers().store('x', 'ghcr.io', { kind: 'basic', username: 'me', password: secret }),
    );
    expect(error.message).toContain('cannot keep');
  });

  test('list gives the user name of each server', async () => {
    await programs.add('x', `echo '{"https://index.docker.io/v1/":"me","ghcr.io":"you"}'`);
    await programs.add('none', 'echo null');
    await programs.add('bad', `echo '["${CANARY}"]'`);
    const { list } = helpers();
    expect([...(await list('x'))]).toEqual([
      ['https://index.docker.io/v1/', 'me'],
      ['ghcr.io', 'you'],
    ]);
    expect((await list('none')).size).toBe(0);
    await refusal(list('bad'));
  });
});
